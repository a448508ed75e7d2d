"""Control of runs: idle, running, recovering from an error or a stop."""

from __future__ import annotations

from amaranth import DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind

in_core = DomainRenamer("core")
"""For what a run leaves traces in: the reset of the domain "core" takes them away."""

RESET_CYCLES = 2
"""Cycles for which the core is held in reset at least."""


class RunControl(wiring.Component):
    """Begins a run, ends it when all is done, and brings the core back to idle after an error.

    ``IDLE -> RUN -> IDLE``, or by way of ``RECOVER`` (the core is in reset, frames in flight are
    flushed, reads are drained) and ``SETTLE`` (its reset ends, so that no start falls into it).

    Members
    -------
    start, reset, flush : In
        Pulses: what software asks for. `flush` is any request to discard a frame.
    error : In
        A cause of failure was found in this cycle.
    complete : In
        Every layer of the run is through.
    quiet : In
        No frame is being flushed, no read is on its way, no result is on offer.
    begin : Out
        Pulse: a run begins; its layers may come from the next cycle on.
    finish : Out
        Pulse: the run came to its end.
    refused : Out
        Pulse: a start or flush came while busy.
    forget : Out
        Pulse: the second reset, which ends flushing.
    busy, recovering : Out
        Not idle; cleaning up.
    core_reset : Out
        Reset of everything that a run leaves traces in; one cycle behind `recovering`, and behind
        the reset of this component.
    stop : Out
        Recovering, or the core is in reset: nothing may be taken from it or from a bus.
    """

    def __init__(self):
        super().__init__(
            {
                "start": In(1),
                "reset": In(1),
                "flush": In(1),
                "error": In(1),
                "complete": In(1),
                "quiet": In(1),
                "begin": Out(1),
                "finish": Out(1),
                "refused": Out(1),
                "forget": Out(1),
                "busy": Out(1),
                "recovering": Out(1),
                "stop": Out(1),
                "core_reset": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        """Build the states, a bit each; none set is IDLE."""
        m = Module()
        running, settling = Signal(), Signal()
        recovering = self.recovering
        held = Signal(range(RESET_CYCLES + 1))
        settles = bind(m, recovering & (held == RESET_CYCLES) & self.quiet, "settles")
        clean_up = self.reset | (self.flush & ~self.busy)
        m.d.comb += [
            self.busy.eq(running | recovering | settling),
            self.stop.eq(recovering | self.core_reset),
            self.begin.eq(self.start & ~self.busy & ~clean_up),
            self.finish.eq(running & self.complete & ~self.error & ~self.reset),
            self.refused.eq((self.start & ~self.begin) | (self.flush & self.busy)),
            self.forget.eq(self.reset & recovering),
        ]
        m.d.sync += [self.core_reset.eq(recovering), settling.eq(settles)]
        with m.If(self.begin):
            m.d.sync += running.eq(1)
        with m.Elif(self.finish | self.error | self.reset):
            m.d.sync += running.eq(0)
        with m.If(~recovering):
            m.d.sync += [held.eq(0), recovering.eq(clean_up | (running & self.error))]
        with m.Elif(settles):
            m.d.sync += recovering.eq(0)
        with m.Elif(held != RESET_CYCLES):
            m.d.sync += held.eq(held + 1)
        return m
