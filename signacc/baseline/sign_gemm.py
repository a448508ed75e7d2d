"""Triton kernels of the 1-bit path for many vectors: packed signs, tensor cores, no dense weights.

``y_i = Σ_j s_ij·(α_j·x_j) + Σ_j β_j·x_j``: :func:`fold_kernel` makes α·x and β·x once a vector,
:func:`sign_gemm_kernel` turns sign bits into ±1 in registers and multiplies. Bit ``b`` of word
``w`` of a row is the sign of input ``b·K/16 + w`` (:func:`signacc.baseline.packing.word_order`), so
one word tile serves 16 products of tiles that are contiguous in the activations.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .kernels import _NORM, _SILU, overlap


@triton.jit
def _normed(x, row, col, gain, eps, size: tl.constexpr, prologue: tl.constexpr):
    """Return f(x[row]), float32 ``[1, block]``; f as in the GEMV's prologue, `gain` the norm's."""
    inside = col < size
    if prologue == _SILU:
        gate = tl.load(x + row * 2 * size + col, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(x + row * 2 * size + size + col, mask=inside, other=0.0).to(tl.float32)
        value = gate / (1 + tl.exp(-gate)) * up
    else:
        value = tl.load(x + row * size + col, mask=inside, other=0.0).to(tl.float32)
    if prologue == _NORM:
        scale = tl.rsqrt(tl.sum(value * value, axis=1) / size + eps)
        value *= scale[:, None] * gain.to(tl.float32)
    return value


@triton.jit
def _scales(
    alpha, beta, first: tl.constexpr, col, size: tl.constexpr, sets: tl.constexpr,
    block_g: tl.constexpr,
):
    """Return α and β ``[block_g, block]`` of the sets from `first` on."""
    g = first + tl.arange(0, block_g)[:, None]
    inside = (col < size) & (g < sets)
    at = g * size + col
    return tl.load(alpha + at, mask=inside, other=0.0), tl.load(beta + at, mask=inside, other=0.0)


@triton.jit
def fold_kernel(
    x, gain, alpha, beta, folded, shifts, count, eps,
    size: tl.constexpr, block: tl.constexpr, sets: tl.constexpr, block_g: tl.constexpr,
    prologue: tl.constexpr, early: tl.constexpr,
):
    """folded[g, m] = α[g]·f(x[m]) and shifts[g, m] = β[g]·f(x[m]); `block_g` sets at once.

    What no kernel writes is read ahead of the wait for the kernel before.
    """
    row = tl.program_id(0).to(tl.int64)
    col = tl.arange(0, block)[None, :]
    a, b = _scales(alpha, beta, 0, col, size, sets, block_g)
    w = tl.load(gain + col, mask=col < size, other=0.0) if prologue == _NORM else 0.0
    overlap(early)
    value = _normed(x, row, col, w, eps, size, prologue)
    for first in tl.static_range(0, sets, block_g):
        if first > 0:
            a, b = _scales(alpha, beta, first, col, size, sets, block_g)
        g = first + tl.arange(0, block_g)[:, None]
        inside = (col < size) & (g < sets)
        at = g.to(tl.int64) * count + row
        made = a.to(tl.float32) * value
        tl.store(folded + at * size + col, made.to(folded.dtype.element_ty), mask=inside)
        shift = tl.sum(b.to(tl.float32) * value, axis=1)
        tl.store(shifts + at, shift[:, None], mask=g < sets)


@triton.jit
def sign_gemm_kernel(
    words, folded, shifts, y, count, outputs, first, second,
    size: tl.constexpr, residual: tl.constexpr,
    block_m: tl.constexpr, block_n: tl.constexpr, block_w: tl.constexpr, stages: tl.constexpr,
):
    """y[m, n] = Σ_j s_nj·folded[g, m, j] + shifts[g, m], plus y itself if `residual`.

    The set g of input scales is 0 for outputs below `first`, 1 below `second`, else 2; both are
    multiples of block_n.
    """
    per_row: tl.constexpr = size // 16
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    start_n = tl.program_id(1) * block_n
    n = start_n + tl.arange(0, block_n)
    g = (start_n >= first).to(tl.int64) + (start_n >= second).to(tl.int64)
    inside_m = m < count
    inside_n = n < outputs
    acts = folded + g * count * size + m.to(tl.int64)[None, :] * size
    total = tl.zeros((block_n, block_m), tl.float32)
    for start in range(0, per_row, block_w):
        w = start + tl.arange(0, block_w)
        inside_w = w < per_row
        word = tl.load(
            words + n.to(tl.int64)[:, None] * per_row + w[None, :],
            mask=inside_n[:, None] & inside_w[None, :], other=0,
        )
        for b in tl.range(0, 16, num_stages=stages):
            act = tl.load(
                acts + (b * per_row + w)[:, None],
                mask=inside_w[:, None] & inside_m[None, :], other=0.0,
            )
            # -1.0 in binary16 with its sign flipped where the bit is 1: +1 or -1, no arithmetic
            bits = ((word.to(tl.int32) << (15 - b)) & 0x8000) ^ 0xBC00
            sign = bits.to(tl.int16).to(tl.float16, bitcast=True)
            total = tl.dot(sign, act, total)
    total += tl.load(shifts + g * count + m, mask=inside_m, other=0.0)[None, :]
    target = y + m.to(tl.int64)[None, :] * outputs + n[:, None]
    valid = inside_n[:, None] & inside_m[None, :]
    if residual:
        total += tl.load(target, mask=valid, other=0.0).to(tl.float32)
    tl.store(target, total.to(y.dtype.element_ty), mask=valid)


@triton.jit
def quantize_kernel(
    x, gain, alpha, beta, folded, shifts, scales, totals, count, eps,
    size: tl.constexpr, block: tl.constexpr, sets: tl.constexpr, block_g: tl.constexpr,
    prologue: tl.constexpr, early: tl.constexpr,
):
    """folded[g, m]: int8 of α[g]·f(x[m]) in the unit scales[g, m]; totals its sum, shifts β·f(x).

    As the contract says for A = 8: f(x) is rounded to binary16, the unit is the power of two that
    brings the largest product to 7 bits (2^-48 or more), rounding is to nearest, ties to even.
    Otherwise as :func:`fold_kernel`.
    """
    row = tl.program_id(0).to(tl.int64)
    col = tl.arange(0, block)[None, :]
    a, b = _scales(alpha, beta, 0, col, size, sets, block_g)
    w = tl.load(gain + col, mask=col < size, other=0.0) if prologue == _NORM else 0.0
    overlap(early)
    value = _normed(x, row, col, w, eps, size, prologue).to(tl.float16).to(tl.float32)
    for first in tl.static_range(0, sets, block_g):
        if first > 0:
            a, b = _scales(alpha, beta, first, col, size, sets, block_g)
        product = a.to(tl.float32) * value
        top = tl.max(tl.abs(product), axis=1)[:, None]
        unit = tl.maximum((top.to(tl.int32, bitcast=True) >> 23) - 127 - 6, -48)
        inverse = ((127 - unit) << 23).to(tl.float32, bitcast=True)
        # adding and taking away 1.5·2^23 rounds to an integer, ties to even
        q = (product * inverse + 12582912.0) - 12582912.0
        q = tl.minimum(tl.maximum(q, -127.0), 127.0).to(tl.int32)
        g = first + tl.arange(0, block_g)[:, None]
        inside = (col < size) & (g < sets)
        at = g.to(tl.int64) * count + row
        tl.store(folded + at * size + col, q.to(tl.int8), mask=inside)
        tl.store(totals + at, tl.sum(q, axis=1)[:, None], mask=g < sets)
        tl.store(scales + at, ((127 + unit) << 23).to(tl.float32, bitcast=True), mask=g < sets)
        shift = tl.sum(b.to(tl.float32) * value, axis=1)
        tl.store(shifts + at, shift[:, None], mask=g < sets)


@triton.jit
def sign_gemm_int8_kernel(
    words, folded, shifts, scales, totals, y, count, outputs, first, second,
    size: tl.constexpr, residual: tl.constexpr,
    block_m: tl.constexpr, block_n: tl.constexpr, block_w: tl.constexpr, stages: tl.constexpr,
    assembly: tl.constexpr,
):
    """As :func:`sign_gemm_kernel` on int8 activations, exact: y = scale·(2·Σ bit·q − Σ q) + shift.

    Bit ``b`` of byte ``w`` of a row of `words` is the sign of input ``b·K/8 + w``.
    """
    per_row: tl.constexpr = size // 8
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    start_n = tl.program_id(1) * block_n
    n = start_n + tl.arange(0, block_n)
    g = (start_n >= first).to(tl.int64) + (start_n >= second).to(tl.int64)
    inside_m = m < count
    inside_n = n < outputs
    acts = folded + g * count * size + m.to(tl.int64)[None, :] * size
    total = tl.zeros((block_n, block_m), tl.int32)
    for start in range(0, per_row, block_w):
        w = start + tl.arange(0, block_w)
        inside_w = w < per_row
        word = tl.load(
            words + n.to(tl.int64)[:, None] * per_row + w[None, :],
            mask=inside_n[:, None] & inside_w[None, :], other=0,
        )
        for b in tl.range(0, 8, num_stages=stages):
            act = tl.load(
                acts + (b * per_row + w)[:, None],
                mask=inside_w[:, None] & inside_m[None, :], other=0,
            )
            if assembly:  # four weights in two instructions; wrapping shifts read the lowest byte
                bit = tl.inline_asm_elementwise(
                    "{ .reg .b32 t; shf.r.wrap.b32 t, $1, 0, $2; and.b32 $0, t, 0x01010101; }",
                    "=r,r,r", [word, tl.zeros_like(word) + b.to(tl.int8)],
                    dtype=tl.int8, is_pure=True, pack=4,
                )
            else:  # Triton's interpreter has no assembly
                bit = ((word.to(tl.int32) >> b) & 1).to(tl.int8)
            total = tl.dot(bit, act, total, out_dtype=tl.int32)
    at = g * count + m
    q = tl.load(totals + at, mask=inside_m, other=0)[None, :]
    value = (2 * total - q).to(tl.float32) * tl.load(scales + at, mask=inside_m, other=0.0)[None, :]
    value += tl.load(shifts + at, mask=inside_m, other=0.0)[None, :]
    target = y + m.to(tl.int64)[None, :] * outputs + n[:, None]
    valid = inside_n[:, None] & inside_m[None, :]
    if residual:
        value = value.to(tl.float16).to(tl.float32)
        value += tl.load(target, mask=valid, other=0.0).to(tl.float32)
    tl.store(target, value.to(y.dtype.element_ty), mask=valid)
