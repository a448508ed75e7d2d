"""Loader: says which chunks of activations enter the front end, and what vectors they belong to."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import at_most, bind, equals
from .config import BIN_BANKS, VECTORS_AHEAD, EngineConfig, clog2
from .counters import count_down, credits


class Loader(wiring.Component):
    """Takes commands and chunks in step while everything behind has room for them.

    The vectors of a command come one after the other; each is a vector of its own.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    command : In stream
    act_valid, coef_valid : In, act_ready, coef_ready : Out
        The handshakes of the two streams of chunks.
    accept, first, last, present : Out
        A chunk is taken; it is the first, the last of its vector; which of its lanes exist.
    chunk_freed, vector_taken, window_valid : In
        Pulses: the product buffer has room for one more chunk; the quantizer took the oldest
        vector; a bank of bins is free again.
    slots_freed : In
        Vectors whose windows are not needed any more from the next cycle on; vector_slots may
        be between command and here.
    layer, layer_valid : Out
        Pulse: a vector begins, and what its command asks for; the cycle after it was taken.
    inside : Out
        Vectors need their windows still.
    error : Out
        Sticky: a command was dropped: K, N or M out of range, groups of no words, or weights from
        beyond the memory.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "command": In(stream.Signature(layouts.command(config))),
                "act_valid": In(1),
                "act_ready": Out(1),
                "coef_valid": In(1),
                "coef_ready": Out(1),
                "accept": Out(1),
                "first": Out(1),
                "last": Out(1),
                "present": Out(config.act_par),
                "chunk_freed": In(1),
                "vector_taken": In(1),
                "window_valid": In(1),
                "slots_freed": In(clog2(config.m_par + 1)),
                "layer": Out(layouts.command(config)),
                "layer_valid": Out(1),
                "inside": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the counter of inputs, the check of a command, and what both wait for."""
        m = Module()
        config = self.config
        loading = Signal()
        first = Signal()
        last = Signal(reset_less=True)  # of the vector's chunks: at most act_par inputs are left
        asked = Signal(layouts.command(config), reset_less=True)  # of the vectors still to come
        more = Signal(range(max(2, config.m_par)))  # how many
        rest = Signal.like(asked.k)  # inputs of the vector still to come
        accept, begun = self.accept, Signal()
        has_chunk, _ = credits(
            m, config.chunks_max, given=self.chunk_freed, taken=accept, name="free_chunks"
        )
        # A vector begins in the cycle after it was asked for: nothing asks for the next one before.
        has_vector, _ = credits(
            m, VECTORS_AHEAD, given=self.vector_taken, taken=begun, name="free_vectors"
        )
        has_bank, _ = credits(
            m, BIN_BANKS, given=self.window_valid, taken=begun, name="free_banks"
        )
        free_slots = Signal(range(config.vector_slots + 1))
        has_slot, _ = credits(
            m, config.vector_slots, given=self.slots_freed, taken=begun, name="free_slots",
            count=free_slots,
        )

        # Whether a command is in range is known in the cycle after it was taken.
        known_legal = Signal(reset_less=True)
        dropped = bind(m, loading & ~known_legal, "dropped")
        may_load = bind(m, loading & known_legal & has_chunk, "may_load")
        m.d.comb += accept.eq(may_load & self.act_valid & self.coef_valid)
        given = self.command.payload
        in_range = [
            (given.k != 0) & at_most(given.k, config.k_max),
            (given.n != 0) & at_most(given.n, config.n_max),
        ]
        if config.scale_out == "groups":
            in_range.append(given.s != 0)
        if config.resident:
            in_range.append(given.w < config.weight_words)
        if config.m_par > 1:
            in_range.append((given.m != 0) & (given.m <= config.m_par))
        legal = bind(m, Cat(*in_range).all(), "legal")
        idle = bind(m, ~loading & has_vector & has_bank & has_slot, "idle")
        # With one vector a command none is to come.
        continued = bind(m, idle & (more != 0) if config.m_par > 1 else Const(0, 1), "continued")
        asks = bind(m, idle & equals(more, 0) if config.m_par > 1 else idle, "asks")
        commanded = bind(m, asks & self.command.valid, "commanded")
        begins = bind(m, continued | commanded, "begins")
        begins_before, told = Signal(), Signal()
        m.d.comb += [
            self.first.eq(first),
            self.last.eq(last),
            self.act_ready.eq(may_load & self.coef_valid),
            self.coef_ready.eq(may_load & self.act_valid),
            self.command.ready.eq(asks),
            begun.eq(begins_before & known_legal),
            self.layer.eq(asked),
            self.layer_valid.eq(begun),
            self.inside.eq(~free_slots[-1]),  # their number is a power of two
            self.error.eq(told | dropped),
        ]
        m.d.sync += [begins_before.eq(begins), told.eq(self.error)]
        with m.If(~loading):
            m.d.sync += known_legal.eq(legal | (more != 0) if config.m_par > 1 else legal)
        with m.If(begins):
            m.d.sync += [first.eq(1), loading.eq(1)]
        with m.If(commanded):
            m.d.sync += asked.eq(given)
            if config.m_par > 1:
                m.d.sync += more.eq(given.m - 1)
        with m.If(continued):
            m.d.sync += more.eq(more - 1)
        with m.If(dropped):
            m.d.sync += [loading.eq(0), more.eq(0)]
        with m.If(accept):
            m.d.sync += [first.eq(0), loading.eq(~last)]
        # Between vectors they follow what the next one will ask for, whether it begins or not.
        inputs = Mux(more != 0, asked.k, given.k) if config.m_par > 1 else given.k
        ends_now = Mux(accept, at_most(rest, 2 * config.act_par), last)
        m.d.sync += [
            rest.eq(
                count_down(
                    m, rest, config.act_par, counting=loading, advance=accept, start=inputs,
                    name="next_rest",
                )
            ),
            last.eq(Mux(loading, ends_now, at_most(inputs, config.act_par))),
        ]
        # A chunk has at least its first lane.
        few = rest[: clog2(config.act_par + 1)]
        m.d.comb += self.present.eq(
            Cat(Const(1, 1), *(~(last & at_most(few, i)) for i in range(1, config.act_par)))
        )
        return m
