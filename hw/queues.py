"""Small queues made of registers alone: no look-up table per bit."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arith import bind


def _queue(width: int) -> dict[str, wiring.Member]:
    """Return the members of a queue without back-pressure: its writer counts room."""
    return {
        "w_data": In(width),
        "w_en": In(1),
        "r_data": Out(width),
        "r_valid": Out(1),
        "r_en": In(1),
    }


class InputRegister(wiring.Component):
    """One register on a stream; an item a cycle.

    It is loaded when it is empty or its item leaves, so `i.ready` follows `o.ready` in the same
    cycle: the price of a register slice that has no choice between two registers.

    Members
    -------
    i : In stream, o : Out stream
        An item that is taken in cycle t is offered from t + 1 on.
    """

    def __init__(self, width: int):
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        """Build the register and its valid bit."""
        m = Module()
        held = Signal(len(self.i.payload), reset_less=True)
        m.d.comb += [self.i.ready.eq(~self.o.valid | self.o.ready), self.o.payload.eq(held)]
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), held.eq(self.i.payload)]
        return m


class ShiftQueue(wiring.Component):
    """A queue whose entries move on by one register a cycle while the one before them is free.

    An entry written in cycle t is at the output from t + depth on, or from the cycle after the
    entry before it was read. It moves only into a register that is empty, or, at the output, being
    read: nothing asks all registers at once. So reads are at least two cycles apart, as are writes,
    and a full queue has room again depth - 1 cycles after a read. The writer counts room.

    Members
    -------
    w_data, w_en : In
        An entry.
    r_data, r_valid : Out, r_en : In
        The oldest; it is read in a cycle with `r_en`.
    """

    def __init__(self, width: int, depth: int):
        self.depth = depth
        super().__init__(_queue(width))

    def elaborate(self, platform):
        """Build the chain, the output first."""
        m = Module()
        stages = [
            (Signal(len(self.r_data), name=f"data_{i}", reset_less=True), Signal(name=f"valid_{i}"))
            for i in range(self.depth)
        ]
        left = self.r_en  # whether the stage's entry, if there is one, moves on
        for i, (data, valid) in enumerate(stages):
            loads = bind(m, ~valid | left if i == 0 else ~valid, f"loads_{i}")
            before = stages[i + 1] if i + 1 < self.depth else (self.w_data, self.w_en)
            with m.If(loads):
                m.d.sync += [data.eq(before[0]), valid.eq(before[1])]
            with m.Elif(left):
                m.d.sync += valid.eq(0)
            left = loads
        m.d.comb += [self.r_data.eq(stages[0][0]), self.r_valid.eq(stages[0][1])]
        return m


class KeptQueue(wiring.Component):
    """A queue of two entries whose second place is the writer's own register.

    An entry written in cycle t is at the output from t + 1 on, or from the cycle after the entry
    before it was read. Until then the writer keeps `w_data`: it writes nothing while two entries
    wait.

    Members
    -------
    w_data, w_en : In
        An entry; `w_data` may change when the entry has left it.
    r_data, r_valid : Out, r_en : In
        The oldest; it is read in a cycle with `r_en`.
    """

    def __init__(self, width: int):
        super().__init__(_queue(width))

    def elaborate(self, platform):
        """Build the output register and what says that the writer's holds an entry."""
        m = Module()
        held = Signal(len(self.r_data), reset_less=True)
        waits = Signal()
        free = bind(m, ~self.r_valid | self.r_en, "free")
        m.d.comb += self.r_data.eq(held)
        m.d.sync += waits.eq((waits | self.w_en) & ~free)
        with m.If(free):
            m.d.sync += [held.eq(self.w_data), self.r_valid.eq(waits | self.w_en)]
        return m
