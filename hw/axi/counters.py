"""Counters of events, cleared together."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Counters(wiring.Component):
    """Counts, for each name, the cycles in which its event is 1.

    Parameters
    ----------
    widths
        Width of the count by name.

    Members
    -------
    clear : In
        All counts become 0; an event of that cycle is not counted.
    <name>_event : In
    <name> : Out
    """

    def __init__(self, widths: Mapping[str, int]):
        self._widths = dict(widths)
        super().__init__(
            {"clear": In(1)}
            | {f"{name}_event": In(1) for name in widths}
            | {name: Out(width) for name, width in widths.items()}
        )

    def elaborate(self, platform):
        """Build the counters."""
        m = Module()
        for name in self._widths:
            count = getattr(self, name)
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            with m.Elif(getattr(self, f"{name}_event")):
                m.d.sync += count.eq(count + 1)
        return m
