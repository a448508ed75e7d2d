"""The page of serving, and its design record: figures are those of the records."""

import importlib
import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from golden.config import named_model
from hw.config import named_preset
from signacc.report import quantity
from sim.errors import InputError
from sim.serving import capacity, point
from sim.serving.arrivals import PROCESSES, check_run
from sim.serving.routers import ROUTERS
from sim.serving.scheduler import POLICIES
from sim.serving.settings import Settings
from sim.system import Machine, named_system

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())
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


def close(found, wanted):
    """Whether two values are the same: numbers to nine digits, as sums may be in another order."""
    if isinstance(wanted, dict):
        return set(found) == set(wanted) and all(close(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, float):
        return found == pytest.approx(wanted, rel=1e-9)
    return found == wanted


def test_the_record_is_what_the_simulation_says_today(monkeypatch):
    """One capacity and the load that is quickest to run; a term of energy would show."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    study = importlib.import_module("serving_study")
    found = record("serving-study.json")
    assert found["model"] == study.MODEL
    assert found["workload"] == study.SOURCE.to_dict()
    assert found["prices"] == study.PRICES.to_dict()
    rates = {row["system"]: row["by_max_batch"] for row in found["capacities"]}["asic7"]
    one = study.fleet("asic7")
    assert close(capacity(one, study.SOURCE), rates["16"])
    row = found["loads"][-1]
    assert row["load"] == 1.1
    again = point(
        one, study.SOURCE, 1.1 * rates["16"], prices=study.PRICES, limit=rates["16"]
    )  # fmt: skip
    assert close(json.loads(json.dumps({"load": 1.1, **study.told(again)})), row)


def test_what_batches_bring_is_said_as_a_range_of_seeds():
    """One seed's gain is not the machine's: capacities depend on the lengths that were drawn."""
    found = record("serving-study.json")
    first = {row["system"]: row["by_max_batch"] for row in found["capacities"]}
    spreads, said = [], {}
    for row in found["gains"]:
        system, rates = row["system"], row["by_max_batch"]
        assert {len(values) for values in (*rates.values(), row["gain"])} == {8}
        gains = [many / one - 1 for one, many in zip(rates["1"], rates["32"], strict=True)]
        assert gains == row["gain"]
        said.setdefault(system, {})[row["change"]] = (
            f"{100 * min(gains):.0f} to {100 * max(gains):.0f} %"
        )
        if row["change"] == "as it is":
            assert {batch: values[0] for batch, values in rates.items()} == {
                batch: first[system][batch] for batch in ("1", "32")
            }
            spreads += [max(values) / min(values) - 1 for values in rates.values()]
    assert list(said) == list(first)
    for system, by_change in said.items():
        assert list(by_change) == ["as it is", "m_par x 8", "vector lanes x 16", "both"]
        assert f"| `{system}` | {' | '.join(by_change.values())} |" in PAGE
        assert f"{by_change['as it is']} on `{system}`" in PROSE
    assert f"differs by up to {100 * max(spreads):.0f} %, so two of different seeds" in PROSE
    assert [named_preset(name).m_par for name in ("kv260", "u280", "asic7")] == [1, 1, 4]


def test_what_is_said_to_be_in_the_way_of_batches_is(monkeypatch):
    """A head of a batch takes the vector unit a multiple of the time of reading it once."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    study = importlib.import_module("serving_study")
    gain = {
        (row["system"], row["change"]): row["gain"]
        for row in record("serving-study.json")["gains"]
    }
    for system in study.SYSTEMS:
        one = named_system(system)
        operands = 2 * one.vector_lanes * one.engine.clock_mhz * 1e6
        assert operands == pytest.approx(one.memory.peak_gb_s * 1e9)
        wide = study.fleet(system, change=study.CHANGES["both"]).machine.system
        assert wide.vector_lanes == 16 * one.vector_lanes
        assert wide.engine == replace(one.engine, m_par=8 * one.engine.m_par)
        assert wide == replace(one, vector_lanes=wide.vector_lanes, engine=wide.engine)
    # seed by seed, a wider engine alone is hardly of use on asic7; a wider vector unit is
    for before, engine, vector in zip(
        gain["asic7", "as it is"], gain["asic7", "m_par x 8"], gain["asic7", "vector lanes x 16"],
        strict=True,
    ):
        assert 0 < engine - before < 0.05
        assert vector - before > 0.5
    again = [
        capacity(study.fleet("asic7", batch=batch, change=study.CHANGES["both"]), study.SOURCE)
        for batch in (1, 32)
    ]
    assert again[1] / again[0] - 1 == pytest.approx(gain["asic7", "both"][0], rel=1e-9)


def test_what_is_said_of_loads_and_policies_is_in_the_record():
    found = record("serving-study.json")
    below = [row for row in found["loads"] if row["load"] < 1]
    assert len(below) == len(found["loads"]) - 1
    assert all(row["utilisation"] > row["load"] for row in below)
    chunked, first = found["policies"]
    assert chunked["gap_s"]["p99"] < first["gap_s"]["p99"]
    for name in ("mean", "p50", "p99"):
        one, other = chunked["end_to_end_s"], first["end_to_end_s"]
        assert abs(one[name] - other[name]) < min(one[f"{name}_ci95"], other[f"{name}_ci95"])


def test_a_pass_holds_the_tokens_that_the_page_says():
    held = [Machine(named_model("fbi-7b"), named_system(name)).most_tokens
            for name in ("kv260", "asic7")]
    assert f"({held[0]} for fbi-7b on `kv260`, {held[1]} on `asic7`)" in PROSE


def test_what_the_speed_was_measured_on_is_said(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    scheduler = importlib.import_module("serving").SCHEDULER
    assert (
        f"lengths as in the findings, `{scheduler.policy}`, batches of at most "
        f"{scheduler.max_batch}, a budget of {scheduler.token_budget} tokens"
    ) in PROSE
    found = record("serving.json")
    assert found["workload"] == record("serving-study.json")["workload"]
    minute, one, *asking = found["fleets"]
    assert f"takes {minute['processor_s'] / 60:.1f} minutes of processor time" in PROSE
    rate = one["requests_per_processor_s"]
    assert [round(rate / row["requests_per_processor_s"]) for row in asking] == [2, 2]


def test_a_run_takes_what_the_page_says_and_not_more():
    said = re.search(
        r"at most ([\d,]+) requests expected, 10\^(\d) a second, and takes at most 10\^(\d) s",
        PROSE,
    )
    requests = int(said[1].replace(",", ""))
    rate, span = 10.0 ** int(said[2]), 10.0 ** int(said[3])
    check_run(rate, requests / rate)
    check_run(requests / span, span)
    for bad in ((rate, (requests + 1) / rate), (1.01 * rate, 1e-9), (1e-9, 1.01 * span)):
        with pytest.raises(InputError):
            check_run(*bad)
