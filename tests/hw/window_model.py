"""The reducer and the drain as Python integers, step for step; held against exact rationals.

`reduce_shift_sum` is what :mod:`hw.reducer` does once per vector, `drain_output` what the drain
does per output. Both formats' smallest step is 2**24 units of their exact products.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw.config import EngineConfig

STEP = 24


@dataclass(frozen=True)
class Leading:
    """The leading bits of a constant: significand and round bit, anything below, exponent."""

    kept: int
    sticky: int
    drop: int


@dataclass(frozen=True)
class Window:
    """What is left of a vector's exact shift sum; see layouts.window."""

    base: int
    sticky: int
    place: int
    positive: Leading
    negative: Leading


def reduce_shift_sum(config: EngineConfig, total: int, exponent: int) -> Window:
    """Reduce `total` (units of the products) beside sums at 2**exponent.

    Its bits come lowest first, one a step.
    """
    p = config.float.significand
    least = STEP + p - 1  # leading place of the smallest normal number
    lowest = exponent - config.sum_lsb_bits  # place of the sums' unit
    low_bits = p + config.window_bound + 2
    edge = lowest + config.window_bound + 2
    low = sticky = held_top = mixed = place = 0
    window, lost = [0, 0], [0, 0]
    held = [Leading(0, 0, 0), Leading(0, 0, 0)]
    seen = before = zeros = ones = top = 0
    for i in range(-config.sum_lsb_bits - p, config.reduce_end):
        bit = (total >> i) & 1 if i >= 0 else 0
        # The two constants: total mod 2**lowest, and 2**lowest less it.
        inside = i < lowest
        streams = (bit & inside, ((bit ^ seen) & inside) | (i == lowest and not seen))
        seen |= bit & inside
        for n in (0, 1):
            lost[n] |= window[n] & 1
            window[n] = window[n] >> 1 | streams[n] << p
            if i == least or (i > least and streams[n]):
                held[n] = Leading(window[n], lost[n], i - least)
        # The window: its low part as it is, its top part from where the number ends.
        if i < lowest - p:
            sticky |= bit
        elif i < edge:
            low = low >> 1 | bit << (low_bits - 1)
        start = edge + p + 2
        if i == start:
            # Two places above the sums: with one bit more than that alike, sums cannot carry
            # over what is left out.
            ones = low >> (low_bits - 1)
            zeros = 1 - ones
        if i >= start:
            if i == start or bit != before:
                held_top, mixed, place = top, zeros and ones, i - least
            ones |= top & 1
            zeros |= ~top & 1
        top = top >> 1 | bit << (p + 1)
        before = bit
    if mixed:
        low = 1 << (low_bits - 1)
    return Window((held_top | -before << (p + 2)) << low_bits | low, sticky, place, *held)


def drain_output(config: EngineConfig, value: int, window: Window) -> int:
    """Return the bit pattern of a sum beside a reduced shift sum, rounded once."""
    p = config.float.significand
    bits = config.wide_bits - 1  # of a magnitude
    total = (value << p) + window.base
    assert -1 << bits <= total < 1 << bits
    negative = total < 0
    magnitude = ~total if negative else total  # one less than the magnitude, if negative
    if magnitude >> p == 0:
        held = window.negative if negative else window.positive
        kept, sticky, drop, carry = held.kept, held.sticky, held.drop, 0
    else:
        zeros = bits - magnitude.bit_length()
        left = min(zeros, window.place)
        drop = window.place - left
        amount = bits - (p + 1) - left
        kept = magnitude >> amount
        sticky = int(total & ((1 << amount) - 1) != 0 or window.sticky)
        carry = negative and not sticky
    odd, half = kept >> 1 & 1, kept & 1
    up = half | odd if carry else half & (sticky | odd)
    pattern = (drop << (p - 1)) + (kept >> 1) + up
    return min(pattern, config.float.infinity) | negative << 15
