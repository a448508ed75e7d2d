"""Where layers come from: from registers, one a run. (From memory: :mod:`hw.axi.descriptor_list`.)

And how one is given to everything that works on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Module, Signal
from amaranth.hdl import Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from ..config import EngineConfig
from .frames import shape


def check_shape(m: Module, config: EngineConfig, *, k: Value, n: Value, vectors: Value) -> Value:
    """Return three bits: K, N and M are out of range. The values may be of any width."""
    return Cat(
        bind(m, ~value.any() | (value > limit), f"bad_{name}")
        for name, value, limit in (
            ("k", k, config.k_max),
            ("n", n, config.n_max),
            ("m", vectors, config.m_par),
        )
    )


class SingleLayer(wiring.Component):
    """Offers the layer that the registers describe, if the engine can hold it.

    Members
    -------
    start : In
        Pulse, with `k`, `n`, `m`.
    layer : Out stream
    finished : Out
        No layer is waiting.
    bad : Out(3)
        Pulse, in the cycle after `start`: K, N, M are out of range; there will be no layer.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "k": In(32),
                "n": In(32),
                "m": In(32),
                "layer": Out(stream.Signature(shape(config))),
                "finished": Out(1),
                "bad": Out(3),
            }
        )

    def elaborate(self, platform):
        """Build the check and the register."""
        m = Module()
        bad = check_shape(m, self.config, k=self.k, n=self.n, vectors=self.m)
        waiting = Signal()
        m.d.comb += [
            self.layer.valid.eq(waiting),
            self.finished.eq(~waiting),
        ]
        m.d.sync += self.bad.eq(bad & self.start.replicate(len(bad)))
        with m.If(self.start):
            m.d.sync += [
                waiting.eq(~bad.any()),
                self.layer.payload.k.eq(self.k),
                self.layer.payload.n.eq(self.n),
                self.layer.payload.m.eq(self.m),
            ]
        with m.Elif(self.layer.ready):
            m.d.sync += waiting.eq(0)
        return m


class Fork(wiring.Component):
    """Gives every item of `i` to each of several takers, whenever each is ready for it.

    An item leaves `i` when the last of them has taken it; the payload must be stable until then,
    as that of any stream is.

    Parameters
    ----------
    layout
        Of the payload.
    names
        Names of the outputs.
    """

    def __init__(self, layout: data.StructLayout, names: Sequence[str]):
        self._names = tuple(names)
        super().__init__(
            {"i": In(stream.Signature(layout))}
            | {name: Out(stream.Signature(layout)) for name in self._names}
        )

    def elaborate(self, platform):
        """Build one bit per taker that already has the item."""
        m = Module()
        complete = []
        for name in self._names:
            output = getattr(self, name)
            has = Signal(name=f"{name}_has")
            m.d.comb += [
                output.payload.eq(self.i.payload),
                output.valid.eq(self.i.valid & ~has),
            ]
            complete.append(bind(m, has | output.ready, f"{name}_complete"))
            with m.If(self.i.valid):
                m.d.sync += has.eq(complete[-1] & ~self.i.ready)
        m.d.comb += self.i.ready.eq(Cat(*complete).all())
        return m
