"""Sequencers: they pair each weight beat with the activations that it belongs to."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, equals
from .config import BANKS, PARTIAL_SUM_DISTANCE, TABLE_BANKS, EngineConfig, clog2


def _fill_tile(config: EngineConfig, tile, batch, n_rest, tile_last) -> list:
    """Assignments that say what a tile of `batch` is."""
    return [
        tile.vectors.eq(batch.layer.m if config.m_par > 1 else 1),
        tile.count.eq(Mux(tile_last, n_rest, config.n_par)),
        tile.last.eq(tile_last),
    ]


def _take_weight(m: Module, sequencer, ready, begin) -> Signal:
    """Return whether a beat is taken: from the stream, or from memory, where a batch begins."""
    config = sequencer.config
    if not config.resident:
        m.d.comb += sequencer.weight.ready.eq(ready)
        return bind(m, ready & sequencer.weight.valid, "beat")
    issue = bind(m, ready, "beat")
    address = Signal(max(1, clog2(config.weight_words)), name="weight_address")
    m.d.comb += sequencer.weight_addr.eq(address)
    with m.If(begin):
        m.d.sync += address.eq(sequencer.batch.payload.layer.w)
    with m.If(issue):
        m.d.sync += address.eq(address + 1)
    return issue


def _weight_ports(config: EngineConfig) -> dict:
    """Members: weights from a stream, or the address of those in memory."""
    if config.resident:
        return {"weight_addr": Out(max(1, clog2(config.weight_words)))}
    return {"weight": In(stream.Signature(config.weight_beat_bits))}


class Sequencer(wiring.Component):
    """Takes a quantized batch, then one weight beat a cycle: words inside tiles of n_par outputs.

    The last beat of a tile, or of a group with scales of its own, waits until the hold register of
    the drain is free, so that nothing behind the sequencer ever has to stop.

    Members
    -------
    batch : In stream
        Quantized vectors in the order of the banks.
    weight : In stream
        Weight beats, words inner, tiles outer; or ``weight_addr``, Out: the beat's place in memory.
    read_addr : Out
        Word of the activation buffers that this cycle's beat needs.
    issue, last : Out
        A beat was taken; it is the last of its tile.
    tile : Out
        For the drain, from the cycle after the last beat of a tile on.
    tile_freed : In
        Pulse: the drain is done with the tile.
    bank_freed : Out
        Pulse: the batch's last beat was taken.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "batch": In(stream.Signature(layouts.batch(config))),
                "read_addr": Out(clog2(BANKS * config.words_max)),
                "issue": Out(1),
                "last": Out(1),
                "tile": Out(layouts.tile(config)),
                "tile_freed": In(1),
                "bank_freed": Out(1),
            }
            | _weight_ports(config)
        )

    def elaborate(self, platform):
        """Build the two nested counters."""
        m = Module()
        config = self.config
        running = Signal()
        current = Signal(layouts.batch(config), reset_less=True)
        tile = Signal(layouts.tile(config), reset_less=True)
        k_rest = Signal.like(current.layer.k)
        n_rest = Signal.like(current.layer.n)
        bank = Signal()
        base = bind(m, Mux(bank, config.words_max, 0), "base")
        word = Signal(range(max(2, BANKS * config.words_max)))
        hold_free = Signal(init=1)

        word_last = bind(m, k_rest <= config.k_par, "word_last")
        tile_last = bind(m, n_rest <= config.n_par, "tile_last")
        # Sums leave the array at the end of a tile, and of each group of words.
        sums_last = word_last
        if config.scale_out == "groups":
            s_rest = Signal.like(current.layer.s)
            group_first = Signal()
            sums_last = bind(m, word_last | (s_rest == 1), "sums_last")
        ready = bind(m, running & (~sums_last | hold_free), "ready")
        issue = _take_weight(m, self, ready, self.batch.valid & ~running)
        tile_done = bind(m, issue & word_last, "tile_done")
        sums_done = bind(m, issue & sums_last, "sums_done")
        batch_done = bind(m, tile_done & tile_last, "batch_done")
        m.d.comb += [
            self.batch.ready.eq(~running),
            self.read_addr.eq(word),
            self.issue.eq(issue),
            self.last.eq(sums_last),
            self.tile.eq(tile),
            self.bank_freed.eq(batch_done),
        ]
        with m.If(self.batch.valid & ~running):
            m.d.sync += [
                running.eq(1),
                current.eq(self.batch.payload),
                k_rest.eq(self.batch.payload.layer.k),
                n_rest.eq(self.batch.payload.layer.n),
                word.eq(base),
            ]
        if config.scale_out == "groups":
            with m.If(self.batch.valid & ~running):
                m.d.sync += [s_rest.eq(self.batch.payload.layer.s), group_first.eq(1)]
            with m.If(issue):
                m.d.sync += s_rest.eq(Mux(sums_last, current.layer.s, s_rest - 1))
            with m.If(sums_done):
                m.d.sync += [
                    group_first.eq(word_last),
                    tile.group_first.eq(group_first),
                    tile.group_last.eq(word_last),
                ]
        with m.If(issue):
            m.d.sync += [k_rest.eq(k_rest - config.k_par), word.eq(word + 1)]
        with m.If(sums_done):
            m.d.sync += _fill_tile(config, tile, current, n_rest, tile_last)
        with m.If(tile_done):
            m.d.sync += [
                k_rest.eq(current.layer.k),
                n_rest.eq(n_rest - config.n_par),
                word.eq(base),
            ]
        with m.If(batch_done):
            m.d.sync += [running.eq(0), bank.eq(~bank)]
        with m.If(sums_done):
            m.d.sync += hold_free.eq(0)
        with m.Elif(self.tile_freed):
            m.d.sync += hold_free.eq(1)
        return m


class TableSequencer(wiring.Component):
    """Takes a quantized batch, then one weight beat a cycle: tiles inside words.

    A word's beats wait for its tables; the last word's beats also for room in the tile queue. A
    layer of few tiles waits between words until the partial sums that it will read are written.

    Members
    -------
    batch : In stream
        Quantized vectors, in the order in which their tables are made.
    weight : In stream
        Weight beats, tiles inner, words outer; or ``weight_addr``, Out: the beat's place in memory.
    table_made : In, table_freed : Out
        Pulses: one more word's tables can be read; the oldest are not read any more.
    issue, bank, first, last : Out
        A beat was taken; its tables; it starts / completes its tile's sums.
    tile_index : Out
        Which tile.
    tile : Out
        For the drain, with ``tile_valid``: in the cycle of a beat that completes sums.
    tile_freed : In
        Pulse: the drain is done with a tile.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "batch": In(stream.Signature(layouts.batch(config))),
                "table_made": In(1),
                "table_freed": Out(1),
                "issue": Out(1),
                "bank": Out(1),
                "first": Out(1),
                "last": Out(1),
                "tile_index": Out(max(1, clog2(config.tiles_max))),
                "tile": Out(layouts.tile(config)),
                "tile_valid": Out(1),
                "tile_freed": In(1),
            }
            | _weight_ports(config)
        )

    def elaborate(self, platform):
        """Build the two nested counters."""
        m = Module()
        config = self.config
        running = Signal()
        current = Signal(layouts.batch(config), reset_less=True)
        k_rest = Signal.like(current.layer.k)
        n_rest = Signal.like(current.layer.n)
        first = Signal()
        tables = Signal(range(TABLE_BANKS + 1))
        free_tiles = Signal(range(config.tile_slots + 1), init=config.tile_slots)
        gap = Signal(range(PARTIAL_SUM_DISTANCE))

        # Registered: the weight port's ready depends on them in the same cycle.
        word_last, tile_last = Signal(), Signal()
        ready = bind(
            m,
            running & (tables != 0) & equals(gap, 0) & (~word_last | (free_tiles != 0)),
            "ready",
        )
        issue = _take_weight(m, self, ready, self.batch.valid & ~running)
        word_done = bind(m, issue & tile_last, "word_done")
        batch_done = bind(m, word_done & word_last, "batch_done")
        m.d.comb += [
            self.batch.ready.eq(~running),
            self.issue.eq(issue),
            self.first.eq(first),
            self.last.eq(word_last),
            self.table_freed.eq(word_done),
            self.tile_valid.eq(issue & word_last),
            *_fill_tile(config, self.tile, current, n_rest, tile_last),
        ]
        m.d.sync += [
            tables.eq(tables + self.table_made - word_done),
            free_tiles.eq(free_tiles - self.tile_valid + self.tile_freed),
        ]
        with m.If(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(self.batch.valid & ~running):
            m.d.sync += [
                running.eq(1),
                current.eq(self.batch.payload),
                k_rest.eq(self.batch.payload.layer.k),
                n_rest.eq(self.batch.payload.layer.n),
                first.eq(1),
                gap.eq(0),
                word_last.eq(self.batch.payload.layer.k <= config.k_par),
                tile_last.eq(self.batch.payload.layer.n <= config.n_par),
            ]
        with m.If(issue):
            m.d.sync += [
                n_rest.eq(n_rest - config.n_par),
                tile_last.eq(n_rest <= 2 * config.n_par),
                self.tile_index.eq(self.tile_index + 1),
            ]
        with m.If(word_done):
            m.d.sync += [
                k_rest.eq(k_rest - config.k_par),
                n_rest.eq(current.layer.n),
                word_last.eq(k_rest <= 2 * config.k_par),
                tile_last.eq(current.layer.n <= config.n_par),
                self.tile_index.eq(0),
                first.eq(0),
                self.bank.eq(~self.bank),
                gap.eq(
                    Mux(
                        self.tile_index < PARTIAL_SUM_DISTANCE - 1,
                        PARTIAL_SUM_DISTANCE - 1 - self.tile_index,
                        0,
                    )
                ),
            ]
        with m.If(batch_done):
            m.d.sync += running.eq(0)
        return m
