"""Exact sums of shift*x in bins by exponent (after Malcolm 1971), for one vector after another.

A product has about twenty bits and one of dozens or hundreds of exponents. Instead of aligning it
to an accumulator of all places, it is shifted by the low bits of its exponent only and added to
the bin that the high bits choose. What the bins hold is put together once per vector
(hw.reducer). docs/design/0004-bfloat16.md.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, equals, select, shift_left, tree
from .blocks import TOTAL_BITS, Total
from .config import BIN_BANKS, SIGNIFICAND_SHIFT_BITS, EngineConfig, clog2
from .tree import delay, register

_SHARED = 16  # bits of a bin that share a register that says whether it counts


class Bins(wiring.Component):
    """Per lane a small memory of bins, in BIN_BANKS banks: a vector uses one, the next the other.

    A chunk stands in its bins three cycles after its shifts came, four with `around` blocks. Every
    lane adds to bins of its own.

    Members
    -------
    shifts : In, with ``valid``, ``first``, ``last``
        Of a chunk of products, SHIFT_BIAS included; the first, the last of its vector.
    significands : In
        Of the chunk of the cycle before, already shifted by SIGNIFICAND_SHIFT_BITS of its shifts.
    read_bin, read_lane, read_bank, read_en : In
        A bin to be read.
    read_data : Out
        Its sum, signed bin_bits, in units of 2**(product_lsb_exp - SHIFT_BIAS) times
        2**(bin * 2**bin_digit), a cycle later; 0 if it was not used, and without `read_en`.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "shifts": In(layouts.Lanes(layouts.shift_bits(config), config.act_par)),
                "significands": In(layouts.significands(config)),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "read_bin": In(clog2(config.bins)),
                "read_lane": In(max(1, clog2(config.act_par))),
                "read_bank": In(1),
                "read_en": In(1),
                "read_data": Out(signed(config.bin_bits)),
            }
        )

    def elaborate(self, platform):
        """Build the rest of the shift, an adder and a memory per lane."""
        m = Module()
        config = self.config
        digit = config.bin_digit
        valid_before = delay(m, self.valid, 1, "valid_before", reset_less=False)
        valid = delay(m, valid_before, 1, "valid", reset_less=False)
        first_before = delay(m, self.first, 1, "first_before")
        first = register(m, first_before, "first")
        last = delay(m, self.last, 2, "last")
        # An address reaches every bit of a memory: copies for each lane's reading and writing.
        bank, *banks = [
            Signal(name=f"bank_{i}", attrs={"keep": "true"}) for i in range(1 + 2 * config.act_par)
        ]
        with m.If(valid & last):
            m.d.sync += [copy.eq(~copy) for copy in (bank, *banks)]
        address_bits = clog2(config.bins)
        # Both reads go to a register: a block memory's own. What is read while it is written is
        # not used: such a chunk's sum is in `last_sum`.
        in_block = {"ram_style": "block", "no_rw_check": 1} if config.in_blocks else {}
        outputs, holds = [], []
        for lane in range(config.act_par):
            asked = bind(m, self.shifts[lane][digit:][:address_bits], f"asked_{lane}")
            term: Value = self.significands[lane]
            if digit > SIGNIFICAND_SHIFT_BITS:
                rest = register(
                    m, self.shifts[lane][SIGNIFICAND_SHIFT_BITS:digit], f"rest_{lane}"
                )
                rest = Cat(Const(0, SIGNIFICAND_SHIFT_BITS), rest)
                width = len(term) + (1 << digit) - (1 << SIGNIFICAND_SHIFT_BITS)
                term = shift_left(m, term, rest, width, f"shifted_{lane}")
            term = register(m, term, f"term_{lane}")
            read_bin = register(m, asked, f"read_bin_{lane}", copy=True)
            following = register(m, asked, f"following_{lane}")
            chosen, write_bin = (
                register(m, following, f"{name}_{lane}", copy=True) for name in ("bin", "write_bin")
            )

            # A bin that this vector did not use yet holds a sum of an earlier one. This is known
            # a cycle before the addition, in which the bin is read. The chunk whose sum is written
            # in that cycle may be one of the same bin: only then its sum stays in `last_sum`, by
            # the register's reset, so that no choice stands in front of the adder.
            at_once = register(
                m, ~self.first & valid_before & (asked == following), f"at_once_{lane}"
            )
            used = Signal(config.bins, name=f"used_{lane}")
            stands = select(m, list(used), following, f"again_{lane}_of") & ~(valid & first)
            again = bind(m, ~first_before & stands & ~at_once, f"again_{lane}")
            after = bind(
                m, Mux(first, 0, used) | (Const(1, 1) << chosen)[: config.bins], f"after_{lane}"
            )
            with m.If(valid):
                m.d.sync += used.eq(after)
            # What a vector used is kept for the reducer.
            kept = [Signal(config.bins, name=f"kept_{lane}_{i}") for i in range(BIN_BANKS)]
            for i in range(BIN_BANKS):
                with m.If(valid & last & (bank == i)):
                    m.d.sync += kept[i].eq(after)

            m.submodules[f"bins_{lane}"] = storage = memory.Memory(
                shape=unsigned(config.bin_bits), depth=BIN_BANKS << address_bits, init=[],
                attrs=in_block,
            )
            write = storage.write_port()
            old, out = storage.read_port(domain="comb"), storage.read_port(domain="comb")
            stood = register(m, old.data, f"stood_{lane}")
            place, written = Cat(write_bin, banks[2 * lane + 1]), valid
            if config.in_blocks and config.bin_bits <= TOTAL_BITS:
                # The block's sum is a register, written a cycle later: the sum before it counts,
                # too, if it is of the same bin.
                at_twice = register(
                    m, ~self.first & ~first_before & valid & (asked == chosen), f"at_twice_{lane}"
                )
                # Of the numbers of Plus: the last sum, that before it, what stood there, nothing.
                plus = Cat(at_once | ~(at_twice | again), at_once | (again & ~at_twice))
                m.submodules[f"sum_{lane}"] = block = Total(
                    len(term), config.bin_bits, config.bin_bits, before=True
                )
                m.d.comb += [
                    block.a.eq(term), block.c.eq(stood),
                    block.plus.eq(register(m, plus, f"plus_{lane}")),
                ]  # fmt: skip
                total = block.y
                place = register(m, place, f"write_place_{lane}")
                written = delay(m, valid, 1, f"written_{lane}", reset_less=False)
            else:
                total = self._sum(m, lane, term, stood, again, at_once)
            m.d.comb += [
                old.addr.eq(Cat(read_bin, banks[2 * lane])),
                write.addr.eq(place),
                write.en.eq(written),
                write.data.eq(total),
                out.addr.eq(Cat(self.read_bin, self.read_bank)),
            ]
            holds.append(
                select(
                    m, [bit for one in kept for bit in _filled(one, address_bits)],
                    Cat(self.read_bin, self.read_bank), f"holds_{lane}",
                )
            )
            outputs.append(out.data)
        if config.in_blocks:
            # A register for each lane, of which the others are 0.
            reads = [
                _read(
                    m, out, self.read_en & equals(self.read_lane, lane) & held, f"read_{lane}"
                )
                for lane, (out, held) in enumerate(zip(outputs, holds, strict=True))
            ]
            data = tree(reads, lambda a, b: a | b)
        else:
            used = select(m, holds, self.read_lane, "holds")
            data = _read(m, select(m, outputs, self.read_lane, "out"), self.read_en & used, "read")
        m.d.comb += self.read_data.eq(data)
        return m


    def _sum(
        self, m: Module, lane: int, term: Value, stood: Value, again: Value, at_once: Value
    ) -> Signal:
        """Return the sum of `term` and what stood in its bin; of what is known a cycle before."""
        width = self.config.bin_bits
        last_sum = Signal(signed(width), name=f"last_sum_{lane}", reset_less=True)
        agains = Cat(
            register(m, again, f"again_{lane}_{i}", copy=True).replicate(_SHARED)
            for i in range(0, width, _SHARED)
        )[:width]
        before = (last_sum | (stood & agains)).as_signed()
        total = bind(m, (term + before)[:width].as_signed(), f"sum_{lane}")
        m.d.sync += last_sum.eq(total)
        with m.If(~at_once):
            m.d.sync += last_sum.eq(0)
        return total


def _read(m: Module, data: Value, counts: Value, name: str) -> Signal:
    """Return `data` a cycle later, 0 if it does not count: by the register's reset."""
    target = Signal(len(data), name=name, reset_less=True)
    m.d.sync += target.eq(data)
    with m.If(~counts):
        m.d.sync += target.eq(0)
    return target


def _filled(bits: Value, address_bits: int) -> list[Value]:
    """Return `bits`, and as many times the last as fill an address of `address_bits`."""
    return list(bits) + [bits[-1]] * ((1 << address_bits) - len(bits))
