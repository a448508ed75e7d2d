"""float16 as exact integers, and error-free sums of float64 values."""

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
