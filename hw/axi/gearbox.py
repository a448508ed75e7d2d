"""Changes the width of a stream of bits: beats of one width in, items of another out."""

from __future__ import annotations

from math import gcd

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from .frames import beat


class Gearbox(wiring.Component):
    """Gives items of `out_width` bits from contiguous beats of `in_width`, lowest bits first.

    Neither width must be a multiple of the other. One item or one beat a cycle, whichever is
    wider. Logic is least where one is a multiple of the other: no shifter, or no insertion point.

    Members
    -------
    i : In stream of {data, last}
        `last` ends the bits of a job: what then remains is given as one more item, filled up with
        bits of no meaning, and no beat is taken before `clear`.
    o : Out stream of `out_width` bits
    clear : In
        With or after the last item that is wanted of a job: forget what remains.
    """

    def __init__(self, *, in_width: int, out_width: int):
        self._in_width, self._out_width = in_width, out_width
        super().__init__(
            {
                "i": In(stream.Signature(beat(in_width))),
                "o": Out(stream.Signature(out_width)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        """Build a buffer that is counted in units of the widths' greatest common divisor."""
        m = Module()
        unit = gcd(self._in_width, self._out_width)
        taken_units, given_units = self._in_width // unit, self._out_width // unit
        capacity = taken_units + given_units - 1
        buffer = Signal(capacity * unit, reset_less=True)
        level = Signal(range(capacity + 1))
        ended = Signal()

        give = bind(m, self.o.valid & self.o.ready, "give")
        whole = bind(m, level >= given_units, "whole")
        left = bind(m, Mux(whole, level - given_units, 0)[: len(level)], "left")
        after = bind(m, Mux(give, left, level), "after")
        take = bind(m, self.i.valid & self.i.ready, "take")
        m.d.comb += [
            self.o.valid.eq(whole | (ended & level.any())),
            self.o.payload.eq(buffer),
            self.i.ready.eq((after < given_units) & ~ended),
        ]
        m.d.sync += level.eq(Mux(take, after + taken_units, after))
        with m.If(give):
            m.d.sync += buffer.eq(buffer >> self._out_width)
        with m.If(take):
            m.d.sync += ended.eq(self.i.payload.last)
            for position in range(given_units):
                with m.If(after == position if position else ~after.any()):
                    low = position * unit
                    m.d.sync += buffer[low : low + self._in_width].eq(self.i.payload.data)
        with m.If(self.clear):
            m.d.sync += [level.eq(0), ended.eq(0)]
        return m
