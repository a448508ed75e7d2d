"""The Triton kernels of :mod:`.kernels` as functions of tensors."""

from __future__ import annotations

import torch
import triton
from torch import Tensor, empty, float32

from . import kernels
from .kernels import NORM, PLAIN, SILU

__all__ = ["NORM", "PLAIN", "SILU", "attend", "can_overlap", "early", "gemv", "rms_norm", "rotate",
           "silu_mul", "splits_for"]

_BLOCK_T = 64
_BLOCK_HEADS = 8  # one at a time made 16 us of 13 MB at 256 vectors of fbi-7b (H200, measured)


def can_overlap(device: torch.device) -> bool:
    """Return whether kernels may start before the one ahead has ended: on Hopper and later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 9


def early(overlap: bool) -> dict[str, object]:
    """Return launch options of a kernel that overlaps with the one before, or not."""
    return {"early": True, "launch_pdl": True} if overlap else {"early": False}


def rms_norm(x: Tensor, weight: Tensor, eps: float, overlap: bool = False) -> Tensor:
    """Return the normed rows of ``x [M, K]``; `overlap` as in :func:`gemv`."""
    y = torch.empty_like(x)
    size = x.shape[1]
    block = triton.next_power_of_2(size)
    kernels.rms_norm_kernel[(len(x),)](
        x, weight, y, eps, size=size, block=block, num_warps=min(16, max(4, block // 512)),
        **early(overlap),
    )
    return y


def silu_mul(x: Tensor, overlap: bool = False) -> Tensor:
    """Return ``silu(gate)·up [M, K]`` of ``x [M, 2K]`` = [gate | up]; see :func:`rms_norm`."""
    size = x.shape[1] // 2
    y = empty((len(x), size), dtype=x.dtype, device=x.device)
    kernels.silu_mul_kernel[(len(x), triton.cdiv(size, 1024))](
        x, y, size=size, block=1024, **early(overlap)
    )
    return y


def gemv(
    weight: Tensor, x: Tensor, y: Tensor, *, prologue: int = PLAIN, gain: Tensor | None = None,
    eps: float = 0.0, residual: bool = False, rows: int, block: int, warps: int, unroll: int,
    overlap: bool = False,
) -> Tensor:
    """Write ``weight [N, K]`` times f of the one vector ``x`` into ``y [1, N]``, and return it.

    With `residual` it is added to what `y` holds. `rows` outputs and `block` inputs make
    a tile of a program of `warps`, which unrolls `unroll` of them;
    `overlap` starts it while the kernel ahead still runs.
    """
    outputs, size = weight.shape
    kernels.gemv_kernel[(triton.cdiv(outputs, rows),)](
        weight, x, weight if gain is None else gain, y, outputs, eps,
        size=size, prologue=prologue, residual=residual, rows=rows, block=block, unroll=unroll,
        num_warps=warps, **early(overlap),
    )
    return y


def splits_for(pairs: int, last: int, processors: int) -> int:
    """Return into how many spans decode attention cuts the cache: two programs a processor."""
    wanted = max(1, -(-2 * processors // pairs))
    spans = -(-last // _BLOCK_T)
    each = max(1, spans // min(wanted, spans)) if spans else 1
    return max(1, -(-spans // each))


def attend(
    qkv: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, last: int, *,
    heads: int, splits: int, overlap: bool = False,
) -> Tensor:
    """Return ``[B, heads·D]``: a new token at position `last` attends to all up to itself.

    Parameters
    ----------
    qkv
        ``[B, (heads + 2 kv)·D]``, before rotation.
    cos, sin
        float32 ``[positions, D/2]``.
    keys, values
        Cache ``[B, kv, capacity, D]``; position `last` is written.
    splits
        Spans of the cache computed side by side, at most one a 64 positions.
    overlap
        Start while the kernel ahead still runs.
    """
    batch, kv_heads, capacity, dim = keys.shape
    span = _BLOCK_T * max(1, -(-last // (splits * _BLOCK_T)))
    pairs = batch * heads
    out = empty((batch, heads * dim), dtype=qkv.dtype, device=qkv.device)
    if splits == 1:
        parts, sums = out, out
    else:
        parts = empty((pairs, splits, dim), dtype=float32, device=qkv.device)
        sums = empty((pairs, splits, 2), dtype=float32, device=qkv.device)
    kernels.attend_kernel[(pairs, splits)](
        qkv, cos, sin, keys, values, parts, sums, last, capacity, dim**-0.5,
        span=span, heads=heads, kv_heads=kv_heads, half=dim // 2, splits=splits, block=_BLOCK_T,
        num_warps=4, **early(overlap),
    )
    if splits > 1:
        kernels.combine_kernel[(pairs,)](
            parts, sums, out, splits=splits, block=triton.next_power_of_2(splits), dim=dim,
            num_warps=4, **early(overlap),
        )
    return out


def rotate(
    qkv: Tensor, cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor, *, heads: int,
    start: int = 0, overlap: bool = False,
) -> Tensor:
    """Return rotated queries ``[B, heads, T, D]``; write keys and values of T positions.

    ``qkv [B·T, (heads + 2 kv)·D]``, tokens of a sequence together; the cache is as in
    :func:`attend` and is written from position `start`; so is `overlap`.
    """
    batch, kv_heads, capacity, dim = keys.shape
    length = len(qkv) // batch
    query = empty((batch, heads, length, dim), dtype=qkv.dtype, device=qkv.device)
    kernels.rotate_kernel[(len(qkv), triton.cdiv(heads + 2 * kv_heads, _BLOCK_HEADS))](
        qkv, cos, sin, query, keys, values, length, capacity, start,
        heads=heads, kv_heads=kv_heads, half=dim // 2, block=_BLOCK_HEADS, num_warps=4,
        **early(overlap),
    )
    return query
