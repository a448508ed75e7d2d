"""Drain: adds shift*x to each finished sum and rounds once, to float16."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, leading_one, select, shift_left, shift_right_sticky
from .config import SCALE_LATENCY, SCALE_LSB_BITS, SELECT_BITS, EngineConfig, clog2
from .scale import GroupSums, scale_sum
from .tree import delay, register

_INFINITY = 0x7C00
_CANONICAL_NAN = 0x7E00
# In units of 2**-48: the smallest float16 step, 2**-24, is bit 24; a float16 has 11 bits.
_SMALLEST_STEP = 24
_FRACTION_BITS = 10
_BLOCK = 8  # bits that the search for the leading one looks at together


class TileHold(wiring.Component):
    """The sums of one finished tile, until the drain is done with them."""

    def __init__(self, sum_bits: int):
        super().__init__(
            {
                "sums": In(sum_bits),
                "sums_valid": In(1),
                "tile_sums": Out(sum_bits),
                "tile_valid": Out(1),
                "tile_taken": In(1),
            }
        )

    def elaborate(self, platform):
        """Build a register with a valid bit."""
        m = Module()
        held = Signal(len(self.sums), reset_less=True)
        m.d.comb += self.tile_sums.eq(held)
        with m.If(self.tile_taken):
            m.d.sync += self.tile_valid.eq(0)
        with m.If(self.sums_valid):
            m.d.sync += [held.eq(self.sums), self.tile_valid.eq(1)]
        return m


class Drain(wiring.Component):
    """Takes tiles of sums and emits them, out_par a cycle, as float16.

    The conversion pipeline never stops: a chunk enters it only when the result queue has room.

    Members
    -------
    sums, tile, tile_valid : In
        A finished tile: the sums of n_par outputs for m_par vectors, what is known of them.
    tile_taken : Out
        Pulse: its last chunk entered the pipeline.
    scale : In stream, only with scales on the output axis
        The scales of each chunk that enters.
    result : Out stream
        Rounded outputs in order, result_latency cycles after they entered.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "sums": In(config.acc_bits * config.n_par * config.m_par),
                "tile": In(layouts.tile(config)),
                "tile_valid": In(1),
                "tile_taken": Out(1),
                "result": Out(stream.Signature(layouts.results(config))),
            }
            | ({"scale": In(stream.Signature(layouts.scales(config)))} if config.scales else {})
        )

    def elaborate(self, platform):
        """Build the chunk counter, the conversion pipeline and the result queue."""
        m = Module()
        config = self.config
        chunks = config.n_par // config.out_par
        depth = config.result_queue_depth

        # ---- which chunk enters ----------------------------------------------------------
        vector = Signal(range(max(2, config.m_par)))
        popped = Signal.like(self.tile.count)  # outputs of the vector that have entered
        chunk = Signal(range(max(2, chunks * config.m_par)))
        base = Signal.like(chunk)  # first chunk of the vector
        room = Signal(range(depth + 1), init=depth)
        pop = self.tile_valid & (room != 0)
        if config.scales:
            m.d.comb += self.scale.ready.eq(pop)
            pop &= self.scale.valid
        pop = bind(m, pop, "pop")
        # A chunk that is not the last of its groups gives no result.
        emits = pop
        if config.scale_out == "groups":
            emits = bind(m, pop & self.tile.group_last, "emits")
        chunk_last = bind(m, popped + config.out_par >= self.tile.count, "chunk_last")
        vector_last = bind(m, vector + 1 == self.tile.vectors, "vector_last")
        m.d.comb += self.tile_taken.eq(pop & chunk_last & vector_last)
        with m.If(pop):
            m.d.sync += [popped.eq(popped + config.out_par), chunk.eq(chunk + 1)]
            with m.If(chunk_last):
                m.d.sync += [
                    popped.eq(0),
                    vector.eq(vector + 1),
                    base.eq(base + chunks),
                    chunk.eq(base + chunks),
                ]
                with m.If(vector_last):
                    m.d.sync += [vector.eq(0), base.eq(0), chunk.eq(0)]
        summary = Signal(layouts.summary(config))
        m.d.comb += summary.eq(
            select(
                m,
                [self.tile.summaries[i].as_value() for i in range(config.m_par)],
                vector,
                "summary_of",
            )
        )

        # ---- tags: which results exist, vector end, poison, whose ------------------------
        entry = Signal(layouts.results(config))
        latency = config.result_latency - 1
        keep = Cat(popped + lane < self.tile.count for lane in range(config.out_par))
        poison = delay(m, summary.poison, latency - 1, "poison")
        keep_before = delay(m, keep, latency - 1, "keep")
        m.d.comb += [
            entry.keep.eq(delay(m, keep_before, 1, "keep_last")),
            entry.last.eq(delay(m, self.tile.last & chunk_last, latency, "last")),
        ]
        if config.m_par > 1:
            m.d.comb += entry.vector.eq(delay(m, vector, latency, "vector"))

        # ---- the chunk's sums --------------------------------------------------------------
        options = [
            self.sums.word_select(i, config.acc_bits * config.out_par)
            for i in range(chunks * config.m_par)
        ]
        index: Value = chunk
        for stage in range(config.select_stages):
            here = index[:SELECT_BITS]
            options = [
                register(
                    m,
                    select(m, options[i : i + (1 << SELECT_BITS)], here, f"select_{stage}_{i}"),
                    f"selected_{stage}_{i}",
                )
                for i in range(0, len(options), 1 << SELECT_BITS)
            ]
            if len(index) > SELECT_BITS:
                index = delay(m, index[SELECT_BITS:], 1, f"index_{stage}")
        (chosen,) = options
        values = [
            (chosen.word_select(lane, config.acc_bits).as_signed(), poison)
            for lane in range(config.out_par)
        ]
        before = config.select_stages
        if config.scales:
            values = self._scale(m, values, pop, chunk)
            before += SCALE_LATENCY
        exponent = delay(m, summary.exponent, before, "exponent")
        shift_sum = delay(m, summary.shift_sum, before + 2, "shift_sum")
        lsb_bits = SCALE_LSB_BITS * config.scales

        for lane, (accumulator, bad) in enumerate(values):
            value = self._convert(m, lane, accumulator, exponent, shift_sum, bad, lsb_bits)
            # Lanes past the last output carry zeros, so that the payload is defined.
            m.d.comb += entry.data[lane].eq(
                register(m, Mux(keep_before[lane], value, 0), f"data_{lane}")
            )

        # ---- result queue ------------------------------------------------------------------
        m.submodules.queue = queue = fifo.SyncFIFO(
            width=layouts.results(config).size, depth=depth
        )
        taken = bind(m, self.result.valid & self.result.ready, "taken")
        m.d.sync += room.eq(room - emits + taken)
        m.d.comb += [
            queue.w_data.eq(entry),
            queue.w_en.eq(delay(m, emits, latency, "valid", reset_less=False)),
            self.result.payload.eq(queue.r_data),
            self.result.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.result.ready),
        ]
        return m

    def _scale(
        self, m: Module, values: list[tuple[Value, Value]], pop: Value, chunk: Value
    ) -> list[tuple[Value, Value]]:
        """Scale the chunk's sums and add them over the groups, SCALE_LATENCY cycles later."""
        config = self.config
        stages = config.select_stages
        m.submodules.group_sums = sums = GroupSums(config)
        arrive = stages + SCALE_LATENCY - 1
        m.d.comb += [
            sums.valid.eq(delay(m, pop, arrive, "scaled_valid", reset_less=False)),
            sums.chunk.eq(delay(m, chunk, arrive, "scaled_chunk")),
        ]
        if config.scale_out == "groups":
            m.d.comb += sums.first.eq(
                delay(m, self.tile.group_first, arrive, "scaled_first")
            )
        else:
            m.d.comb += sums.first.eq(1)
        result = []
        for lane, (accumulator, poison) in enumerate(values):
            scale = delay(m, self.scale.payload[lane], stages, f"scale_{lane}")
            term, special = scale_sum(m, accumulator, scale, config.scaled_bits, f"term_{lane}")
            m.d.comb += [sums.terms[lane].eq(term), sums.specials[lane].eq(special)]
            bad = delay(
                m, sums.bad[lane], config.result_latency - 1 - stages - SCALE_LATENCY - 1,
                f"bad_{lane}",
            )
            result.append((sums.totals[lane], poison | bad))
        return result

    def _convert(
        self, m: Module, lane: int, accumulator: Value, exponent: Value, shift_sum: Value,
        poison: Value, lsb_bits: int,
    ) -> Value:
        """Return the float16 pattern of a sum, CONVERT_LATENCY - 2 cycles later.

        The sum is in units of ``2**(-48 - lsb_bits)`` times 2**exponent, shift_sum of 2**-48.
        """
        config = self.config
        wide = config.wide_bits
        # ---- two steps: bring the sum to units of 2**(-48 - lsb_bits) -----------------------
        near_bits = len(accumulator) + 15
        near = register(
            m, shift_left(m, accumulator, exponent[:4], near_bits, f"near_{lane}"),
            f"aligned_near_{lane}",
        )
        far = delay(m, exponent[4:], 1, f"far_exponent_{lane}")
        aligned = register(
            m, shift_left(m, near, Cat(Const(0, 4), far), wide, f"far_{lane}"),
            f"aligned_{lane}",
        )
        # ---- the one exact sum; sign and magnitude -------------------------------------------
        shifted = Cat(Const(0, lsb_bits), shift_sum).as_signed()
        total = register(m, (aligned + shifted)[:wide].as_signed(), f"total_{lane}")
        minus = bind(m, total[-1], f"minus_{lane}")
        magnitude = register(
            m, ((total ^ minus.replicate(wide)) + minus)[: wide - 1], f"magnitude_{lane}"
        )
        negative = delay(m, minus, 7, f"negative_{lane}")
        # ---- three steps: where the leading one lies, so how many bits are dropped -----------
        blocks = [magnitude[i : i + _BLOCK] for i in range(0, wide - 1, _BLOCK)]
        some = register(m, Cat(block.any() for block in blocks), f"some_{lane}")
        here = delay(m, magnitude, 1, f"magnitude_{lane}_here")
        which = leading_one(m, some, f"which_{lane}")
        parts = [here[i : i + _BLOCK] for i in range(0, wide - 1, _BLOCK)]
        block = register(m, select(m, parts, which, f"block_{lane}"), f"block_{lane}_r")
        which = register(m, which, f"which_{lane}_r")
        top = bind(m, Cat(leading_one(m, block, f"bit_{lane}"), which), f"top_{lane}")
        smallest_step = _SMALLEST_STEP + lsb_bits
        least_top = smallest_step + _FRACTION_BITS
        most = wide - 1 - least_top
        drop = register(
            m, Mux(top > least_top, top - least_top, 0)[: clog2(most)], f"drop_{lane}"
        )
        # ---- two steps: shift, keeping a rounding bit and what was lost ------------------------
        below = smallest_step - 1
        normal = delay(m, here, 2, f"normal_{lane}")
        far_value, lost = shift_right_sticky(
            m, normal[below:], Cat(Const(0, 4), drop[4:]), f"drop_far_{lane}",
            lost=normal[:below].any(),
        )
        far_value = register(m, far_value, f"drop_far_{lane}_r")
        lost = register(m, lost, f"drop_far_{lane}_l")
        value, lost = shift_right_sticky(
            m, far_value, delay(m, drop[:4], 1, f"drop_near_{lane}"), f"drop_{lane}", lost=lost
        )
        kept = register(m, value[: _FRACTION_BITS + 2], f"kept_{lane}")
        sticky = register(m, lost, f"sticky_{lane}")
        biased = delay(m, drop, 2, f"biased_{lane}")
        # ---- round to nearest even; a carry walks into the exponent --------------------------
        up = bind(m, kept[0] & (sticky | kept[1]), f"up_{lane}")
        pattern = register(
            m, (biased << _FRACTION_BITS) + kept[1:] + up, f"pattern_{lane}"
        )
        finite = Mux(pattern >= _INFINITY, _INFINITY, pattern)[:15]
        return bind(
            m, Mux(poison, _CANONICAL_NAN, Cat(finite, negative)), f"output_{lane}"
        )
