"""A frame around a design that has more ports than a device has pins, as Verilog.

Every input bit comes from a flip-flop of its own, all of them one shift register fed from a single
pin; every output bit goes to a flip-flop, and those are folded by XOR, four at a time with a
register after each, into a single pin. Nothing of the design can be optimized away, and no path of
the frame is longer than one LUT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from golden.errors import InputError

INSTANCE = "dut"
"""Name of the design's instance: what it places begins with it."""
_FOLD = 4
_OSCILLATOR = (
    "  wire clk;",
    '  OSCA #(.HF_CLK_DIV("1"), .HF_OSC_EN("ENABLED"), .LF_OUTPUT_EN("DISABLED"))',
    "    oscillator(.HFOUTEN(1'b1), .HFCLKOUT(clk));",
)


@dataclass(frozen=True)
class Port:
    """A port of the design.

    Attributes
    ----------
    name
        As the netlist has it.
    direction
        "input" or "output".
    width
        Bits.
    """

    name: str
    direction: str
    width: int


@dataclass(frozen=True)
class Harness:
    """The frame's Verilog.

    Attributes
    ----------
    text
        Module and a black box for the design.
    top
        Name of the frame's module.
    flip_flops
        Flip-flops that it has, by construction.
    """

    text: str
    top: str
    flip_flops: int


def ports_of(module: dict[str, Any]) -> list[Port]:
    """Return the ports of a module of a Yosys JSON netlist."""
    return [
        Port(name, port["direction"], len(port["bits"])) for name, port in module["ports"].items()
    ]


def make_harness(
    design: str, ports: Sequence[Port], *, clock: str = "clk", oscillator: bool = False
) -> Harness:
    """Return the frame for a module.

    Parameters
    ----------
    design
        Name of the module.
    ports
        All of its ports.
    clock
        Its clock input, one bit.
    oscillator
        Clock it from a Nexus device's own oscillator: nextpnr-nexus 0.11 cannot lead a clock from
        a pin to the global network.

    Raises
    ------
    InputError
        If there is no such clock, no other input, no output, or a port that is neither.
    """
    by_name = {port.name: port for port in ports}
    if clock not in by_name or by_name[clock] != Port(clock, "input", 1):
        raise InputError(f"{design} must have a one-bit input {clock!r} as its clock")
    inputs = [port for port in ports if port.direction == "input" and port.name != clock]
    outputs = [port for port in ports if port.direction == "output"]
    odd = [port.name for port in ports if port.direction not in ("input", "output")]
    if odd:
        raise InputError(f"ports of {design} must be inputs or outputs, not like {odd[0]}")
    if not inputs or not outputs:
        raise InputError(f"{design} must have inputs besides its clock, and outputs")
    top = f"{design}_pnr"
    taps, folded = sum(p.width for p in inputs), sum(p.width for p in outputs)
    shifted = "feed" if taps == 1 else f"{{taps[{taps - 2}:0], feed}}"
    lines = [
        f"module {top}({'' if oscillator else 'input clk, '}input feed, output fold);",
        *(_OSCILLATOR if oscillator else ()),
        f"  reg [{taps - 1}:0] taps;",
        f"  wire [{folded - 1}:0] results;",
        f"  reg [{folded - 1}:0] fold_0;",
        f"  always @(posedge clk) taps <= {shifted};",
        "  always @(posedge clk) fold_0 <= results;",
    ]
    flip_flops, width, stage = taps + folded, folded, 0
    while width > 1:
        width_out = -(-width // _FOLD)
        stage += 1
        lines.append(f"  reg [{width_out - 1}:0] fold_{stage};")
        for bit in range(width_out):
            high = min(width, _FOLD * (bit + 1)) - 1
            lines.append(
                f"  always @(posedge clk) fold_{stage}[{bit}] <= "
                f"^fold_{stage - 1}[{high}:{_FOLD * bit}];"
            )
        width = width_out
        flip_flops += width
    lines.append(f"  assign fold = fold_{stage}[0];")
    connections = [f".{_name(clock)}(clk)"]
    for names, bus in ((inputs, "taps"), (outputs, "results")):
        low = 0
        for port in names:
            connections.append(f".{_name(port.name)}({bus}[{low + port.width - 1}:{low}])")
            low += port.width
    lines.append(f"  {_name(design)} {INSTANCE}(\n    " + ",\n    ".join(connections) + "\n  );")
    lines.append("endmodule")
    lines.append("(* blackbox *)")
    declared = ", ".join(f"{p.direction} [{p.width - 1}:0] {_name(p.name)}" for p in ports)
    lines.append(f"module {_name(design)}({declared});\nendmodule\n")
    return Harness("\n".join(lines), top, flip_flops)


def _name(name: str) -> str:
    """Return `name` as Verilog writes it: escaped if it is no plain identifier."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and not name[0].isdigit()
    return name if plain else f"\\{name} "
