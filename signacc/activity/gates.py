"""Toggles of gates: a row of the array as a netlist of Yosys, beside adders on fair coins.

Gates switch in zero time here: glitches, which real adders have, are absent on both sides.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.config import EngineConfig
from hw.row import Row
from hw.verilog import convert
from signacc.cosim.build import BenchError, build
from signacc.cosim.job import LayerJob
from signacc.fpga.tools import Job, find_yosys, run
from sim.energy import tree_levels

from .row import replay, row_stimulus
from .saif import Net

SCRIPT = (
    "read_verilog design.v",
    "synth -flatten -top {top}",
    "abc -g AND,NAND,OR,NOR,XOR,XNOR,MUX",
    "splitnets -format _",
    "opt_clean -purge",
    "rename -enumerate -pattern gate_%",
    "write_json netlist.json",
    "write_verilog -noattr netlist.v",
)
"""Yosys: gates of up to three inputs and flip-flops, flat."""


@dataclass(frozen=True)
class GateActivity:
    """Toggles of a netlist.

    Attributes
    ----------
    gates
        Outputs of gates that are no flip-flops.
    toggles
        Of all of them.
    events
        Operations in that time.
    """

    gates: int
    toggles: int
    events: int

    @property
    def per_event(self) -> float:
        """Toggles of all gates per operation."""
        return self.toggles / self.events


def adders_verilog(config: EngineConfig, top: str) -> tuple[str, list[int]]:
    """Return the additions of one output, each alone, as Verilog, and their widths.

    What an energy per beat counts (:func:`sim.energy.beat_add_pj`): the nodes of the tree and the
    addition to the accumulator. Ports a, b and y hold all of them, one after another.
    """
    widths = [width for adders, width in tree_levels(config) for _ in range(adders)]
    widths.append(config.acc_bits)
    total = sum(widths)
    lines = [f"module {top}(input clk, rst, input [{total - 1}:0] a, b, output [{total - 1}:0] y);"]
    at = 0
    for width in widths:
        place = f"[{at + width - 1}:{at}]"
        lines.append(f"  assign y{place} = a{place} + b{place};")
        at += width
    return "\n".join([*lines, "endmodule", ""]), widths


def adders_activity(config: EngineConfig, *, operations: int, seed: int) -> GateActivity:
    """Return the toggles of those adders when every bit of every operand is a fair coin.

    Raises as :func:`row_activity`.
    """
    text, widths = adders_verilog(config, "adders")
    random = np.random.default_rng(seed)
    total = sum(widths)
    a, b = (
        [int.from_bytes(random.bytes(-(-total // 8)), "little") % (1 << total)
         for _ in range(operations)]
        for _ in "ab"
    )
    netlist, nets, seen = _simulate(text, "adders", {"a": a, "b": b}, ["y"])
    at = 0
    for width in widths:
        for cycle, (left, right, value) in enumerate(zip(a, b, seen["y"], strict=True)):
            if ((left >> at) + (right >> at) - (value >> at)) % (1 << width):
                raise BenchError(f"an adder of {width} bits adds wrongly in cycle {cycle}")
        at += width
    return count_gates(netlist, nets, operations)


def row_activity(config: EngineConfig, job: LayerJob) -> GateActivity:
    """Return the toggles of the gates of the array's first row while `job` goes through it.

    See :func:`signacc.activity.row.row_stimulus`; its sums are held to exact integers.

    Raises
    ------
    ConfigError
        If the structure is not ``direct``.
    ToolError
        If there is no Yosys or no Verilator.
    BenchError
        If a sum is wrong.
    """
    stimulus = row_stimulus(config, job)
    text = convert(Row(config), "row")
    netlist, nets, seen = _simulate(text, "row", stimulus.inputs, ["sum"])
    # Sums leave tree_stages cycles after their beat.
    patterns = np.array(seen["sum"][config.tree_stages :], np.int64)[stimulus.ends]
    if (patterns != stimulus.partial[stimulus.ends] % (1 << config.acc_bits)).any():
        raise BenchError("the row's netlist gives wrong sums")
    return count_gates(netlist, nets, stimulus.beats)


def _simulate(
    verilog: str, top: str, inputs: dict[str, list[int]], outputs: list[str]
) -> tuple[dict, dict[str, Net], dict[str, list[int]]]:
    """Synthesize, replay, return the netlist's module, its nets' toggles and the outputs."""
    with tempfile.TemporaryDirectory(prefix="signacc-gates-") as name:
        folder = Path(name)
        (folder / "design.v").write_text(verilog, encoding="utf-8")
        script = "\n".join(SCRIPT).format(top=top)
        (folder / "script.ys").write_text(script + "\n", encoding="utf-8")
        run([Job("synthesis", (*find_yosys().command, "script.ys"), folder, folder / "log")])
        netlist = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
        text = (folder / "netlist.v").read_text(encoding="utf-8")
        # Ports are vectors whose bits depend on one another, which is no loop.
        built = build("/* verilator lint_off UNOPTFLAT */\n" + text, top, saif=True)
        saif, seen = replay(built, inputs, outputs)
        return netlist["modules"][top], saif.nets[top], seen


def count_gates(module: dict, nets: dict[str, Net], events: int) -> GateActivity:
    """Return what the outputs of gates did; a net of several names counts once.

    Parameters
    ----------
    module
        Of Yosys's JSON netlist.
    nets
        By name, of the same module.

    Raises
    ------
    BenchError
        If a gate's output has no name among `nets`.
    """
    outputs = {
        bit
        for cell in module["cells"].values()
        if "DFF" not in cell["type"]
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "output"
        for bit in bits
    }
    toggles: dict[int, int] = {}
    for name, wire in module["netnames"].items():
        # Yosys writes a public name that begins like a private one with a backslash before it.
        if (net := nets.get(name.removeprefix("\\"))) is not None:
            for i, bit in enumerate(wire["bits"]):
                if bit in outputs:
                    toggles[bit] = net.toggles[i]
    if len(toggles) != len(outputs):
        raise BenchError(f"{len(outputs) - len(toggles)} of {len(outputs)} gates were not traced")
    return GateActivity(len(outputs), sum(toggles.values()), events)
