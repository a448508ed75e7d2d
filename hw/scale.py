"""Scales on the output axis: a multiplication per sum in the drain, and sums over groups."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, shift_left
from .config import EngineConfig, clog2
from .tree import delay, register

_FRACTION_BITS = 10
_EXPONENT_ALL_ONES = 31


def scale_sum(
    m: Module, value: Value, scale: Value, width: int, name: str
) -> tuple[Value, Value]:
    """Return ``value * scale`` in units of 2**-24, and whether the scale is NaN or infinite.

    Signed, `width` bits, SCALE_LATENCY - 1 cycles after `value` and the float16 pattern `scale`.
    A scale that is not finite gives an unspecified value.
    """
    field = scale[_FRACTION_BITS:15]
    normal = bind(m, field.any(), f"{name}_normal")
    significand = Cat(scale[:_FRACTION_BITS], normal)
    signed_significand = Mux(scale[15], -significand, significand)[: _FRACTION_BITS + 2]
    # ---- operands and product in registers of their own, which a multiplier can absorb ----------
    left = register(m, value, f"{name}_left")
    right = register(m, signed_significand.as_signed(), f"{name}_right")
    product = register(m, left * right, f"{name}_product")
    shift = delay(m, Mux(normal, field - 1, 0)[:5], 2, f"{name}_shift")
    # ---- two steps of shifting -------------------------------------------------------------
    near = register(
        m, shift_left(m, product, shift[:3], len(product) + 7, f"{name}_near"),
        f"{name}_near_r",
    )
    far = delay(m, shift[3:], 1, f"{name}_far_shift")
    term = register(
        m, shift_left(m, near, Cat(Const(0, 3), far), width, f"{name}_far"), f"{name}_far_r"
    )
    special = delay(m, field == _EXPONENT_ALL_ONES, 4, f"{name}_special")
    return term, special


class GroupSums(wiring.Component):
    """Adds a chunk's scaled sums to those of the groups before it.

    The sums wait in memory that is read and written in one cycle, so chunks may follow each other
    at any distance. Latency: one cycle from `terms` to `totals`.

    Members
    -------
    valid, first, chunk : In
        A chunk arrives; it is of its tile's first group; its place in the tile.
    terms, specials : In, out_par each
        Scaled sums; whether the scale was NaN or infinite.
    totals, bad : Out, out_par each
        Sums over the groups so far; whether any scale was not finite.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._depth = max(2, config.n_par // config.out_par * config.m_par)
        shape = layouts.Lanes(signed(config.scaled_bits), config.out_par)
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "chunk": In(clog2(self._depth)),
                "terms": In(shape),
                "specials": In(config.out_par),
                "totals": Out(shape),
                "bad": Out(config.out_par),
            }
        )

    def elaborate(self, platform):
        """Build the memory and one adder per lane; with one group only the register is left."""
        m = Module()
        config = self.config
        lane_bits = config.scaled_bits + 1
        sums = [Cat(self.terms[i], self.specials[i]) for i in range(config.out_par)]
        if config.scale_out == "groups":
            m.submodules.sums = storage = memory.Memory(
                shape=unsigned(lane_bits * config.out_par), depth=self._depth, init=[]
            )
            write, read = storage.write_port(), storage.read_port(domain="comb")
            before = Signal(lane_bits * config.out_par)
            m.d.comb += [
                read.addr.eq(self.chunk),
                before.eq(Mux(self.first, 0, read.data)),
                write.addr.eq(self.chunk),
                write.en.eq(self.valid),
            ]
            sums = []
            for i in range(config.out_par):
                old = before.word_select(i, lane_bits)
                total = bind(
                    m, (old[:-1].as_signed() + self.terms[i])[: config.scaled_bits], f"total_{i}"
                )
                sums.append(Cat(total, old[-1] | self.specials[i]))
            m.d.comb += write.data.eq(Cat(*sums))
        for i, value in enumerate(sums):
            held = register(m, value, f"held_{i}")
            m.d.comb += [
                self.totals[i].eq(held[:-1].as_signed()),
                self.bad[i].eq(held[-1]),
            ]
        return m
