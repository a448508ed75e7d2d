"""Sequencer: walks a layer tile by tile and pairs each weight beat with an activation word."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind
from .config import BANKS, EngineConfig, clog2


class Sequencer(wiring.Component):
    """Takes a quantized vector, then one weight beat a cycle: words inside tiles of n_par outputs.

    The last beat of a tile waits until the hold register of the drain is free, so that nothing
    behind the sequencer ever has to stop.

    Members
    -------
    vector : In stream
        Quantized vectors in the order of the banks.
    weight : In stream
        Weight beats, words inner, tiles outer.
    read_addr : Out
        Word of the activation buffer that this cycle's beat needs.
    issue, first, last : Out
        A beat was taken; it is the first / last of its tile.
    tile : Out
        For the drain, from the cycle after the last beat of a tile on.
    hold_freed : In
        Pulse: the drain has emptied the hold register.
    bank_freed : Out
        Pulse: the vector's last beat was taken.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "vector": In(stream.Signature(layouts.vector(config))),
                "weight": In(stream.Signature(config.weight_beat_bits)),
                "read_addr": Out(clog2(BANKS * config.words_max)),
                "issue": Out(1),
                "first": Out(1),
                "last": Out(1),
                "tile": Out(layouts.tile(config)),
                "hold_freed": In(1),
                "bank_freed": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the two nested counters."""
        m = Module()
        config = self.config
        running = Signal()
        current = Signal(layouts.vector(config), reset_less=True)
        tile = Signal(layouts.tile(config), reset_less=True)
        k_rest = Signal.like(current.layer.k)
        n_rest = Signal.like(current.layer.n)
        bank = Signal()
        base = bind(m, Mux(bank, config.words_max, 0), "base")
        word = Signal(range(max(2, BANKS * config.words_max)))
        first = Signal()
        hold_free = Signal(init=1)

        word_last = bind(m, k_rest <= config.k_par, "word_last")
        tile_last = bind(m, n_rest <= config.n_par, "tile_last")
        ready = bind(m, running & (~word_last | hold_free), "ready")
        issue = bind(m, ready & self.weight.valid, "beat")
        tile_done = bind(m, issue & word_last, "tile_done")
        vector_done = bind(m, tile_done & tile_last, "vector_done")
        m.d.comb += [
            self.vector.ready.eq(~running),
            self.weight.ready.eq(ready),
            self.read_addr.eq(word),
            self.issue.eq(issue),
            self.first.eq(first),
            self.last.eq(word_last),
            self.tile.eq(tile),
            self.bank_freed.eq(vector_done),
        ]
        with m.If(self.vector.valid & ~running):
            m.d.sync += [
                running.eq(1),
                current.eq(self.vector.payload),
                k_rest.eq(self.vector.payload.layer.k),
                n_rest.eq(self.vector.payload.layer.n),
                word.eq(base),
                first.eq(1),
            ]
        with m.If(issue):
            m.d.sync += [k_rest.eq(k_rest - config.k_par), word.eq(word + 1), first.eq(0)]
        with m.If(tile_done):
            m.d.sync += [
                k_rest.eq(current.layer.k),
                n_rest.eq(n_rest - config.n_par),
                word.eq(base),
                first.eq(1),
                tile.summary.eq(current.summary),
                tile.count.eq(Mux(tile_last, n_rest, config.n_par)),
                tile.last.eq(tile_last),
            ]
        with m.If(vector_done):
            m.d.sync += [running.eq(0), bank.eq(~bank)]
        with m.If(tile_done):
            m.d.sync += hold_free.eq(0)
        with m.Elif(self.hold_freed):
            m.d.sync += hold_free.eq(1)
        return m
