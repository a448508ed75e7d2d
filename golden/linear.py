"""The bit-exact FBI-linear: what the hardware must compute, for every input.

``y_i = sum_j s_ij * q_j * 2**E  +  sum_j shift_j * x_j``, with ``q_j`` the products
``scale_j * x_j`` quantized to A bits under one power-of-two scale per token vector. The rules are
in docs/contract.md; :mod:`golden.reference` states them a second time in Python integers.
Needs only numpy; torch tensors are accepted and given back when they come in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import fp16
from .errors import InputError
from .pack import check_packed, like, to_numpy, unpack_signs

ACT_BITS_MIN, ACT_BITS_MAX = 4, 24
K_LIMIT = 1 << 16
"""Largest K: sums of 8-bit digits stay exact in float32, sums of products in int64."""

PRODUCT_LSB_EXP = 2 * fp16.LSB_EXP
"""Exponent of the unit of exact products: 2**-48."""

_DIGIT_BITS = 8
_BIN_BITS = 8


@dataclass(frozen=True)
class Quantized:
    """A batch of token vectors on the integer grid of the array.

    Attributes
    ----------
    q
        int32 ``[M, K]``, magnitude at most ``2**(A-1) - 1``.
    exponent
        int64 ``[M]``: one unit of ``q`` is ``2**exponent``; -48 or more.
    """

    q: np.ndarray
    exponent: np.ndarray


def check_act_bits(act_bits: int) -> int:
    """Return `act_bits` if it is a legal activation width, else raise InputError."""
    if not isinstance(act_bits, int | np.integer) or isinstance(act_bits, bool):
        raise InputError(f"act_bits must be an integer, not {act_bits!r}")
    if not ACT_BITS_MIN <= act_bits <= ACT_BITS_MAX:
        raise InputError(
            f"act_bits must be from {ACT_BITS_MIN} to {ACT_BITS_MAX}, not {act_bits}"
        )
    return int(act_bits)


def quantize(x: np.ndarray, scale_in: np.ndarray, act_bits: int) -> Quantized:
    """Scale finite float16 `x` ``[M, K]`` by `scale_in` ``[K]`` exactly, then quantize.

    The unit is the power of two that brings the largest product of a vector to A - 1 bits, but not
    below 2**-48, where every product is an integer. Rounding is to nearest, ties to even; a product
    that rounds up to 2**(A-1) saturates to 2**(A-1) - 1.
    """
    x_mantissa, x_exponent = fp16.decode(x)
    s_mantissa, s_exponent = fp16.decode(scale_in)
    product = (x_mantissa * s_mantissa).astype(np.float64)  # 22 bits: exact
    shift = x_exponent + s_exponent - 2  # product * 2**shift in units of 2**-48
    # frexp gives floor(log2) + 1; a zero product must not count.
    top = np.where(product != 0, np.frexp(product)[1] - 1 + shift, 0)
    unit = np.maximum(top.max(axis=1) - (act_bits - 2), 0)
    limit = float((1 << (act_bits - 1)) - 1)
    q = np.clip(np.rint(np.ldexp(product, shift - unit[:, None])), -limit, limit)
    return Quantized(q.astype(np.int32), unit + PRODUCT_LSB_EXP)


def shift_sum(x: np.ndarray, shift_in: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``sum_j shift_j * x_j`` for finite float16 `x` ``[M, K]``, exactly.

    The result is a pair of float64 arrays ``[M]`` (high, low) whose sum is the exact value and
    whose high part is its rounding to float64.
    """
    x_mantissa, x_exponent = fp16.decode(x)
    b_mantissa, b_exponent = fp16.decode(shift_in)
    product = x_mantissa * b_mantissa
    shift = x_exponent + b_exponent - 2
    high = np.empty(len(x))
    low = np.empty(len(x))
    # Bins of 8 exponents keep each sum below 2**(22 + 7 + 16): exact in int64.
    in_bin = product << (shift % _BIN_BITS)
    which = shift // _BIN_BITS
    bins = [np.where(which == b, in_bin, 0).sum(axis=1) for b in range(60 // _BIN_BITS + 1)]
    for m in range(len(x)):
        exact = sum(int(part[m]) << (_BIN_BITS * b) for b, part in enumerate(bins))
        rounded = float(exact)
        high[m] = np.ldexp(rounded, PRODUCT_LSB_EXP)
        low[m] = np.ldexp(float(exact - int(rounded)), PRODUCT_LSB_EXP)
    return high, low


def accumulate(q: np.ndarray, signs: np.ndarray, act_bits: int) -> np.ndarray:
    """Return ``q @ signs.T`` exactly: int32 ``[M, K]`` and float32 ±1 ``[N, K]`` give float64.

    q is split into signed 8-bit digits, whose sums are below 2**24 and so exact in float32 in any
    order of summation.
    """
    rows = len(q)
    digits = []
    rest = q.astype(np.int64)
    for _ in range(-(-act_bits // _DIGIT_BITS) - 1):
        digit = ((rest + 128) & 255) - 128
        digits.append(digit)
        rest = (rest - digit) >> _DIGIT_BITS
    digits.append(rest)
    sums = np.concatenate(digits).astype(np.float32) @ signs.T
    total = np.zeros((rows, signs.shape[0]))
    for i in range(len(digits)):
        total += np.ldexp(sums[i * rows : (i + 1) * rows].astype(np.float64), _DIGIT_BITS * i)
    return total


class PreparedLinear:
    """An FBI-linear with its signs unpacked once, for many calls.

    Parameters
    ----------
    signs
        uint8 ``[N, ceil(K/8)]`` as :func:`golden.pack.pack_signs` makes them.
    scale_in, shift_in
        float16 ``[K]``: alpha and beta, both on the INPUT axis.
    scale_out
        float16 ``[N]`` or None: a scale per output.

    Raises
    ------
    InputError
        If a shape, a type or K breaks its rule.
    """

    def __init__(
        self, signs: Any, scale_in: Any, shift_in: Any, *, scale_out: Any = None
    ) -> None:
        self.scale_in = _fp16_vector(scale_in, "scale_in")
        self.k = len(self.scale_in)
        if self.k > K_LIMIT:
            raise InputError(f"K must be at most {K_LIMIT}, not {self.k}")
        self.packed = check_packed(signs, self.k)
        self.n = len(self.packed)
        self.shift_in = _fp16_vector(shift_in, "shift_in", self.k)
        self.scale_out = None if scale_out is None else _fp16_vector(scale_out, "scale_out", self.n)
        self._signs = unpack_signs(self.packed, self.k).astype(np.float32)
        self._coefficients_finite = bool(
            np.isfinite(self.scale_in).all() and np.isfinite(self.shift_in).all()
        )

    def __call__(self, x: Any, *, act_bits: int = 16) -> Any:
        """Apply to float16 `x` ``[M, K]``; returns float16 ``[M, N]`` of the same kind."""
        act_bits = check_act_bits(act_bits)
        array = to_numpy(x, "x")
        if array.dtype != np.float16:
            raise InputError(f"x must be float16, not {array.dtype}")
        if array.ndim != 2 or array.shape[1] != self.k:
            raise InputError(f"x must have shape [M, {self.k}], not {array.shape}")
        array = np.ascontiguousarray(array)
        # One NaN or infinity in a vector, or in the coefficients, makes all its outputs NaN.
        finite = np.isfinite(array).all(axis=1) & self._coefficients_finite
        result = np.empty((len(array), self.n), dtype=np.float16)
        result.view(np.uint16)[~finite] = fp16.CANONICAL_NAN
        if finite.any():
            result[finite] = self._finite(array[finite], act_bits)
        return like(result, x)

    def _finite(self, x: np.ndarray, act_bits: int) -> np.ndarray:
        quantized = quantize(x, self.scale_in, act_bits)
        total = np.ldexp(
            accumulate(quantized.q, self._signs, act_bits), quantized.exponent[:, None]
        )
        bad_scale = None
        if self.scale_out is not None:
            bad_scale = ~np.isfinite(self.scale_out)
            # 11 bits times at most 24 - 1 + 16: exact in float64.
            total *= np.where(bad_scale, 0, self.scale_out).astype(np.float64)
        high, low = shift_sum(x, self.shift_in)
        result = fp16.round_sum_to_fp16(total, high[:, None], low[:, None])
        if bad_scale is not None:
            result.view(np.uint16)[:, bad_scale] = fp16.CANONICAL_NAN
        return result


def fbi_linear(
    x: Any,
    signs: Any,
    scale_in: Any,
    shift_in: Any,
    *,
    scale_out: Any = None,
    act_bits: int = 16,
) -> Any:
    """Compute the FBI-linear of `x`, to the bit as the hardware does.

    Parameters
    ----------
    x
        float16 ``[M, K]``: token vectors.
    signs
        uint8 ``[N, ceil(K/8)]``, least significant bit first, 1 = +1.
    scale_in, shift_in
        float16 ``[K]``: alpha and beta on the input axis.
    scale_out
        float16 ``[N]`` or None: scale of each output's signed sum (not of the shift term).
    act_bits
        A: 4 to 24.

    Returns
    -------
    float16 ``[M, N]``, a numpy array or a torch tensor as `x` is.

    Raises
    ------
    InputError
        If a shape, dtype or width breaks its rule.
    TypeError
        If an argument is neither a numpy array nor a CPU torch tensor.
    """
    linear = PreparedLinear(signs, scale_in, shift_in, scale_out=scale_out)
    return linear(x, act_bits=act_bits)


def _fp16_vector(value: Any, what: str, length: int | None = None) -> np.ndarray:
    array = to_numpy(value, what)
    if array.dtype != np.float16:
        raise InputError(f"{what} must be float16, not {array.dtype}")
    if array.ndim != 1 or (length is not None and len(array) != length) or len(array) < 1:
        want = "[K] with K >= 1" if length is None else f"[{length}]"
        raise InputError(f"{what} must have shape {want}, not {array.shape}")
    return np.ascontiguousarray(array)
