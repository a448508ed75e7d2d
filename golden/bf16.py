"""bfloat16 as bit patterns (numpy has no such type): exact integers, and rounding to it."""

from __future__ import annotations

import numpy as np

CANONICAL_NAN = 0x7FC0
"""Bit pattern of every NaN that the contract produces."""
LSB_EXP = -133
"""Exponent of the smallest subnormal: every finite bfloat16 is an integer times 2**-133."""

_SIGNIFICANT_BITS = 8
_EXPONENT_ALL_ONES = 255


def is_finite(bits: np.ndarray) -> np.ndarray:
    """Return which of the patterns `bits` (uint16) are finite numbers."""
    return (bits >> 7) & _EXPONENT_ALL_ONES != _EXPONENT_ALL_ONES


def decode(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split finite patterns `bits` (uint16) into ``(mantissa, exponent)``, both int64.

    ``value == mantissa * 2**(exponent - 134)`` exactly, with |mantissa| < 256 and
    1 <= exponent <= 254. Infinities and NaN give meaningless numbers: the caller handles them
    first.
    """
    bits = bits.astype(np.int64)
    field = (bits >> 7) & _EXPONENT_ALL_ONES
    mantissa = (bits & 127) | np.where(field > 0, 128, 0)
    return np.where(bits >> 15 == 1, -mantissa, mantissa), np.maximum(field, 1)


def from_float64(values: np.ndarray) -> np.ndarray:
    """Round finite float64 `values` once, to nearest even; returns patterns (uint16).

    Zeros keep their sign; magnitudes of 2**128 - 2**119 and more are infinite, as IEEE 754 rounds.
    """
    step = np.maximum(np.frexp(values)[1] - _SIGNIFICANT_BITS, LSB_EXP)
    # Scaling by a power of two is exact here: float64 reaches far below 2**-133 - 53.
    rounded = np.ldexp(np.rint(np.ldexp(values, -step)), step)
    with np.errstate(over="ignore"):
        single = rounded.astype(np.float32)  # exact, or beyond its range: infinite
    return (single.view(np.uint32) >> 16).astype(np.uint16)
