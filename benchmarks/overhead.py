"""LUTs of what stands around the array of 1,024 lanes, by module, on UltraScale+.

    python benchmarks/overhead.py --out benchmarks/results/overhead.json

Synthesis with the hierarchy kept, so that every LUT belongs to a module. The maker of table entries
stands inside the array's module, but is counted to what stands around it. Nothing is placed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from program import OutputFile, Program
from record import write_record

from hw.config import PRESETS, EngineConfig
from hw.verilog import generate
from signacc.fpga.cells import RULES, Count, cells_of, count
from signacc.fpga.steps import TECHMAPS
from signacc.fpga.tools import Job, find_yosys, run

FAMILY = "xcup"
SYNTHESIS = f"synth_xilinx -family {FAMILY} -noiopad -noclkbuf"
CONFIGS = [
    replace(PRESETS[name], name=f"{name}{suffix}", **change)
    for name in ("kv260", "kv260_a8")
    for suffix, change in (("_par1", {"act_par": 1, "out_par": 1}), ("", {}))
] + [PRESETS["kv260_lean"], PRESETS["kv260_a8_lean"]]
ARRAY, MAKER = "array_0", "array_0.maker"


def synthesize(designs: Sequence[tuple[str, str]], jobs: int) -> list[dict[str, Any]]:
    """Return the modules of the netlist of every design, a Verilog text and its top module."""
    with tempfile.TemporaryDirectory() as name:
        work = []
        for number, (text, top) in enumerate(designs):
            folder = Path(name) / str(number)
            folder.mkdir()
            (folder / "engine.v").write_text(text)
            script = [
                "read_verilog engine.v",
                *(f"techmap -map {path}" for path in TECHMAPS[FAMILY].values()),
                f"{SYNTHESIS} -top {top}", "write_json netlist.json",
            ]
            (folder / "script.ys").write_text("\n".join(script) + "\n")
            command = (*find_yosys().command, "script.ys")
            work.append(Job(f"Yosys, {top}", command, folder, folder / "yosys.log"))
        run(work, parallel=jobs)
        return [json.loads((job.folder / "netlist.json").read_text())["modules"] for job in work]


def by_instance(modules: Mapping[str, Any], top: str) -> dict[str, dict[str, int]]:
    """Return the cells of every instance, its path below `top` as the key, '' for `top` itself."""
    result: dict[str, dict[str, int]] = {}

    def walk(kind: str, path: str) -> None:
        result[path] = {k: n for k, n in cells_of(modules[kind]).items() if k not in inner}
        for name, cell in modules[kind]["cells"].items():
            if cell["type"] in inner:
                walk(cell["type"], f"{path}.{name}".lstrip("."))

    inner = {
        name for name, module in modules.items()
        if not int(module["attributes"].get("blackbox", "0"), 2)
        and not int(module["attributes"].get("whitebox", "0"), 2)
    }  # fmt: skip
    walk(top, "")
    return result


def total(cells: Mapping[str, Mapping[str, int]], among: Sequence[str]) -> Count:
    """Return the count of the instances `among`."""
    sums: dict[str, int] = {}
    for path in among:
        for kind, number in cells[path].items():
            sums[kind] = sums.get(kind, 0) + number
    return count(dict(sorted(sums.items())), FAMILY)


def figures(config: EngineConfig, modules: Mapping[str, Any], top: str) -> dict[str, Any]:
    """Return the LUTs of array and overhead, and of every module of the overhead by itself."""
    cells = by_instance(modules, top)
    inside = [
        p for p in cells
        if f"{p}.".startswith(f"{ARRAY}.") and not f"{p}.".startswith(f"{MAKER}.")
    ]
    around = [p for p in cells if p not in inside]
    array, overhead = total(cells, inside), total(cells, around)
    assert not array.unknown, array.unknown
    assert not overhead.unknown, overhead.unknown
    parts = {path or top: total(cells, [path]) for path in around}
    return {
        "config": config.to_dict(),
        "lanes": config.lanes,
        "array": array.to_json(),
        "overhead": overhead.to_json(),
        "overhead_of_array_percent": round(100 * overhead.lut / array.lut, 2),
        "overhead_modules": {
            path: {"lut": c.lut, "lutram": c.lutram, "ff": c.ff, "bram": c.bram, "dsp": c.dsp}
            for path, c in sorted(parts.items(), key=lambda item: -item[1].lut)
        },
    }


@click.command(cls=Program)
@click.option("--only", multiple=True, help="Names of configurations; default all.")
@click.option("--jobs", default=1, show_default=True, help="Syntheses at the same time.")
@click.option("--out", type=OutputFile(), help="JSON record to write.")
def main(only: Sequence[str], jobs: int, out: Path | None) -> None:
    """Measure every configuration."""
    configs = [config for config in CONFIGS if not only or config.name in only]
    made = [generate(config) for config in configs]
    netlists = synthesize([(one.text, one.top) for one in made], jobs)
    results = []
    for config, one, modules in zip(configs, made, netlists, strict=True):
        result = figures(config, modules, one.top)
        results.append(result)
        array, overhead = result["array"], result["overhead"]
        click.echo(
            f"{config.name}: {overhead['lut']:,} LUT and {overhead['dsp']} DSP around an array of "
            f"{array['lut']:,}: {result['overhead_of_array_percent']} %"
        )
        for path, module in result["overhead_modules"].items():
            click.echo(f"  {path:36} {module['lut']:6,} {module['ff']:6,} {module['dsp']:4}")
    if out is not None:
        write_record(
            out,
            {"yosys": find_yosys().version, "synthesis": SYNTHESIS, "lut_rule": RULES[FAMILY],
             "engines": results},
            ("signacc", "amaranth"),
        )  # fmt: skip


if __name__ == "__main__":
    main()
