# amaranth: UnusedElaboratable=no
"""What the buses add to an engine, by synthesis for UltraScale+: the engine itself is a black box.

    python benchmarks/axi_cost.py --out benchmarks/results/axi_cost.json

prints the table of docs/axi.md. Nothing is placed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
from amaranth import ClockSignal, Instance, Module, ResetSignal
from amaranth.hdl import Value
from program import OutputFile, Program
from record import write_record

from hw.axi.config import AxiConfig
from hw.axi.engine import AxiEngine
from hw.config import PRESETS, EngineConfig
from hw.engine import Engine
from hw.verilog import convert, ports
from signacc.fpga.cells import cells_of, count
from signacc.fpga.tools import Job, find_yosys, run

FAMILY = "xcup"
BOX = "black_box"
_TINY = PRESETS["tiny"]
CONFIGS = [
    _TINY,
    replace(_TINY, name="tiny_row", scale_out="row"),
    replace(_TINY, name="tiny_groups_m2", scale_out="groups", m_par=2),
    replace(_TINY, name="tiny_resident", weights="memory", weight_words=2048),
    PRESETS["kv260"],
]


class BlackBox(Engine):
    """An engine of which only the ports are known."""

    def elaborate(self, platform):
        """Place an instance without contents."""
        m = Module()
        signals = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.signature.flatten(self):
            prefix = "o" if member.flow.name == "Out" else "i"
            signals[f"{prefix}_{'__'.join(map(str, path))}"] = Value.cast(value)
        m.submodules.box = Instance(BOX, **signals)
        return m


def declaration(engine: Engine) -> str:
    """Return the Verilog module that says what ports the black box has."""
    lines = [
        f"{port['direction']}put [{port['width'] - 1}:0] {port['name']}" for port in ports(engine)
    ]
    return f"(* blackbox *) module {BOX}({', '.join(lines)}); endmodule\n"


def measure(config: EngineConfig, axi: AxiConfig) -> dict[str, object]:
    """Return what the core has besides its engine."""
    core = AxiEngine(config, axi, engine=BlackBox)
    text = declaration(Engine(config)) + convert(core, "core")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "core.v").write_text(text)
        script = [
            "read_verilog core.v", f"synth_xilinx -family {FAMILY} -flatten -top core",
            "write_json netlist.json",
        ]
        (folder / "script.ys").write_text("\n".join(script) + "\n")
        run([Job("yosys", (*find_yosys().command, "script.ys"), folder, folder / "yosys.log")])
        module = json.loads((folder / "netlist.json").read_text())["modules"]["core"]
    cells = cells_of(module)
    assert cells.pop(BOX) == 1
    counted = count(cells, FAMILY)
    return {"config": config.to_dict(), "axi": asdict(axi), **counted.to_json()}


def line(result: dict) -> str:
    """Return a line of the table."""
    cells = result["cells"]
    logic = result["lut"] - result["lutram"]
    rams = ", ".join(f"{n} {kind}" for kind, n in cells.items() if kind.startswith("RAM"))
    core = "memory" if result["axi"]["memory"] else "streams"
    carries = cells.get("CARRY4", 0) + 2 * cells.get("CARRY8", 0)
    return (
        f"| `{result['config']['name']}` | {core} | {logic:,} | {result['ff']:,} "
        f"| {rams or 'none'} | {carries:,} |"
    )


@click.command(cls=Program)
@click.option("--only", multiple=True, help="Names of configurations; default all.")
@click.option("--out", type=OutputFile(), help="JSON record to write.")
def main(only: Sequence[str], out: Path | None) -> None:
    """Measure every configuration with both kinds of core."""
    results = []
    for config in CONFIGS:
        if only and config.name not in only:
            continue
        for memory in (False, True):
            results.append(measure(config, AxiConfig(memory=memory)))
            assert not results[-1]["unknown"], results[-1]["unknown"]
            click.echo(line(results[-1]))
    if out is not None:
        write_record(
            out, {"yosys": find_yosys().version, "cores": results}, ("signacc", "amaranth")
        )


if __name__ == "__main__":
    main()
