"""Triton kernels that every path shares: norm, SwiGLU, RoPE, decode attention, dense GEMV.

All reduce in float32 and write the format of their output pointer. Rows are contiguous.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

PLAIN, NORM, SILU = 0, 1, 2
"""What a linear does to its input: nothing, RMSNorm with a weight, or SwiGLU of [gate | up]."""

_PLAIN, _NORM, _SILU = tl.constexpr(PLAIN), tl.constexpr(NORM), tl.constexpr(SILU)


@triton.jit
def overlap(early: tl.constexpr):
    """Wait for the kernel before, then let the next one start (programmatic dependent launch).

    `early` says that this kernel itself may have been started before its predecessor's end.
    """
    if early:
        gdc_wait()
        gdc_launch_dependents()


@triton.jit
def rms_norm_kernel(
    x, weight, y, eps, size: tl.constexpr, block: tl.constexpr, early: tl.constexpr
):
    """y[m] = weight · x[m] / sqrt(mean(x[m]²) + eps); one row a program."""
    overlap(early)
    row = tl.program_id(0).to(tl.int64)
    col = tl.arange(0, block)
    inside = col < size
    value = tl.load(x + row * size + col, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value) / size + eps)
    gain = tl.load(weight + col, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * size + col, (value * scale * gain).to(y.dtype.element_ty), mask=inside)


@triton.jit
def silu_mul_kernel(x, y, size: tl.constexpr, block: tl.constexpr, early: tl.constexpr):
    """y[m] = silu(gate) · up of rows x[m] = [gate | up]."""
    overlap(early)
    row = tl.program_id(0).to(tl.int64)
    col = tl.program_id(1) * block + tl.arange(0, block)
    inside = col < size
    gate = tl.load(x + row * 2 * size + col, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(x + row * 2 * size + size + col, mask=inside, other=0.0).to(tl.float32)
    value = gate / (1 + tl.exp(-gate)) * up
    tl.store(y + row * size + col, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def gemv_kernel(
    w, x, gain, y, outputs, eps,
    size: tl.constexpr, prologue: tl.constexpr, residual: tl.constexpr,
    rows: tl.constexpr, block: tl.constexpr, unroll: tl.constexpr, early: tl.constexpr,
):
    """y = w·f(x) for one vector, plus y itself if `residual`; f is the `prologue`.

    The norm's factor is common to a vector, so it multiplies the sum and not the inputs.
    """
    overlap(early)
    n = tl.program_id(0) * rows + tl.arange(0, rows)
    within = n < outputs
    total = tl.zeros((rows, block), tl.float32)
    square = tl.zeros((block,), tl.float32)
    for start in tl.range(0, size, block, loop_unroll_factor=unroll):
        k = start + tl.arange(0, block)
        inside = k < size
        weight = tl.load(
            w + n.to(tl.int64)[:, None] * size + k[None, :],
            mask=within[:, None] & inside[None, :], other=0.0, eviction_policy="evict_first",
        )
        value = tl.load(x + k, mask=inside, other=0.0).to(tl.float32)
        if prologue == _NORM:
            square += value * value
            value *= tl.load(gain + k, mask=inside, other=0.0).to(tl.float32)
        if prologue == _SILU:
            up = tl.load(x + size + k, mask=inside, other=0.0).to(tl.float32)
            value = value / (1 + tl.exp(-value)) * up
        total += weight.to(tl.float32) * value[None, :]
    result = tl.sum(total, axis=1)
    if prologue == _NORM:
        result *= tl.rsqrt(tl.sum(square) / size + eps)
    if residual:
        result += tl.load(y + n, mask=within, other=0.0).to(tl.float32)
    tl.store(y + n, result.to(y.dtype.element_ty), mask=within)


@triton.jit(do_not_specialize=["last"])  # 1 would become a constant, which has no type to convert
def attend_kernel(
    qkv, cos, sin, keys, values, out, sums, last, capacity, scale,
    span: tl.constexpr, heads: tl.constexpr, kv_heads: tl.constexpr, half: tl.constexpr,
    splits: tl.constexpr, block: tl.constexpr, early: tl.constexpr,
):
    """Decode attention of one new token at position `last` with the cache before it.

    A program is a head of a sequence and a `span` of the cache. It rotates the query; the program
    of the last span also rotates the new key, writes key and value into the cache and attends to
    them from registers. With several splits `out` takes unnormalised fp32 sums and `sums` their
    (maximum, denominator); :func:`combine_kernel` joins them.
    """
    overlap(early)
    pair = tl.program_id(0)
    split = tl.program_id(1)
    sequence = pair // heads
    head = pair % heads
    group: tl.constexpr = heads // kv_heads
    kv = head // group
    d = tl.arange(0, half)
    width: tl.constexpr = (heads + 2 * kv_heads) * 2 * half
    row = qkv + sequence.to(tl.int64) * width
    c = tl.load(cos + last * half + d)
    s = tl.load(sin + last * half + d)
    q1 = tl.load(row + head * 2 * half + d).to(tl.float32)
    q2 = tl.load(row + head * 2 * half + half + d).to(tl.float32)
    r1 = (q1 * c - q2 * s) * scale
    r2 = (q2 * c + q1 * s) * scale
    cache = (sequence * kv_heads + kv).to(tl.int64) * capacity * 2 * half
    top = -1e30
    denominator = 0.0
    a1 = tl.zeros((half,), tl.float32)
    a2 = tl.zeros((half,), tl.float32)
    if split == splits - 1:
        k1 = tl.load(row + (heads + kv) * 2 * half + d).to(tl.float32)
        k2 = tl.load(row + (heads + kv) * 2 * half + half + d).to(tl.float32)
        new1 = (k1 * c - k2 * s).to(keys.dtype.element_ty)
        new2 = (k2 * c + k1 * s).to(keys.dtype.element_ty)
        v1 = tl.load(row + (heads + kv_heads + kv) * 2 * half + d)
        v2 = tl.load(row + (heads + kv_heads + kv) * 2 * half + half + d)
        if head % group == 0:
            place = cache + last.to(tl.int64) * 2 * half
            tl.store(keys + place + d, new1)
            tl.store(keys + place + half + d, new2)
            tl.store(values + place + d, v1)
            tl.store(values + place + half + d, v2)
        top = tl.sum(r1 * new1.to(tl.float32) + r2 * new2.to(tl.float32))
        denominator = 1.0
        a1 = v1.to(tl.float32)
        a2 = v2.to(tl.float32)
    end = tl.minimum((split + 1) * span, last)
    for offset in range(0, span, block):
        t = split * span + offset + tl.arange(0, block)
        inside = t < end
        at = cache + t.to(tl.int64)[:, None] * (2 * half) + d[None, :]
        k1 = tl.load(keys + at, mask=inside[:, None], other=0.0).to(tl.float32)
        k2 = tl.load(keys + at + half, mask=inside[:, None], other=0.0).to(tl.float32)
        v1 = tl.load(values + at, mask=inside[:, None], other=0.0).to(tl.float32)
        v2 = tl.load(values + at + half, mask=inside[:, None], other=0.0).to(tl.float32)
        score = tl.sum(k1 * r1[None, :] + k2 * r2[None, :], axis=1)
        score = tl.where(inside, score, -1e30)
        peak = tl.maximum(top, tl.max(score))
        weight = tl.where(inside, tl.exp(score - peak), 0.0)
        shrink = tl.exp(top - peak)
        denominator = denominator * shrink + tl.sum(weight)
        a1 = a1 * shrink + tl.sum(weight[:, None] * v1, axis=0)
        a2 = a2 * shrink + tl.sum(weight[:, None] * v2, axis=0)
        top = peak
    if splits == 1:
        target = out + pair.to(tl.int64) * 2 * half
        tl.store(target + d, (a1 / denominator).to(out.dtype.element_ty))
        tl.store(target + half + d, (a2 / denominator).to(out.dtype.element_ty))
    else:
        part = pair.to(tl.int64) * splits + split
        tl.store(out + part * 2 * half + d, a1)
        tl.store(out + part * 2 * half + half + d, a2)
        tl.store(sums + part * 2, top)
        tl.store(sums + part * 2 + 1, denominator)


@triton.jit
def combine_kernel(
    parts, sums, out,
    splits: tl.constexpr, block: tl.constexpr, dim: tl.constexpr, early: tl.constexpr,
):
    """Join the splits of :func:`attend_kernel`; one head of one sequence a program."""
    overlap(early)
    pair = tl.program_id(0).to(tl.int64)
    s = tl.arange(0, block)
    d = tl.arange(0, dim)
    inside = s < splits
    top = tl.load(sums + (pair * splits + s) * 2, mask=inside, other=-1e30)
    share = tl.load(sums + (pair * splits + s) * 2 + 1, mask=inside, other=0.0)
    weight = tl.exp(top - tl.max(top))
    part = tl.load(
        parts + (pair * splits + s)[:, None] * dim + d[None, :], mask=inside[:, None], other=0.0
    )
    value = tl.sum(weight[:, None] * part, axis=0) / tl.sum(weight * share)
    tl.store(out + pair * dim + d, value.to(out.dtype.element_ty))


@triton.jit
def rotate_kernel(
    qkv, cos, sin, query, keys, values, length, capacity, start,
    heads: tl.constexpr, kv_heads: tl.constexpr, half: tl.constexpr, block: tl.constexpr,
    early: tl.constexpr,
):
    """Rows of [q | k | v] to rotated queries, and rotated keys and values in the cache.

    `block` heads of one token a program; tokens of a sequence follow one another from position
    `start`.
    """
    token = tl.program_id(0)
    sequence = token // length
    position = token % length
    part = (tl.program_id(1) * block + tl.arange(0, block))[:, None]
    d = tl.arange(0, half)[None, :]
    parts: tl.constexpr = heads + 2 * kv_heads
    inside = (part < parts) & (d < half)
    c = tl.load(cos + (start + position) * half + d)
    s = tl.load(sin + (start + position) * half + d)
    overlap(early)
    at = qkv + (token.to(tl.int64) * parts + part) * 2 * half + d
    x1 = tl.load(at, mask=inside, other=0.0)
    x2 = tl.load(at + half, mask=inside, other=0.0)
    f1 = x1.to(tl.float32)
    f2 = x2.to(tl.float32)
    r1 = (f1 * c - f2 * s).to(qkv.dtype.element_ty)
    r2 = (f2 * c + f1 * s).to(qkv.dtype.element_ty)
    of_query = inside & (part < heads)
    to = query + ((sequence * heads + part).to(tl.int64) * length + position) * 2 * half + d
    tl.store(to, r1, mask=of_query)
    tl.store(to + half, r2, mask=of_query)
    row = (sequence * kv_heads + (part - heads) % kv_heads).to(tl.int64) * capacity
    to = (row + start + position) * 2 * half + d
    of_key = inside & (part >= heads) & (part < heads + kv_heads)
    tl.store(keys + to, r1, mask=of_key)
    tl.store(keys + to + half, r2, mask=of_key)
    of_value = inside & (part >= heads + kv_heads)
    tl.store(values + to, x1, mask=of_value)
    tl.store(values + to + half, x2, mask=of_value)
