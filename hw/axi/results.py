"""The result stream: a register in front of the bus, and an honest end for frames cut short."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..arith import bind
from ..config import EngineConfig

LANE_BYTES = 2
"""Bytes of a result."""


class ResultPort(wiring.Component):
    """Holds a result until the bus takes it, also while the engine is being reset.

    When the run is stopped within a frame, the beat on offer stays, and a beat without data (keep
    of zero) with `last` follows, so that no receiver waits for ever: one for each token vector
    that is within a frame.

    Members
    -------
    i : In stream of layouts.results
    stop : In
        The run was stopped: take nothing more, and end the frame.
    valid, data, keep, last, vector : Out
        To the bus; `keep` has a bit a byte. `vector` only where results have that field.
    ready : In
    quiet : Out
        Nothing is on offer, and no frame is open.
    done : Out
        Pulse: the last beat of a whole frame was taken.
    """

    def __init__(self, config: EngineConfig):
        self._layout = layout = layouts.results(config)
        width = layout["data"].width
        ports = {
            "i": In(stream.Signature(layout)),
            "stop": In(1),
            "valid": Out(1),
            "ready": In(1),
            "data": Out(width),
            "keep": Out(width // 8),
            "last": Out(1),
            "quiet": Out(1),
            "done": Out(1),
        }
        if "vector" in layout.members:
            ports["vector"] = Out(layout["vector"].width)
        super().__init__(ports)

    def elaborate(self, platform):
        """Build the register."""
        m = Module()
        payload = self.i.payload
        many = "vector" in self._layout.members
        frames = 1 << self._layout["vector"].width if many else 1
        vector = payload.vector if many else 0
        is_open = Signal(frames)  # by vector: a beat was loaded, and it was not the last
        free = bind(m, ~self.valid | self.ready, "free")
        load = bind(m, self.i.valid & self.i.ready, "load")
        closing = Signal()  # what is on offer is the end of a frame cut short
        m.d.comb += [
            self.i.ready.eq(free & ~self.stop),
            self.quiet.eq(~self.valid & ~is_open.any()),
            self.done.eq(self.valid & self.ready & self.last & ~closing),
        ]
        with m.If(self.ready):
            m.d.sync += self.valid.eq(0)
        with m.If(load):
            m.d.sync += [
                self.valid.eq(1),
                self.data.eq(payload.data.as_value()),
                self.keep.eq(Cat(*(bit.replicate(LANE_BYTES) for bit in payload.keep))),
                self.last.eq(payload.last),
                is_open.bit_select(vector, 1).eq(~payload.last),
                closing.eq(0),
            ]
            if many:
                m.d.sync += self.vector.eq(vector)
        with m.Elif(self.stop & free & is_open.any()):
            m.d.sync += [
                self.valid.eq(1),
                self.data.eq(0),
                self.keep.eq(0),
                self.last.eq(1),
                closing.eq(1),
            ]
            for index in reversed(range(frames)):
                with m.If(is_open[index] & ~is_open[:index].any()):
                    m.d.sync += is_open[index].eq(0)
                    if many:
                        m.d.sync += self.vector.eq(index)
        return m
