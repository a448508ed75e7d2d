"""Reducer: puts the bins of a vector together and keeps what matters beside the vector's sums.

The exact sum B of shift*x has 95 bits and more; a result needs few of them. With the block
exponent E known, and with sums below 2**window_bound in units of 2**E, B is read once per vector,
lowest bit first, one bit a cycle, and what is kept is a window (layouts.window) to which the drain
adds each sum at a fixed position. tests/hw/window_model.py is the same in Python integers;
docs/design/0007-reduced-shift-sum.md says why the window suffices.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, equals
from .blocks import TOTAL_BITS, Plus, Total
from .config import SHIFT_BIAS, SMALLEST_STEP, EngineConfig, clog2


class Reducer(wiring.Component):
    """One vector at a time, reduce_cycles each, from the cycle in which it is taken.

    What a register starts a vector with is assigned last: a reset of the register, no logic.

    Members
    -------
    summary, summary_valid : In
        Pulse: the next vector's products are all in the bins. Whoever sends it sees to it that at
        most one vector waits.
    read_bin, read_lane, read_bank, read_en : Out, read_data : In
        A bin of :class:`hw.bins.Bins`, and the sum that it holds, a cycle later.
    window, window_valid : Out
        Pulse: the window of the oldest vector.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "summary": In(layouts.summary(config)),
                "summary_valid": In(1),
                "read_bin": Out(clog2(config.bins)),
                "read_lane": Out(max(1, clog2(config.act_par))),
                "read_bank": Out(1),
                "read_en": Out(1),
                "read_data": In(signed(config.bin_bits)),
                "window": Out(layouts.window(config)),
                "window_valid": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the bit-serial reader, then what it keeps."""
        m = Module()
        config = self.config
        p = config.float.significand
        first_place = -config.sum_lsb_bits - p
        least = SMALLEST_STEP + p - 1  # leading place of the smallest normal number

        # ---- vectors -----------------------------------------------------------------------
        waiting = Signal()
        asked = Signal(layouts.summary(config), reset_less=True)
        poison = Signal(reset_less=True)
        running, closing = Signal(), Signal()
        begin = bind(m, waiting & ~running, "begin")
        with m.If(begin):
            m.d.sync += [waiting.eq(0), poison.eq(asked.poison), running.eq(1)]
        with m.If(self.summary_valid):
            m.d.sync += [waiting.eq(1), asked.eq(self.summary)]

        # ---- bits of the sum, lowest first ---------------------------------------------------
        carry_bits = (
            config.product_significand + (1 << config.bin_digit) + clog2(config.k_max) + 2
        )
        carry = Signal(signed(carry_bits))
        adding = Signal()
        lane = Signal(range(config.act_par + 1))
        number = Signal(range(config.bins + 1))  # bins that have been added
        digits = max(1 << config.bin_digit, -first_place)
        digit = Signal(range(digits + 1), reset_less=True)  # bits before the next
        shift = bind(m, running & ~adding & ~closing, "shift")
        added = bind(m, lane == config.act_par, "added")
        m.d.comb += [
            self.read_bin.eq(number),
            self.read_lane.eq(lane),
            self.read_en.eq(adding & ~added),
        ]
        halved = carry[1:].as_signed()
        if config.in_blocks and carry_bits <= TOTAL_BITS:
            m.submodules.carry_total = total = Total(config.bin_bits, carry_bits - 1, carry_bits)
            assert (Plus.C, Plus.SUM) == (2, 3)  # the one or the other by the lowest bit
            m.d.comb += [
                carry.eq(total.y), total.a.eq(self.read_data), total.c.eq(halved),
                total.plus.eq(Cat(adding, Const(1, 1))), total.clear.eq(begin),
            ]  # fmt: skip
        else:
            # With the choice second it fits the adder's look-up table.
            m.d.sync += carry.eq(self.read_data + Mux(adding, carry, halved))
            with m.If(begin):
                m.d.sync += carry.eq(0)
        with m.If(shift):
            m.d.sync += digit.eq(digit - 1)
            with m.If((digit == 1) & (number != config.bins)):
                m.d.sync += adding.eq(1)
        with m.If(adding):
            m.d.sync += lane.eq(lane + 1)
            with m.If(added):
                m.d.sync += [
                    lane.eq(0), adding.eq(0), number.eq(number + 1),
                    digit.eq(1 << config.bin_digit),
                ]  # fmt: skip
        with m.If(begin):
            m.d.sync += [digit.eq(-first_place - SHIFT_BIAS), number.eq(0), lane.eq(0)]
        bit = carry[0]

        # ---- where the bit is: above the smallest normal number's lead, below the sums' unit -----
        place = Signal(signed(config.place_bits + 1), reset_less=True)
        # From the complement of the exponent up: p - 1 at the place of the sums' unit.
        above_bits = (config.reduce_end + config.product_bits).bit_length() + 1
        above = Signal(signed(above_bits), reset_less=True)
        offset_place = Signal.like(place)
        with m.If(shift):
            m.d.sync += [
                place.eq(place + 1), above.eq(above + 1), offset_place.eq(offset_place + 1)
            ]  # fmt: skip
        with m.If(begin):
            m.d.sync += [
                place.eq(first_place - least),
                offset_place.eq(first_place - least - config.place_offset),
                above.eq((~Cat(asked.exponent, Const(0, 1))).as_signed()),
            ]

        def at(offset: int) -> Value:
            """Whether the bit is `offset` places above the sums' unit."""
            return above == offset + p - 1

        unit = bind(m, at(0), "unit")
        inside = Signal(init=1)  # below the sums' unit
        lowest = Signal()  # at the window's lowest bit or above
        highest = Signal()  # above the window's low part
        with m.If(shift & at(-1)):
            m.d.sync += inside.eq(0)
        with m.If(shift & at(-p - 1)):
            m.d.sync += lowest.eq(1)
        with m.If(shift & at(config.window_bound + 1)):
            m.d.sync += highest.eq(1)
        with m.If(begin):
            m.d.sync += [inside.eq(1), lowest.eq(equals(asked.exponent, 0)), highest.eq(0)]
        end = bind(m, shift & (place == config.reduce_end - 1 - least), "end")
        m.d.sync += closing.eq(end | (closing & ~self.window_valid))
        m.d.sync += self.window_valid.eq(closing & ~self.window_valid)
        with m.If(self.window_valid):
            m.d.sync += [running.eq(0), self.read_bank.eq(~self.read_bank)]

        # ---- what is left where sum and window cancel -----------------------------------------
        seen = Signal()
        with m.If(shift & inside & bit):
            m.d.sync += seen.eq(1)
        with m.If(begin):
            m.d.sync += seen.eq(0)
        plain = bind(m, bit & inside, "plain")
        negated = bind(m, ((bit ^ seen) & inside) | (unit & ~seen), "negated")
        for name, stream in (("positive", plain), ("negative", negated)):
            self._leading(m, self.window[name], stream, begin, shift, place, name)

        # ---- the window: low part in place, top part from where the number ends ------------------
        low = Signal(config.window_low_bits, reset_less=True)
        sticky = Signal()
        top = Signal(p + 2, reset_less=True)
        held_top = Signal(p + 2, reset_less=True)
        held_place = Signal.like(offset_place, reset_less=True)
        before = Signal(reset_less=True)
        reached = Signal()  # the place from which on the number may end
        zeros, ones = Signal(reset_less=True), Signal(reset_less=True)  # seen between the parts
        mixed = Signal(reset_less=True)
        start = bind(m, at(config.window_bound + p + 4), "start")
        ones_here = bind(m, Mux(start, low[-1], ones), "ones_here")
        zeros_here = bind(m, Mux(start, ~low[-1], zeros), "zeros_here")
        with m.If(shift):
            m.d.sync += [
                top.eq(Cat(top[1:], bit)),
                before.eq(bit),
                reached.eq(reached | start),
                ones.eq(ones_here | top[0]),
                zeros.eq(zeros_here | ~top[0]),
            ]
            with m.If(~lowest):
                m.d.sync += sticky.eq(sticky | bit)
            with m.Elif(~highest):
                m.d.sync += low.eq(Cat(low[1:], bit))
            with m.If(start | (reached & (bit != before))):
                m.d.sync += [
                    held_top.eq(top), held_place.eq(offset_place),
                    mixed.eq(ones_here & zeros_here),
                ]  # fmt: skip
        with m.If(begin):
            m.d.sync += [sticky.eq(0), reached.eq(0)]
        # Far from every multiple of what rounding cuts at: any sum leaves it there.
        with m.If(closing & mixed):
            m.d.sync += low.eq(1 << (config.window_low_bits - 1))
        m.d.comb += [
            self.window.base.eq(Cat(low, held_top, before)),
            self.window.sticky.eq(sticky),
            self.window.place.eq(held_place),
            self.window.poison.eq(poison),
        ]
        return m

    def _leading(
        self, m: Module, target, bit: Value, begin: Value, shift: Value, place: Value, name: str
    ) -> None:
        """Keep the leading bits of a number whose bits come lowest first."""
        recent = Signal(len(target.kept), name=f"{name}_recent")
        lost = Signal(name=f"{name}_lost")
        held = Signal(target.shape(), name=f"{name}_held", reset_less=True)
        following = bind(m, Cat(recent[1:], bit), f"{name}_following")
        lost_here = bind(m, lost | recent[0], f"{name}_lost_here")
        with m.If(shift):
            m.d.sync += [recent.eq(following), lost.eq(lost_here)]
            with m.If(~place[-1] & (bit | equals(place, 0))):
                m.d.sync += [
                    held.kept.eq(following), held.sticky.eq(lost_here), held.drop.eq(place)
                ]  # fmt: skip
        with m.If(begin):
            m.d.sync += [recent.eq(0), lost.eq(0)]
        m.d.comb += target.eq(held)
