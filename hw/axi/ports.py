"""Ports of the core that are AXI4-Stream, and joining streams of plain bits with the engine's."""

from __future__ import annotations

from amaranth import Module
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..config import EngineConfig
from .config import whole_bytes


def stream_ports(prefix: str, width: int, *, out: bool = False) -> dict[str, wiring.Member]:
    """Return the ports of an AXI4-Stream of at least `width` bits that the core takes or gives."""
    forward, back = (Out, In) if out else (In, Out)
    return {
        f"{prefix}_tdata": forward(whole_bytes(width)),
        f"{prefix}_tlast": forward(1),
        f"{prefix}_tvalid": forward(1),
        f"{prefix}_tready": back(1),
    }


def item_bits(config: EngineConfig, name: str) -> int:
    """Return the bits of an item of the input stream `name`."""
    return {
        "act": layouts.activations(config).size,
        "coef": layouts.coefficients(config).size,
        "weight": config.weight_beat_bits,
        "scale": layouts.scales(config).size,
    }[name]


def give(m: Module, source: wiring.PureInterface, target: wiring.PureInterface) -> None:
    """Join two streams of the same width, one of plain bits and one of the engine."""
    m.d.comb += [
        Value.cast(target.payload).eq(source.payload),
        target.valid.eq(source.valid),
        source.ready.eq(target.ready),
    ]
