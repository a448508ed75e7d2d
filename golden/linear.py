"""The bit-exact FBI-linear: what the hardware must compute, for every input.

``y_i = 2**E * sum_g a_ig * sum_j t_ij * q_j  +  sum_j shift_j * x_j``, with ``q_j`` the products
``scale_j * x_j`` quantized to A bits under one power-of-two scale per token vector, ``t_ij`` the
weights -1, +1 (or 0), and ``a_ig`` an optional scale per output and group of inputs. The rules are
in docs/contract.md; :mod:`golden.reference` states them a second time in Python fractions.
Needs only numpy; torch tensors are accepted and given back when they come in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import bf16, fp16
from .errors import InputError
from .pack import check_packed, is_tensor, like, to_numpy, unpack_signs, unpack_ternary
from .signed_sum import UNPACK_FROM, paths, signed_sum

ACT_BITS_MIN, ACT_BITS_MAX = 4, 24
K_LIMIT = 1 << 16
"""Largest K: sums of 8-bit digits stay exact in float32, sums of products in int64."""

_BLOCK_ROWS = 512
_DIGIT_BITS = 8
_BIN_BITS = 24
_FLOAT64_BITS = 53
_SCALE_BITS = 11


@dataclass(frozen=True)
class _Format:
    """What differs between the two formats of activations.

    `decode` gives ``(mantissa, exponent)`` with ``value = mantissa * 2**(exponent - 1 + lsb_exp)``;
    `rounded` takes finite float64 to patterns (uint16), one rounding.
    """

    decode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    is_finite: Callable[[np.ndarray], np.ndarray]
    rounded: Callable[[np.ndarray], np.ndarray]
    lsb_exp: int
    nan: int

    @property
    def product_lsb_exp(self) -> int:
        """Exponent of the unit of exact products with a float16 coefficient."""
        return self.lsb_exp + fp16.LSB_EXP


def _rounded_to_fp16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16).view(np.uint16)


_FORMATS = {
    "fp16": _Format(fp16.decode, np.isfinite, _rounded_to_fp16, fp16.LSB_EXP, fp16.CANONICAL_NAN),
    "bf16": _Format(
        bf16.decode, bf16.is_finite, bf16.from_float64, bf16.LSB_EXP, bf16.CANONICAL_NAN
    ),
}
ACT_FORMATS = tuple(_FORMATS)
"""Formats of x and y."""


@dataclass(frozen=True)
class Quantized:
    """A batch of token vectors on the integer grid of the array.

    Attributes
    ----------
    q
        int32 ``[M, K]``, magnitude at most ``2**(A-1) - 1``.
    exponent
        int64 ``[M]``: one unit of ``q`` is ``2**exponent``; -48 or more (bfloat16: -157).
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


def check_act_format(act_format: str) -> str:
    """Return `act_format` if it names a format of activations, else raise InputError."""
    if not isinstance(act_format, str) or act_format not in _FORMATS:
        raise InputError(f"act_format must be one of {', '.join(_FORMATS)}, not {act_format!r}")
    return act_format


def quantize(
    x: np.ndarray, scale_in: np.ndarray, act_bits: int, *, act_format: str = "fp16"
) -> Quantized:
    """Scale finite `x` ``[M, K]`` by float16 `scale_in` ``[K]`` exactly, then quantize.

    `x` is float16, or patterns (uint16) of bfloat16. The unit is the power of two that brings the
    largest product of a vector to A - 1 bits, but not below 2**-48 (bfloat16: 2**-157), where every
    product is an integer. Rounding is to nearest, ties to even; a product that rounds up to
    2**(A-1) saturates to 2**(A-1) - 1.
    """
    form = _FORMATS[act_format]
    x_mantissa, x_exponent = form.decode(x)
    s_mantissa, s_exponent = fp16.decode(scale_in)
    product = (x_mantissa * s_mantissa).astype(np.float64)  # at most 22 bits: exact
    shift = x_exponent + s_exponent - 2  # product * 2**shift in units of exact products
    # frexp gives floor(log2) + 1; a zero product must not count.
    top = np.where(product != 0, np.frexp(product)[1] - 1 + shift, 0)
    unit = np.maximum(top.max(axis=1) - (act_bits - 2), 0)
    limit = float((1 << (act_bits - 1)) - 1)
    q = np.clip(np.rint(np.ldexp(product, shift - unit[:, None])), -limit, limit)
    return Quantized(q.astype(np.int32), unit + form.product_lsb_exp)


def shift_integers(
    x: np.ndarray, shift_in: np.ndarray, *, act_format: str = "fp16"
) -> list[int]:
    """Return ``sum_j shift_j * x_j`` of finite `x` ``[M, K]``, M integers, exactly.

    In units of exact products: 2**-48, for bfloat16 2**-157.
    """
    x_mantissa, x_exponent = _FORMATS[act_format].decode(x)
    b_mantissa, b_exponent = fp16.decode(shift_in)
    product = x_mantissa * b_mantissa
    shift = x_exponent + b_exponent - 2
    # Bins of 24 exponents keep each sum below 2**(22 + 23 + 16): exact in int64.
    in_bin = product << (shift % _BIN_BITS)
    which = shift // _BIN_BITS
    totals = [0] * len(x)
    for b in range(int(which.max(initial=0)) + 1):
        sums = np.where(which == b, in_bin, 0).sum(axis=1).tolist()
        totals = [t + (part << (_BIN_BITS * b)) for t, part in zip(totals, sums, strict=True)]
    return totals


def accumulate(
    q: np.ndarray,
    weights: np.ndarray,
    act_bits: int,
    *,
    multiply: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda p, w: p @ w.T,
) -> np.ndarray:
    """Return ``q @ weights.T`` exactly: int32 ``[M, K]``, float32 -1, 0, +1 ``[N, K]``; float64.

    q is split into signed 8-bit digits, whose sums are at most 2**23 and so exact in float32 in any
    order of summation. `multiply` makes these sums of float32 digits and `weights`, in whatever
    form it takes them.
    """
    rows = len(q)
    digits = []
    rest = q.astype(np.int64)
    for _ in range(-(-act_bits // _DIGIT_BITS) - 1):
        digit = ((rest + 128) & 255) - 128
        digits.append(digit)
        rest = (rest - digit) >> _DIGIT_BITS
    digits.append(rest)
    sums = multiply(np.concatenate(digits).astype(np.float32), weights)
    total = np.zeros((rows, weights.shape[0]))
    for i in range(len(digits)):
        total += np.ldexp(sums[i * rows : (i + 1) * rows].astype(np.float64), _DIGIT_BITS * i)
    return total


def accumulate_groups(
    q: np.ndarray, weights: np.ndarray, scale_out: np.ndarray, group_size: int, act_bits: int
) -> list[tuple[np.ndarray, int]]:
    """Return ``sum_g scale_out_ig * (q @ weights.T over group g)``, exactly.

    The value is the sum over the pairs ``(integers, exponent)`` of ``integers * 2**exponent``, with
    integers in float64 ``[M, N]``. `scale_out` is finite float16 ``[N, G]``.
    """
    mantissa, exponent = fp16.decode(scale_out)
    shift = np.where(mantissa != 0, exponent, exponent.max())
    lowest = int(shift.min())
    shift -= lowest
    # A part holds `step` neighbouring exponents, so that its sum over all groups, of at most
    # 11 + (step - 1) + (A - 1) + ceil(log2 K) bits, is exact in float64. At least 4; 16 for A = 16
    # and K = 4096.
    k = q.shape[1]
    step = _FLOAT64_BITS - _SCALE_BITS - (act_bits - 1) - (k - 1).bit_length() + 1
    which = shift // step
    factor = (mantissa << (shift % step)).astype(np.float64)
    parts = [np.zeros((len(q), len(weights))) for _ in range(int(which.max()) + 1)]
    for g in range(scale_out.shape[1]):
        inputs = slice(g * group_size, min((g + 1) * group_size, k))
        sums = accumulate(q[:, inputs], weights[:, inputs], act_bits)
        for b, part in enumerate(parts):
            if len(parts) == 1:
                part += sums * factor[:, g]
            elif (which[:, g] == b).any():
                part += sums * np.where(which[:, g] == b, factor[:, g], 0)
    first = lowest - 1 + fp16.LSB_EXP
    return [(part, first + step * b) for b, part in enumerate(parts)]


def round_sum(
    parts: list[tuple[np.ndarray, int]],
    exponent: np.ndarray,
    shift_sums: list[int],
    act_format: str,
) -> np.ndarray:
    """Return patterns (uint16) of ``sum of parts * 2**exponent + shift_sums``, one rounding.

    Parameters
    ----------
    parts
        As :func:`accumulate_groups` returns them.
    exponent
        int64 ``[M]``, one per token vector.
    shift_sums
        M integers in units of exact products.

    The sum is first bracketed in float64. Where both ends of the bracket round to the same pattern
    that is the result; the few that do not are summed in Python integers.
    """
    form = _FORMATS[act_format]
    high, low, rest = _split(shift_sums, form.product_lsb_exp)
    terms = [np.ldexp(part, exponent[:, None] + e) for part, e in parts]
    terms += [np.broadcast_to(b[:, None], terms[0].shape) for b in (high, low)]
    # Error-free: the sum of the terms stays what it is while its bulk moves into terms[0].
    for _ in range(len(terms) - 1):
        for i in reversed(range(len(terms) - 1)):
            terms[i], terms[i + 1] = fp16.two_sum(terms[i], terms[i + 1])
    near = terms[0]
    tail = sum((np.abs(t) for t in terms[1:]), np.broadcast_to(rest[:, None], near.shape))
    result = form.rounded(near + 0.0)  # an exact zero is +0
    inexact = np.flatnonzero(tail)
    if not len(inexact):
        return result
    # 2**-40 is far more than what the few additions in `tail` can have rounded off.
    centre, radius = near.ravel()[inexact], tail.ravel()[inexact] * (1 + 2.0**-40)
    below = form.rounded(np.nextafter(centre - radius, -np.inf))
    above = form.rounded(np.nextafter(centre + radius, np.inf))
    flat = result.reshape(-1)
    flat[inexact] = below
    for position in inexact[below != above].tolist():
        flat[position] = _round_exactly(parts, exponent, shift_sums, position, form)
    return flat.reshape(near.shape)


def _round_exactly(
    parts: list[tuple[np.ndarray, int]],
    exponent: np.ndarray,
    shift_sums: list[int],
    position: int,
    form: _Format,
) -> int:
    """Return what round_sum says at flat index `position`, in Python integers."""
    m, i = divmod(position, parts[0][0].shape[1])
    unit = form.product_lsb_exp + fp16.LSB_EXP  # of everything: no exponent is below it
    total = shift_sums[m] << -fp16.LSB_EXP
    for part, e in parts:
        total += int(part[m, i]) << (int(exponent[m]) + e - unit)
    # Rounded to odd at 53 bits, then to nearest at 11 or fewer: as one rounding (Boldo and
    # Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding
    # to odd", IEEE Trans. Computers 57(4), 2008).
    magnitude = abs(total)
    drop = max(magnitude.bit_length() - _FLOAT64_BITS, 0)
    kept = magnitude >> drop
    kept |= kept << drop != magnitude
    value = np.ldexp(float(kept if total >= 0 else -kept), drop + unit)
    return int(form.rounded(np.array([value]))[0])


def _split(integers: list[int], unit_exp: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float64 (high, low, rest): high + low is off the exact value by at most rest >= 0."""
    high, low, rest = (np.empty(len(integers)) for _ in range(3))
    for m, exact in enumerate(integers):
        first = float(exact)
        second = float(exact - int(first))
        high[m], low[m] = first, second
        rest[m] = abs(exact - int(first) - int(second))
    return np.ldexp(high, unit_exp), np.ldexp(low, unit_exp), np.ldexp(rest, unit_exp)


class PreparedLinear:
    """An FBI-linear with its weights unpacked once, for many calls.

    Parameters
    ----------
    signs
        uint8 ``[N, ceil(K/8)]`` as :func:`golden.pack.pack_signs` makes them.
    scale_in, shift_in
        float16 ``[K]``: alpha and beta, both on the INPUT axis.
    scale_out
        float16 ``[N]``, a scale per output; with `group_size`, ``[N, ceil(K/group_size)]``, a scale
        per output and group of inputs; or None.
    mask
        uint8 like `signs`, or None: 0 bits are weights that are 0.
    group_size
        Inputs to a group of `scale_out`, or None for one group of all inputs.
    keep_packed
        Hold a bit a weight in memory instead of four bytes, the same results to the bit. Quicker
        for few vectors. Needs a C++ compiler; neither mask nor `scale_out`.

    Raises
    ------
    InputError
        If a shape, a type or K breaks its rule, or `keep_packed` cannot be had.
    """

    def __init__(
        self,
        signs: Any,
        scale_in: Any,
        shift_in: Any,
        *,
        scale_out: Any = None,
        mask: Any = None,
        group_size: int | None = None,
        keep_packed: bool = False,
    ) -> None:
        self.scale_in = _fp16_vector(scale_in, "scale_in")
        self.k = len(self.scale_in)
        if self.k > K_LIMIT:
            raise InputError(f"K must be at most {K_LIMIT}, not {self.k}")
        self.packed = check_packed(signs, self.k)
        self.n = len(self.packed)
        self.mask = None if mask is None else check_packed(mask, self.k, what="mask", n=self.n)
        self.shift_in = _fp16_vector(shift_in, "shift_in", self.k)
        self.group_size = _group_size(group_size, scale_out)
        self.scale_out = _output_scales(scale_out, self.n, self.k, self.group_size)
        if keep_packed:
            if mask is not None or scale_out is not None:
                raise InputError("weights stay packed only without mask and scale_out")
            paths()  # compiles the kernel, or says that it cannot
            self._weights = None
        else:
            self._weights = unpack_ternary(self.packed, self.mask, self.k).astype(np.float32)
        self._coefficients_finite = bool(
            np.isfinite(self.scale_in).all() and np.isfinite(self.shift_in).all()
        )

    def __call__(self, x: Any, *, act_bits: int = 16, act_format: str = "fp16") -> Any:
        """Apply to `x` ``[M, K]``; returns ``[M, N]`` of the same kind and format."""
        act_bits = check_act_bits(act_bits)
        form = _FORMATS[check_act_format(act_format)]
        array = _activations(x, act_format)
        if array.ndim != 2 or array.shape[1] != self.k:
            raise InputError(f"x must have shape [M, {self.k}], not {array.shape}")
        array = np.ascontiguousarray(array)
        # One NaN or infinity in a vector, or in the coefficients, makes all its outputs NaN.
        finite = form.is_finite(array).all(axis=1) & self._coefficients_finite
        patterns = np.full((len(array), self.n), form.nan, dtype=np.uint16)
        if finite.any():
            patterns[finite] = self._finite(array[finite], act_bits, act_format)
        if act_format == "bf16" and is_tensor(x):
            return like(patterns.view(np.int16), x).view(x.dtype)
        return like(patterns.view(array.dtype), x)

    def _finite(self, x: np.ndarray, act_bits: int, act_format: str) -> np.ndarray:
        quantized = quantize(x, self.scale_in, act_bits, act_format=act_format)
        bad_scale = None
        if self.scale_out is None:
            parts = [(self._sums(quantized.q, act_bits), 0)]
        else:
            scales = self.scale_out.reshape(self.n, -1)
            good = np.isfinite(scales)
            bad_scale = ~good.all(axis=1)
            scales = np.where(good, scales, np.float16(0))
            size = self.k if self.group_size is None else self.group_size
            parts = accumulate_groups(quantized.q, self._weights, scales, size, act_bits)
        shift_sums = shift_integers(x, self.shift_in, act_format=act_format)
        patterns = round_sum(parts, quantized.exponent, shift_sums, act_format)
        if bad_scale is not None:
            patterns[:, bad_scale] = _FORMATS[act_format].nan
        return patterns

    def _sums(self, q: np.ndarray, act_bits: int) -> np.ndarray:
        if self._weights is not None:
            return accumulate(q, self._weights, act_bits)
        if len(q) < UNPACK_FROM:
            return accumulate(q, self.packed, act_bits, multiply=lambda p, s: signed_sum(s, p))
        blocks = [
            accumulate(q, unpack_signs(rows, self.k).astype(np.float32), act_bits)
            for rows in np.split(self.packed, range(_BLOCK_ROWS, self.n, _BLOCK_ROWS))
        ]
        return np.concatenate(blocks, axis=1)


def fbi_linear(
    x: Any,
    signs: Any,
    scale_in: Any,
    shift_in: Any,
    *,
    scale_out: Any = None,
    mask: Any = None,
    group_size: int | None = None,
    act_bits: int = 16,
    act_format: str = "fp16",
) -> Any:
    """Compute the FBI-linear of `x`, to the bit as the hardware does.

    Parameters
    ----------
    x
        ``[M, K]``: token vectors; float16, or with ``act_format="bf16"`` bfloat16: a
        torch.bfloat16 tensor, or numpy uint16 bit patterns.
    signs
        uint8 ``[N, ceil(K/8)]``, least significant bit first, 1 = +1.
    scale_in, shift_in
        float16 ``[K]``: alpha and beta on the input axis.
    scale_out
        float16 ``[N]`` or None: scale of each output's signed sum (not of the shift term). With
        `group_size`, ``[N, ceil(K/group_size)]``: one scale per output and group of inputs.
    mask
        uint8 like `signs` or None: ternary weights; a 0 bit makes the weight 0.
    group_size
        S: input j belongs to group ``j // S``; the last group may be short.
    act_bits
        A: 4 to 24.
    act_format
        "fp16" or "bf16": format of x and y.

    Returns
    -------
    ``[M, N]``, a numpy array or a torch tensor as `x` is, and in its format.

    Raises
    ------
    InputError
        If a shape, dtype or width breaks its rule.
    TypeError
        If an argument is neither a numpy array nor a CPU torch tensor.
    """
    linear = PreparedLinear(
        signs, scale_in, shift_in, scale_out=scale_out, mask=mask, group_size=group_size
    )
    return linear(x, act_bits=act_bits, act_format=act_format)


def _activations(x: Any, act_format: str) -> np.ndarray:
    """Return x as a float16 array, or as patterns (uint16) of bfloat16."""
    if act_format == "fp16":
        array = to_numpy(x, "x")
        if array.dtype != np.float16:
            raise InputError(f"x must be float16, not {array.dtype}")
        return array
    if is_tensor(x):
        torch = sys.modules["torch"]
        if x.dtype != torch.bfloat16:
            raise InputError(f"x must be torch.bfloat16 with act_format bf16, not {x.dtype}")
        return to_numpy(x.detach().contiguous().view(torch.int16), "x").view(np.uint16)
    array = to_numpy(x, "x")
    if array.dtype != np.uint16:
        raise InputError(
            f"x must be uint16 bit patterns with act_format bf16, not {array.dtype}"
        )
    return array


def _group_size(group_size: int | None, scale_out: Any) -> int | None:
    if group_size is None:
        return None
    whole = isinstance(group_size, int | np.integer) and not isinstance(group_size, bool)
    if not whole or group_size < 1:
        raise InputError(f"group_size must be a positive integer, not {group_size!r}")
    if scale_out is None:
        raise InputError(f"group_size needs scale_out, a scale per group; {group_size} has none")
    return int(group_size)


def _output_scales(
    scale_out: Any, n: int, k: int, group_size: int | None
) -> np.ndarray | None:
    if scale_out is None:
        return None
    if group_size is None:
        return _fp16_vector(scale_out, "scale_out", n)
    array = to_numpy(scale_out, "scale_out")
    if array.dtype != np.float16:
        raise InputError(f"scale_out must be float16, not {array.dtype}")
    want = (n, -(-k // group_size))
    if array.shape != want:
        raise InputError(
            f"scale_out for {k} inputs in groups of {group_size} must have shape {list(want)}, "
            f"not {array.shape}"
        )
    return np.ascontiguousarray(array)


def _fp16_vector(value: Any, what: str, length: int | None = None) -> np.ndarray:
    array = to_numpy(value, what)
    if array.dtype != np.float16:
        raise InputError(f"{what} must be float16, not {array.dtype}")
    if array.ndim != 1 or (length is not None and len(array) != length) or len(array) < 1:
        want = "[K] with K >= 1" if length is None else f"[{length}]"
        raise InputError(f"{what} must have shape {want}, not {array.shape}")
    return np.ascontiguousarray(array)
