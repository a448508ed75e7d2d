"""Drain: adds each finished sum to its vector's window and rounds once, to act_format."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import at_most, bind, up_down
from .config import MEMORY_LATENCY, SCALE_LATENCY, EngineConfig, clog2
from .memories import BlockMemory
from .rounding import ENDS_DELAY, PLACE_DELAY, round_sum
from .scale import GroupSums, scale_sum
from .tree import delay, register


class Windows(wiring.Component):
    """The windows of the vectors between reducer and drain, in block memory.

    Members
    -------
    window, window_valid : In
        Pulse: the window of the next vector.
    needed : In, enough : Out
        How many windows must be there and not freed, at least 1; whether they are.
    freed : In
        How many of the oldest are not needed from the next cycle on.
    vector : In
        Which of those there, 0 the oldest.
    base, place, ends : Out
        Parts of its window: MEMORY_LATENCY cycles later, and as late as `delays` says each.
    """

    def __init__(self, config: EngineConfig, delays: tuple[int, int, int]):
        self.config = config
        self._delays = delays
        window = layouts.window(config).members
        self._parts = [
            {name: window[name] for name in names}
            for names in (("base",), ("place", "sticky"), ("positive", "negative", "poison"))
        ]
        base, place, ends = (layouts.data.StructLayout(part) for part in self._parts)
        super().__init__(
            {
                "window": In(layouts.window(config)),
                "window_valid": In(1),
                "needed": In(clog2(config.m_par + 1)),
                "enough": Out(1),
                "freed": In(clog2(config.m_par + 1)),
                "vector": In(max(1, clog2(config.m_par))),
                "base": Out(base),
                "place": Out(place),
                "ends": Out(ends),
            }
        )

    def elaborate(self, platform):
        """Build a memory per part, all with the same pointers."""
        m = Module()
        slots = self.config.vector_slots
        write_slot, oldest = Signal(range(slots)), Signal(range(slots))
        ready = Signal(range(slots + 1))
        m.d.sync += [
            write_slot.eq(write_slot + self.window_valid),
            oldest.eq(oldest + self.freed),
            ready.eq(
                up_down(ready, self.window_valid, self.freed) if self.config.m_par == 1
                else ready + self.window_valid - self.freed
            ),
        ]
        if self.config.m_par > 1:
            m.d.comb += self.enough.eq(ready >= self.needed)
        else:
            m.d.sync += self.enough.eq(
                self.window_valid | ready[1:].any() | ((ready == 1) & ~self.freed)
            )
        slot = bind(m, (oldest + self.vector)[: len(oldest)], "slot")
        before = 0
        for part, cycles, target in zip(
            self._parts, self._delays, (self.base, self.place, self.ends), strict=True
        ):
            slot = delay(m, slot, cycles - before, f"slot_{before}", in_lut=False)
            before = cycles
            storage = BlockMemory(len(target.as_value()), slots, block=True)
            m.submodules["_".join(part)] = storage
            m.d.comb += [
                storage.write_addr.eq(write_slot),
                storage.write_data.eq(Cat(self.window[name] for name in part)),
                storage.write_en.eq(self.window_valid),
                storage.read_addr.eq(slot),
                target.eq(storage.read_data),
            ]
        return m


class Drain(wiring.Component):
    """Takes tiles of sums and emits them, out_par a cycle, as floats.

    The conversion pipeline never stops: a chunk enters it only when the result queue has room.

    Members
    -------
    tile, tile_valid : In
        What is known of a finished tile: the sums of n_par outputs for m_par vectors.
    part : Out, part_sums : In
        The chunk that enters the pipeline; its sums, select_stages cycles later.
    tile_taken : Out
        Pulse: its last chunk entered the pipeline.
    window, window_valid : In
        Pulse: the reduced shift sum of a vector, in the order of vectors.
    slots_freed : Out
        Vectors that need their windows no more.
    pending : Out
        Results of chunks that entered have not been taken.
    scale : In stream, only with scales on the output axis
        The scales of each chunk that enters.
    result : Out stream
        Rounded outputs in order, result_latency cycles after they entered.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.parts = config.n_par // config.out_par * config.m_par
        super().__init__(
            {
                "tile": In(layouts.tile(config)),
                "tile_valid": In(1),
                "tile_taken": Out(1),
                "part": Out(max(1, clog2(self.parts))),
                "part_sums": In(config.acc_bits * config.out_par),
                "window": In(layouts.window(config)),
                "window_valid": In(1),
                "slots_freed": Out(clog2(config.m_par + 1)),
                "pending": Out(1),
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
        stages = config.select_stages + SCALE_LATENCY * config.scales  # from chunk to sums
        waits = stages - MEMORY_LATENCY
        m.submodules.windows = windows = Windows(
            config, (waits, waits + PLACE_DELAY, waits + ENDS_DELAY)
        )
        m.d.comb += [
            windows.window.eq(self.window),
            windows.window_valid.eq(self.window_valid),
        ]

        # ---- which chunk enters ----------------------------------------------------------
        vector = Signal(range(max(2, config.m_par)))
        # Outputs of the vector that will have entered with the next chunk but one.
        ahead = Signal(range(config.n_par + 2 * config.out_par), init=2 * config.out_par)
        chunk = Signal.like(self.part)
        base = Signal.like(chunk)  # first chunk of the vector
        room = Signal(range(depth + 1), init=depth)
        # What a chunk waits for is known a cycle before: no counter is compared here.
        has_room = Signal(init=1)
        pop = self.tile_valid & has_room & windows.enough
        if config.scales:
            m.d.comb += self.scale.ready.eq(pop)
            pop &= self.scale.valid
        pop = bind(m, pop, "pop")
        # A chunk that is not the last of its groups gives no result.
        emits = pop
        if config.scale_out == "groups":
            emits = bind(m, pop & self.tile.group_last, "emits")
        first, last_follows = Signal(init=1), Signal()
        chunk_last = bind(m, Mux(first, self.tile.only, last_follows), "chunk_last")
        vector_last = bind(m, vector + 1 == self.tile.vectors, "vector_last")
        command_last = self.tile.last
        if config.scale_out == "groups":
            command_last &= self.tile.group_last
        m.d.comb += [
            self.part.eq(chunk),
            self.pending.eq(room != depth),
            self.tile_taken.eq(pop & chunk_last & vector_last),
            self.slots_freed.eq(Mux(self.tile_taken & command_last, self.tile.vectors, 0)),
            windows.freed.eq(self.slots_freed),
            windows.vector.eq(vector),
            windows.needed.eq(self.tile.vectors),
        ]
        with m.If(pop):
            m.d.sync += [
                ahead.eq(ahead + config.out_par),
                chunk.eq(chunk + 1),
                first.eq(chunk_last),
                last_follows.eq(ahead >= self.tile.count),
            ]
            with m.If(chunk_last):
                m.d.sync += [
                    ahead.eq(2 * config.out_par),
                    vector.eq(vector + 1),
                    base.eq(base + chunks),
                    chunk.eq(base + chunks),
                ]
                with m.If(vector_last):
                    m.d.sync += [vector.eq(0), base.eq(0), chunk.eq(0)]

        # ---- tags: which results exist, vector end, whose --------------------------------
        entry = Signal(layouts.results(config))
        latency = config.result_latency - 1
        # A chunk has at least its first lane.
        keep_before = keep = Const(1, 1)
        if config.out_par > 1:
            more = Cat(
                ahead + lane < self.tile.count + 2 * config.out_par
                for lane in range(1, config.out_par)
            )
            more = delay(m, more, latency - 1, "keep")
            keep_before = Cat(keep, more)
            keep = Cat(keep, delay(m, more, 1, "keep_last"))
        m.d.comb += [
            entry.keep.eq(keep),
            entry.last.eq(delay(m, self.tile.last & chunk_last, latency, "last")),
        ]
        if config.m_par > 1:
            m.d.comb += entry.vector.eq(delay(m, vector, latency, "vector"))

        # ---- the chunk's sums, rounded ----------------------------------------------------
        sums = [
            self.part_sums.word_select(lane, config.acc_bits).as_signed()
            for lane in range(config.out_par)
        ]
        bad: list[Value] = []
        if config.scales:
            sums, bad = self._scale(m, sums, pop, chunk, latency - 1)
        # The last bit of the ends' delay: as late as the rounded pattern.
        poison = delay(m, windows.ends.poison, latency - 1 - stages - ENDS_DELAY, "poison")
        for lane, value in enumerate(sums):
            pattern, negative = round_sum(
                m, config, value, windows.base.base, windows.place.place, windows.place.sticky,
                windows.ends, f"lane_{lane}",
            )
            form = config.float
            finite = Mux(at_most(pattern, form.infinity - 1), pattern, form.infinity)[:15]
            wrong = poison | bad[lane] if bad else poison
            rounded = bind(
                m, Mux(wrong, form.nan, Cat(finite, negative)), f"rounded_{lane}"
            )
            # Lanes past the last output carry zeros, so that the payload is defined.
            m.d.comb += entry.data[lane].eq(
                register(m, Mux(keep_before[lane], rounded, 0), f"data_{lane}")
            )

        # ---- result queue ------------------------------------------------------------------
        m.submodules.queue = queue = fifo.SyncFIFO(
            width=layouts.results(config).size, depth=1 << clog2(depth)
        )
        taken = bind(m, self.result.valid & self.result.ready, "taken")
        m.d.sync += [
            room.eq(up_down(room, taken, emits)),
            has_room.eq(taken | room[1:].any() | ((room == 1) & ~emits)),
        ]
        m.d.comb += [
            queue.w_data.eq(entry),
            queue.w_en.eq(delay(m, emits, latency, "valid", reset_less=False)),
            self.result.payload.eq(queue.r_data),
            self.result.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.result.ready),
        ]
        return m

    def _scale(
        self, m: Module, values: list[Value], pop: Value, chunk: Value, latency: int
    ) -> tuple[list[Value], list[Value]]:
        """Scale the chunk's sums and add them over the groups, SCALE_LATENCY cycles later.

        Also return, `latency` cycles after the chunk entered, whether a scale was not finite.
        """
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
        totals, bad = [], []
        for lane, accumulator in enumerate(values):
            scale = delay(m, self.scale.payload[lane], stages, f"scale_{lane}")
            term, special = scale_sum(m, accumulator, scale, config.scaled_bits, f"term_{lane}")
            m.d.comb += [sums.terms[lane].eq(term), sums.specials[lane].eq(special)]
            totals.append(sums.totals[lane])
            bad.append(
                delay(m, sums.bad[lane], latency - stages - SCALE_LATENCY, f"bad_{lane}")
            )
        return totals, bad
