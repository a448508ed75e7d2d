"""What a 1-bit GEMM multiplies: f(x) with each set of scales folded in, by one kernel a vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from . import ops, sign_gemm
from .weights import Signs

_AT_ONCE = 128
"""Most vectors whose sets of scales are folded in one pass, the faster for a row a processor; for
more, one set after another is, as it needs fewer registers (H200, measured)."""


@dataclass(frozen=True)
class Vectors:
    """M vectors for each set of scales.

    Attributes
    ----------
    values
        ``[sets, M, K]``: α·f(x) in float16, or in int8 on the integer grid of the contract, A = 8.
    shift
        β·f(x), float32 ``[sets, M]``.
    scale, total
        int8 alone: the unit, float32, and Σ values, int32, ``[sets, M]``.
    """

    values: Tensor
    shift: Tensor
    scale: Tensor | None = None
    total: Tensor | None = None


def fold(
    x: Tensor, signs: Signs, prologue: int, gain: Tensor | None, eps: float, overlap: bool = False
) -> Vectors:
    """Return f(x) scaled by each α in float16; `overlap` starts while the kernel ahead runs."""
    return _launch(sign_gemm.fold_kernel, 16, x, signs, prologue, gain, eps, overlap)


def quantize(
    x: Tensor, signs: Signs, prologue: int, gain: Tensor | None, eps: float, overlap: bool = False
) -> Vectors:
    """Return f(x) scaled by each α and quantized to 8 bits, as golden does; see :func:`fold`."""
    return _launch(sign_gemm.quantize_kernel, 8, x, signs, prologue, gain, eps, overlap)


def _launch(
    kernel: triton.JITFunction, bits: int, x: Tensor, signs: Signs, prologue: int,
    gain: Tensor | None, eps: float, overlap: bool,
) -> Vectors:
    sets, inputs = signs.alpha.shape
    each = {"size": (sets, len(x)), "device": x.device}
    made = [
        torch.empty((sets, len(x), inputs), device=x.device,
                    dtype=torch.float16 if bits == 16 else torch.int8),
        torch.empty(**each, dtype=torch.float32),
    ]
    if bits == 8:
        made += [torch.empty(**each, dtype=dtype) for dtype in (torch.float32, torch.int32)]
    block = triton.next_power_of_2(inputs)
    warps = min(16, max(4, block // 512))
    block_g = triton.next_power_of_2(sets) if len(x) <= _AT_ONCE else 1
    kernel[(len(x),)](
        x, x if gain is None else gain, signs.alpha, signs.beta, *made, len(x), eps,
        size=inputs, block=block, sets=sets, block_g=block_g,
        prologue=prologue, num_warps=warps, **ops.early(overlap),
    )
    return Vectors(*made)
