"""Input frames: how long each must be, whether it is, and what becomes of one that is not."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..arith import bind
from ..config import EngineConfig, clog2


def shape(config: EngineConfig) -> data.StructLayout:
    """K, N and M of a layer that the engine can hold; `s`, `w` as in layouts.command."""
    command = layouts.command(config)
    return data.StructLayout(
        {"m": clog2(config.m_par + 1)} | {name: command[name].shape for name in command.members}
    )


def beat(width: int) -> data.StructLayout:
    """A beat of AXI4-Stream: its data, and whether it is the frame's last."""
    return data.StructLayout({"data": width, "last": 1})


class Walk(wiring.Component):
    """Counts the items of a layer: every ``k_step`` inputs, for every ``outer_step`` of `outer`.

    Counting down by steps needs neither the product nor a division.

    Parameters
    ----------
    config : EngineConfig
    k_step
        Inputs that an item covers.
    outer, outer_step
        "n" or "m": how often the walk over K is repeated, and how many of them one walk serves.

    Members
    -------
    load, layer : In
        Begin with this layer.
    next : In
        The current item is done with.
    row_last, last : Out
        The current item is the last of a walk over K / of the layer.
    """

    def __init__(self, config: EngineConfig, *, k_step: int, outer: str, outer_step: int):
        self._k_step, self._outer, self._outer_step = k_step, outer, outer_step
        super().__init__(
            {
                "load": In(1),
                "layer": In(shape(config)),
                "next": In(1),
                "row_last": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the two nested counters."""
        m = Module()
        k = Signal.like(self.layer.k, name="k")
        k_rest = Signal.like(self.layer.k, name="k_rest")
        outer = self.layer[self._outer]
        rest = Signal.like(outer, name="outer_rest")
        k_last = bind(m, k_rest <= self._k_step, "k_last")
        m.d.comb += [self.row_last.eq(k_last), self.last.eq(k_last & (rest <= self._outer_step))]
        with m.If(self.load):
            m.d.sync += [k.eq(self.layer.k), k_rest.eq(self.layer.k), rest.eq(outer)]
        with m.Elif(self.next):
            m.d.sync += k_rest.eq(Mux(k_last, k, k_rest - self._k_step))
            with m.If(k_last):
                m.d.sync += rest.eq(rest - self._outer_step)
        return m


class FrameGate(wiring.Component):
    """Lets a frame of the right length into the engine; nothing passes before its layer is begun.

    A frame is what a layer needs of one stream. One that ends early is dropped as it stands; one
    that has no `last` where it should is taken to its `last` and dropped. When the run is stopped,
    a frame of which something was taken is taken to its `last`; one of which nothing was taken
    stays where it is.

    Parameters
    ----------
    config : EngineConfig
    width
        Bits of an item.
    walk : Walk
        Counts the items of a frame.

    Members
    -------
    layer : In stream
        Taken when its frame begins.
    i : In stream of {data, last}
    o : Out stream of `width` bits
    stop : In
        The run was stopped: let nothing pass.
    flush : In
        Pulse, while stopped or idle: take a whole frame and drop it.
    forget : In
        Pulse, while stopped: whatever is being flushed, leave it.
    quiet : Out
        No frame is being flushed, or about to be.
    short, long, whole : Out
        Pulse: the frame ended early / ran over its end / reached its `last`.
    starved : Out
        The engine could take an item, and none is there.
    """

    def __init__(self, config: EngineConfig, *, width: int, walk: Walk):
        self._walk = walk
        super().__init__(
            {
                "layer": In(stream.Signature(shape(config))),
                "i": In(stream.Signature(beat(width))),
                "o": Out(stream.Signature(width)),
                "stop": In(1),
                "flush": In(1),
                "forget": In(1),
                "quiet": Out(1),
                "short": Out(1),
                "long": Out(1),
                "whole": Out(1),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the three states: closed, open, flushing."""
        m = Module()
        m.submodules.walk = walk = self._walk
        is_open, begun, flushing = Signal(), Signal(), Signal()
        passing = bind(m, is_open & ~self.stop, "passing")
        taken = bind(m, passing & self.i.valid & self.o.ready, "taken")
        ends = bind(m, self.i.payload.last, "ends")
        m.d.comb += [
            walk.layer.eq(self.layer.payload),
            walk.load.eq(self.layer.valid & self.layer.ready),
            walk.next.eq(taken),
            self.layer.ready.eq(~is_open & ~flushing & ~self.stop),
            self.o.payload.eq(self.i.payload.data),
            self.o.valid.eq(passing & self.i.valid),
            self.i.ready.eq(flushing | (passing & self.o.ready)),
            self.quiet.eq(~flushing & ~(self.stop & is_open)),
            self.short.eq(taken & ends & ~walk.last),
            self.long.eq(taken & ~ends & walk.last),
            self.whole.eq(self.i.valid & self.i.ready & ends),
            self.starved.eq(passing & self.o.ready & ~self.i.valid),
        ]
        with m.If(walk.load):
            m.d.sync += [is_open.eq(1), begun.eq(0)]
        with m.If(taken):
            m.d.sync += [begun.eq(1), is_open.eq(~ends & ~walk.last), flushing.eq(self.long)]
        with m.If(self.stop & is_open):
            m.d.sync += [is_open.eq(0), flushing.eq(begun)]
        with m.If(self.flush):
            m.d.sync += flushing.eq(1)
        with m.If(flushing & ((self.i.valid & ends) | self.forget)):
            m.d.sync += flushing.eq(0)
        return m


class ItemGate(wiring.Component):
    """Lets the items of a layer through; for sources that always give as many as are needed.

    Members
    -------
    layer : In stream
    i, o : In / Out stream of `width` bits
    row_done, done : Out
        Pulse, with the last item of a walk over K / of the layer.
    starved : Out
        The engine could take an item, and none is there.
    """

    def __init__(self, config: EngineConfig, *, width: int, walk: Walk):
        self._walk = walk
        super().__init__(
            {
                "layer": In(stream.Signature(shape(config))),
                "i": In(stream.Signature(width)),
                "o": Out(stream.Signature(width)),
                "row_done": Out(1),
                "done": Out(1),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the one state bit."""
        m = Module()
        m.submodules.walk = walk = self._walk
        is_open = Signal()
        taken = bind(m, self.o.valid & self.o.ready, "taken")
        m.d.comb += [
            walk.layer.eq(self.layer.payload),
            walk.load.eq(self.layer.valid & self.layer.ready),
            walk.next.eq(taken),
            self.layer.ready.eq(~is_open),
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(is_open & self.i.valid),
            self.i.ready.eq(is_open & self.o.ready),
            self.row_done.eq(taken & walk.row_last),
            self.done.eq(taken & walk.last),
            self.starved.eq(is_open & self.o.ready & ~self.i.valid),
        ]
        with m.If(walk.load):
            m.d.sync += is_open.eq(1)
        with m.If(self.done):
            m.d.sync += is_open.eq(0)
        return m


def weight_walk(config: EngineConfig) -> Walk:
    """Weight beats: words of k_par inputs for every tile of n_par outputs."""
    return Walk(config, k_step=config.k_par, outer="n", outer_step=config.n_par)


def vector_walk(config: EngineConfig) -> Walk:
    """Chunks of activations or coefficients: act_par inputs at a time, for every token vector."""
    return Walk(config, k_step=config.act_par, outer="m", outer_step=1)
