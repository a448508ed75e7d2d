"""Verilog output of the engine with its buses, with a sidecar that holds the register map."""

from __future__ import annotations

from amaranth.hdl import Value
from amaranth.lib.wiring import Out

from .. import verilog as engine_verilog
from ..config import EngineConfig
from ..engine import Engine
from .config import AxiConfig
from .engine import AxiEngine
from .registers import describe


def generate_axi(
    config: EngineConfig, axi: AxiConfig | None = None, *, top: str | None = None
) -> engine_verilog.GeneratedVerilog:
    """Generate the engine of `config` with the buses of `axi` as plain Verilog-2005.

    The array's repeated parts are emitted once each, and instantiated.

    Parameters
    ----------
    axi
        Default: streams for everything, no read master.
    top
        Name of the top module; default ``signacc_<name of the configuration>_axi``.

    Raises
    ------
    ConfigError
        If `top` is not a Verilog identifier, or names a module that engines have inside.
    """
    axi = AxiConfig() if axi is None else axi
    top = engine_verilog.checked_top(
        f"signacc_{config.name}_axi" if top is None else top
    )
    library, parts = engine_verilog.repeated_parts(config, top)
    core = AxiEngine(config, axi, engine=lambda config: Engine(config, parts=parts))
    text = library + engine_verilog.convert(core, top)
    header = (
        f"// signacc engine {config.name} with AXI: {config.lanes} lanes, A{config.act_bits}\n"
    )
    return engine_verilog.GeneratedVerilog(
        text=header + text,
        top=top,
        sidecar=engine_verilog.sidecar(config, top, ports(core))
        | {"axi": axi.to_dict(), "registers": describe(config, axi)},
    )


def ports(core: AxiEngine) -> list[dict[str, object]]:
    """Return name, direction and width (bits) of every port, as named in the Verilog."""
    return [
        {
            "name": name,
            "direction": "out" if member.flow == Out else "in",
            "width": len(Value.cast(getattr(core, name))),
        }
        for name, member in core.signature.members.items()
    ]
