"""The page of serving, and its design record: figures are those of the records."""

import json
import re
from dataclasses import fields
from pathlib import Path

from signacc.report import quantity
from sim.serving.arrivals import PROCESSES
from sim.serving.routers import ROUTERS
from sim.serving.scheduler import POLICIES
from sim.serving.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs/design/0012-serving-by-jumps.md").read_text(encoding="utf-8")


def record(name):
    return json.loads((ROOT / "benchmarks/results" / name).read_text(encoding="utf-8"))["results"]


def test_every_setting_and_choice_is_documented():
    table = PAGE.split("## Settings in a file")[1].split("\n## ")[0]
    keys = {
        key for line in table.splitlines() if line.startswith("| ")
        for key in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    assert keys == {field.name for field in fields(Settings)} | {"schema"}
    assert all(f"`{name}`" in PAGE for name in (*ROUTERS, *POLICIES, *PROCESSES))


def test_the_speed_is_that_of_the_record():
    found = record("serving.json")
    for fleet in found["fleets"]:
        row = (
            f"| {fleet['router']} | {fleet['simulated_s']:.0f} | {fleet['requests'] / 1e6:.0f} M | "
            f"{fleet['workers']} | {fleet['processor_s']:.0f} | "
            f"{fleet['requests_per_processor_s']:,.0f} | "
            f"{fleet['wall_s']:.0f} ({fleet['load_average_before']:.0f}) |"
        )
        assert row in PAGE
        assert f"{fleet['accelerators']:,} accelerators" in PAGE
    minute = found["fleets"][0]
    assert minute["simulated_s"] == 60
    assert minute["requests"] == 6_000_000
    peak = minute["peak_memory_mb_so_far"]
    assert f"{peak['this'] / 1e3:.1f} GB and {peak['largest_child'] / 1e3:.1f} GB" in PAGE
    for one in found["one_accelerator"]:
        rates = one["requests_per_processor_s"]
        row = (
            f"| {100 * one['load']:.0f} % | {one['iterations'] / one['requests']:.0f} | "
            f"{rates['sim.serving']:,.0f} | {rates['plain loop']:,.0f} | {rates['simpy']:,.0f} | "
            f"{one['times_sim_serving']['simpy']:.1f} |"
        )
        assert row in DESIGN


def ms(found, *percents):
    return " / ".join(quantity(1e3 * found[f"p{percent}"]) for percent in percents)


def test_the_findings_are_those_of_the_record():
    found = record("serving-study.json")
    for row in found["capacities"]:
        rates = " | ".join(f"{rate:.3g}" for rate in row["by_max_batch"].values())
        assert f"| `{row['system']}` | {rates} |" in PAGE
    for row in found["loads"]:
        joules = row["joules_per_token"]
        assert (
            f"| {100 * row['load']:.0f} %{' (saturated)' if row['saturated'] else ''} | "
            f"{ms(row['ttft_s'], 50, 99)} | {ms(row['tpot_s'], 50, 99)} | "
            f"{ms(row['end_to_end_s'], 50, 99)} | {row['output_tokens_per_second']:,.0f} | "
            f"{100 * row['utilisation']:.0f} % | {row['mean_batch']:.2f} | "
            f"{joules['low']:.3g} / {joules['nominal']:.3g} / {joules['high']:.3g} | "
            f"{row['usd_per_million_tokens']['nominal']:.3g} |"
        ) in PAGE
    for row in found["policies"]:
        assert (
            f"| {row['policy']} | {row['capacity']:.3g} | {ms(row['ttft_s'], 50, 99)} | "
            f"{ms(row['gap_s'], 50, 99)} | {ms(row['end_to_end_s'], 50, 99)} |"
        ) in PAGE
    for row in found["routers"]:
        assert (
            f"| {row['router']} | {ms(row['ttft_s'], 50, 99)} | "
            f"{ms(row['end_to_end_s'], 50, 99)} | {row['mean_batch']:.2f} |"
        ) in PAGE
