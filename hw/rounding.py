"""The one rounding: a finished sum and its vector's window to a 16-bit float."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value

from .arith import bind, leading_one, one_hot, select, shift_right_sticky
from .blocks import TOTAL_BITS, Plus, Total
from .config import EngineConfig
from .tree import delay, register

_BLOCK = 8  # bits that the search for the leading one looks at together
ENDS_DELAY = 7
"""Cycles from the sum to what must be known of the constants for cancelled sums."""
PLACE_DELAY = 3
"""Cycles from the sum to what must be known of the window's place."""


def round_sum(
    m: Module, config: EngineConfig, value: Value, base: Value, place: Value, sticky: Value,
    ends, name: str,
) -> tuple[Value, Value]:
    """Return a float without its sign bit, not yet limited to infinity, and the sign.

    Both CONVERT_LATENCY - 2 cycles after `value`, a signed sum, and `base`. `place` and `sticky`
    come PLACE_DELAY cycles later, `ends` (`positive` and `negative`) ENDS_DELAY; see layouts.window
    and drain_output of tests/hw/window_model.py.
    """  # fmt: skip
    p = config.float.significand
    bits = config.wide_bits - 1  # of a magnitude
    # ---- the one sum; bits below the sums' unit pass by the adder --------------------------
    above = base[p:].as_signed()
    total = Signal(bits + 1, name=f"{name}_total", reset_less=True)
    if config.in_blocks and bits + 1 - p <= TOTAL_BITS:
        m.submodules[f"{name}_total"] = block = Total(len(value), len(above), bits + 1 - p)
        m.d.comb += [
            block.a.eq(value), block.c.eq(above), block.plus.eq(Plus.C),
            total.eq(Cat(register(m, base[:p], f"{name}_below_total"), block.y)),
        ]  # fmt: skip
    else:
        m.d.sync += total.eq(Cat(base[:p], (above + value)[: bits + 1 - p]))
    minus = total[-1]
    # ---- one's complement: it is one less than the magnitude, which rounding makes up for. It is
    # taken of the few bits that are looked at, not of the sum.
    blocks = [total[start : min(start + _BLOCK, bits)] for start in range(p, bits, _BLOCK)]
    some = register(
        m, Cat((block ^ minus.replicate(len(block))).any() for block in blocks), f"{name}_some"
    )
    # With a reset, so that these and the registers before them become no shift register in LUTs.
    found = delay(m, total[:-1], 1, f"{name}_found", reset_less=False)
    negative = register(m, minus, f"{name}_minus")
    # ---- three steps: the leading one, then how far to move, at least to the smallest step ----
    number = leading_one(m, some, f"{name}_number")
    parts = [found[start : min(start + _BLOCK, bits)] for start in range(p, bits, _BLOCK)]
    parts[-1] = Cat(parts[-1], negative.replicate(_BLOCK - len(parts[-1])))
    part = select(m, parts, number, f"{name}_part")
    block = register(m, part ^ negative.replicate(_BLOCK), f"{name}_block")
    number = register(m, number, f"{name}_number_r")
    cancelled = register(m, ~some.any(), f"{name}_cancelled")
    # Places of the leading one above the sums' unit: so far is it moved to keep p + 1 bits.
    top = register(m, Cat(leading_one(m, block, f"{name}_bit"), number), f"{name}_top")
    # At least it is moved by the complement of the window's place; `drop` is its rounding place.
    place = register(m, place, f"{name}_place")
    lead = bind(m, top - ~place, f"{name}_lead")
    limited = bind(m, lead < 0, f"{name}_limited")
    drop = register(m, Mux(limited, 0, lead)[: config.place_bits], f"{name}_drop")
    furthest = config.place_offset.bit_length()
    places = bind(m, Mux(limited, ~place, top)[:furthest], f"{name}_places")
    amount = register(m, places, f"{name}_amount")
    sticky = delay(m, sticky, 2, f"{name}_below")
    # ---- two steps: move, keep a rounding bit and what was lost --------------------------------
    # Lost bits are those of the sum, before the complement.
    here = delay(m, Cat(found, negative), 3, f"{name}_here", in_lut=False)
    far, lost = shift_right_sticky(
        m, here.as_signed(), Cat(Const(0, 4), amount[4:]), f"{name}_far", lost=sticky
    )
    far = register(m, far, f"{name}_far_r")
    lost = register(m, lost, f"{name}_far_l")
    if config.in_blocks:
        # As a product: 15 places to the left less those to the right.
        power = delay(m, one_hot(places[:4], down=True), 2, f"{name}_power")
        moved = bind(m, far[: p + 16].as_signed() * power, f"{name}_moved")
        value, lost = moved[15 : p + 16], lost | moved[:15].any()
    else:
        near = register(m, amount[:4], f"{name}_near")
        value, lost = shift_right_sticky(m, far, near, f"{name}_near_shift", lost=lost)
    negative = register(m, far[-1], f"{name}_kept_n")
    kept = register(m, value[: p + 1], f"{name}_kept")
    lost = register(m, lost, f"{name}_lost")
    drop = delay(m, drop, 2, f"{name}_drop_late")
    cancelled = delay(m, cancelled, 4, f"{name}_cancelled_late", in_lut=False)
    # ---- or what is known of it where sum and window cancel --------------------------------
    end = Mux(negative, ends.negative.as_value(), ends.positive.as_value())
    shape = ends.positive.shape()
    normal = Cat(kept ^ negative.replicate(p + 1), lost, drop)
    chosen = register(m, Mux(cancelled, end, normal), f"{name}_chosen")
    chosen = shape(chosen)
    carry = register(m, negative & ~lost & ~cancelled, f"{name}_carry")
    negative = register(m, negative, f"{name}_chosen_n")
    # ---- round to nearest even; a carry walks into the exponent ----------------------------
    odd, half = chosen.kept[1], chosen.kept[0]
    up = bind(m, Mux(carry, half | odd, half & (chosen.sticky | odd)), f"{name}_up")
    pattern = register(
        m, Cat(Const(0, p - 1), chosen.drop) + chosen.kept[1:] + up, f"{name}_pattern"
    )
    return pattern, register(m, negative, f"{name}_sign")

