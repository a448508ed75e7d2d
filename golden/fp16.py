"""float16 as exact integers, and sums of float64 values rounded once to float16."""

from __future__ import annotations

import numpy as np

CANONICAL_NAN = 0x7E00
"""Bit pattern of every NaN that the contract produces."""
LSB_EXP = -24
"""Exponent of the smallest subnormal: every finite float16 is an integer times 2**-24."""


def decode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split finite float16 `values` into ``(mantissa, exponent)``, both int64.

    ``value == mantissa * 2**(exponent - 25)`` exactly, with |mantissa| < 2048 and
    1 <= exponent <= 31. Infinities and NaN give meaningless numbers within those ranges: the caller
    handles them first.
    """
    bits = values.view(np.uint16).astype(np.int64)
    field = (bits >> 10) & 31
    mantissa = (bits & 1023) | np.where(field > 0, 1024, 0)
    return np.where(bits >> 15 == 1, -mantissa, mantissa), np.maximum(field, 1)


def two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(s, e)`` with s = round(a + b) and s + e == a + b exactly (Knuth's TwoSum)."""
    s = a + b
    b_part = s - a
    a_part = s - b_part
    return s, (a - a_part) + (b - b_part)


def add_round_odd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a + b rounded to odd: truncated, with the last bit set when anything was cut off.

    A value rounded to odd with at least two spare bits can be rounded again, to nearest, as if it
    were exact (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved
    algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008).
    """
    s, e = two_sum(a, b)
    s = np.ascontiguousarray(s)
    bits = s.view(np.int64)
    inexact_even = (e != 0) & ((bits & 1) == 0)
    # One step of the bit pattern is one step of the magnitude, away from zero if +1.
    step = np.where((e > 0) == (s > 0), 1, -1)
    return np.where(inexact_even, bits + step, bits).view(np.float64)


def round_sum_to_fp16(a: np.ndarray, b_high: np.ndarray, b_low: np.ndarray) -> np.ndarray:
    """Return ``a + b_high + b_low`` rounded once, to nearest even, to float16.

    All float64, broadcast against each other. ``b_high + b_low`` must be a value split so that
    ``b_high`` is its rounding to float64. An exact zero is +0; magnitudes of 65520 and more are
    infinite, as IEEE 754 rounds them.
    """
    u_high, u_low = two_sum(*np.broadcast_arrays(b_high, b_low))
    t_high, t_low = two_sum(a, u_high)
    tail = add_round_odd(t_low, np.broadcast_to(u_low, t_low.shape))
    with np.errstate(over="ignore", under="ignore"):
        return add_round_odd(t_high, tail).astype(np.float16)
