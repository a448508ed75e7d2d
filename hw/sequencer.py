"""Sequencers: they pair each weight beat with the activations that it belongs to."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind
from .config import BANKS, PARTIAL_SUM_DISTANCE, TABLE_BANKS, EngineConfig, clog2
from .counters import Steps, credits, steps


def _fill_tile(config: EngineConfig, tile, batch, outputs: Steps) -> list:
    """Assignments that say what a tile of `batch` is."""
    return [
        tile.vectors.eq(batch.layer.m if config.m_par > 1 else 1),
        tile.count.eq(Mux(outputs.last, outputs.rest, config.n_par)),
        tile.only.eq(
            (config.n_par == config.out_par) | (outputs.last & (outputs.rest <= config.out_par))
        ),
        tile.last.eq(outputs.last),
    ]


def _take_weight(m: Module, sequencer, go, begin) -> Signal:
    """Return whether a beat is taken: from the stream, or from memory, where a batch begins.

    `go` is a register: what makes a beat possible is known the cycle before.
    """
    config = sequencer.config
    if not config.resident:
        m.d.comb += sequencer.weight.ready.eq(go)
        return bind(m, go & sequencer.weight.valid, "beat")
    issue = bind(m, go, "beat")
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
        running, go = Signal(), Signal()
        current = Signal(layouts.batch(config), reset_less=True)
        tile = Signal(layouts.tile(config), reset_less=True)
        bank = Signal()
        word = Signal(range(max(2, config.words_max)))
        hold_free = Signal(init=1)

        asked = self.batch.payload.layer
        begin = bind(m, self.batch.valid & ~running, "begin")
        issue = _take_weight(m, self, go, begin)
        words = steps(
            m, asked.k, config.k_max, config.k_par, load=begin, advance=issue, again=True, name="k"
        )
        tile_done = bind(m, issue & words.last, "tile_done")
        tiles = steps(
            m, asked.n, config.n_max, config.n_par, load=begin, advance=tile_done, again=False,
            name="n",
        )
        batch_done = bind(m, tile_done & tiles.last, "batch_done")
        # Sums leave the array at the end of a tile, and of each group of words.
        sums_last, sums_follow = words.last, words.follows
        if config.scale_out == "groups":
            group_first = Signal()
            ends = self._groups(m, asked.s, begin, issue, words)
            sums_last = bind(m, words.last | ends.last, "sums_last")
            sums_follow = words.follows | ends.follows
        sums_done = bind(m, issue & sums_last, "sums_done")
        hold_follows = bind(m, ~sums_done & (hold_free | self.tile_freed), "hold_follows")
        runs = bind(m, begin | (running & ~batch_done), "runs")
        m.d.comb += [
            self.batch.ready.eq(~running),
            self.read_addr.eq(Cat(bank, word)),
            self.issue.eq(issue),
            self.last.eq(sums_last),
            self.tile.eq(tile),
            self.bank_freed.eq(batch_done),
        ]
        m.d.sync += [
            running.eq(runs),
            hold_free.eq(hold_follows),
            go.eq(runs & (~sums_follow | hold_follows)),
        ]
        with m.If(begin):
            m.d.sync += current.eq(self.batch.payload)
        with m.If(issue):
            m.d.sync += word.eq(word + 1)
        with m.If(sums_done):
            m.d.sync += _fill_tile(config, tile, current, tiles)
        with m.If(tile_done):
            m.d.sync += word.eq(0)
        with m.If(batch_done):
            m.d.sync += bank.eq(~bank)
        if config.scale_out == "groups":
            with m.If(begin):
                m.d.sync += group_first.eq(1)
            with m.If(sums_done):
                m.d.sync += [
                    group_first.eq(words.last),
                    tile.group_first.eq(group_first),
                    tile.group_last.eq(words.last),
                ]
        return m

    def _groups(self, m: Module, size, begin, issue, words: Steps) -> Steps:
        """Return which words are the last of their group: each group is `size` words."""
        restart = bind(m, begin | (issue & words.last), "groups_restart")
        held = Signal.like(size, name="group_size", reset_less=True)
        with m.If(begin):
            m.d.sync += held.eq(size)
        return steps(
            m, Mux(begin, size, held), (1 << len(size)) - 1, 1, load=restart, advance=issue,
            again=True, name="s",
        )


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
    table_last : In
        With `table_made`: the word is the last of its batch.
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
                "table_last": In(1),
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
        running, go = Signal(), Signal()
        current = Signal(layouts.batch(config), reset_less=True)
        first = Signal()

        asked = self.batch.payload.layer
        begin = bind(m, self.batch.valid & ~running, "begin")
        issue = _take_weight(m, self, go, begin)
        tiles = steps(
            m, asked.n, config.n_max, config.n_par, load=begin, advance=issue, again=True, name="n"
        )
        word_done = bind(m, issue & tiles.last, "word_done")
        _, tables_follow = credits(
            m, TABLE_BANKS, given=self.table_made, taken=word_done, name="tables", init=0
        )
        # Whether the word of each bank's tables is its batch's last one; known with the tables, so
        # also in the cycle before the word's first beat.
        word_last, lasts, made_bank = Signal(), Signal(TABLE_BANKS), Signal()
        next_bank = bind(m, self.bank ^ word_done, "next_bank")
        arrives = bind(m, self.table_made & (made_bank == next_bank), "arrives")
        last_follows = bind(
            m, Mux(arrives, self.table_last, Mux(next_bank, lasts[1], lasts[0])), "last_follows"
        )
        m.d.sync += [word_last.eq(last_follows), made_bank.eq(made_bank ^ self.table_made)]
        for i in range(TABLE_BANKS):
            with m.If(self.table_made & (made_bank == i)):
                m.d.sync += lasts[i].eq(self.table_last)
        batch_done = bind(m, word_done & word_last, "batch_done")
        runs = bind(m, begin | (running & ~batch_done), "runs")
        _, room_follows = credits(
            m, config.tile_slots, given=self.tile_freed, taken=self.tile_valid, name="free_tiles"
        )
        # Bit i: the word had more than i tiles before this one; cycles still to wait, in unary.
        before = Signal(PARTIAL_SUM_DISTANCE - 1)
        wait = Signal(PARTIAL_SUM_DISTANCE - 1)
        wait_follows = Signal.like(wait)
        m.d.comb += wait_follows.eq(wait[1:])
        with m.If(word_done):
            m.d.comb += wait_follows.eq(~Cat(reversed(before)))
        with m.If(begin):
            m.d.comb += wait_follows.eq(0)
        m.d.comb += [
            self.batch.ready.eq(~running),
            self.issue.eq(issue),
            self.first.eq(first),
            self.last.eq(word_last),
            self.table_freed.eq(word_done),
            self.tile_valid.eq(issue & word_last),
            *_fill_tile(config, self.tile, current, tiles),
        ]
        m.d.sync += [
            running.eq(runs),
            wait.eq(wait_follows),
            # All of it from registers: the weight port's ready is one, and so is every enable.
            go.eq(runs & tables_follow & ~wait_follows[0] & (~last_follows | room_follows)),
        ]
        with m.If(begin):
            m.d.sync += [current.eq(self.batch.payload), first.eq(1)]
        with m.If(issue):
            m.d.sync += [
                self.tile_index.eq(self.tile_index + 1),
                before.eq(Cat(Const(1, 1), before[:-1])),
            ]
        with m.If(word_done):
            m.d.sync += [
                self.tile_index.eq(0), before.eq(0), first.eq(0), self.bank.eq(~self.bank)
            ]  # fmt: skip
        return m
