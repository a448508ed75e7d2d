"""The one rounding: a finished sum and its vector's window to a 16-bit float."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux
from amaranth.hdl import Value

from .arith import bind, leading_one, select, shift_right_sticky
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
    upper = (base[p:].as_signed() + value)[: bits + 1 - p]
    total = register(m, Cat(base[:p], upper), f"{name}_total")
    minus = total[-1]
    # ---- one's complement: it is one less than the magnitude, which rounding makes up for. It is
    # taken of the few bits that are looked at, not of the sum.
    blocks = [total[max(p, end - _BLOCK) : end] for end in range(bits, p, -_BLOCK)]
    some = register(
        m, Cat((block ^ minus.replicate(len(block))).any() for block in reversed(blocks)),
        f"{name}_some",
    )
    # With a reset, so that these and the registers before them become no shift register in LUTs.
    found = delay(m, total[:-1], 1, f"{name}_found", reset_less=False)
    negative = register(m, minus, f"{name}_minus")
    # ---- three steps: the leading one, then how far to move, at least to the smallest step ----
    number = leading_one(m, some, f"{name}_number")
    parts = [
        Cat(
            negative.replicate(_BLOCK - (end - max(p, end - _BLOCK))),
            found[max(p, end - _BLOCK) : end],
        )
        for end in range(bits, p, -_BLOCK)
    ]
    part = select(m, list(reversed(parts)), number, f"{name}_part")
    block = register(m, part ^ negative.replicate(_BLOCK), f"{name}_block")
    number = register(m, number, f"{name}_number_r")
    cancelled = register(m, ~some.any(), f"{name}_cancelled")
    # Places of the leading one above that of the lowest block; the highest is `highest`.
    highest = len(blocks) * _BLOCK - 1
    top = register(m, Cat(leading_one(m, block, f"{name}_bit"), number), f"{name}_top")
    above = register(m, place - highest, f"{name}_above")
    least = register(m, bits - (p + 1) - place, f"{name}_least")
    # The rounding place of a leading one at `highest` is `place`; drop is that of this one.
    lead = bind(m, top + above, f"{name}_lead")
    limited = bind(m, lead < 0, f"{name}_limited")
    drop = register(m, Mux(limited, 0, lead)[: len(place)], f"{name}_drop")
    furthest = (bits - (p + 1)).bit_length()
    amount = register(
        m, Mux(limited, least, top + (bits - (p + 1) - highest))[:furthest], f"{name}_amount"
    )
    sticky = delay(m, sticky, 2, f"{name}_below")
    # ---- two steps: move, keep a rounding bit and what was lost --------------------------------
    # Lost bits are those of the sum, before the complement.
    here = delay(m, Cat(found, negative), 3, f"{name}_here", in_lut=False)
    far, lost = shift_right_sticky(
        m, here.as_signed(), Cat(Const(0, 4), amount[4:]), f"{name}_far", lost=sticky
    )
    far = register(m, far, f"{name}_far_r")
    lost = register(m, lost, f"{name}_far_l")
    near = register(m, amount[:4], f"{name}_near")
    value, lost = shift_right_sticky(m, far, near, f"{name}_near_shift", lost=lost)
    negative = register(m, far[-1], f"{name}_kept_n")
    kept = register(m, value[: p + 1] ^ far[-1].replicate(p + 1), f"{name}_kept")
    lost = register(m, lost, f"{name}_lost")
    drop = delay(m, drop, 2, f"{name}_drop_late")
    cancelled = delay(m, cancelled, 4, f"{name}_cancelled_late", in_lut=False)
    # ---- or what is known of it where sum and window cancel --------------------------------
    end = Mux(negative, ends.negative.as_value(), ends.positive.as_value())
    shape = ends.positive.shape()
    normal = Cat(kept, lost, drop)
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

