"""One-bit weights from full-precision ones, as the methods of the 1-bit family make them.

Every function takes W ``[N, K]`` and returns :class:`BinaryWeights`: operands of
:func:`golden.linear.fbi_linear`, and what they stand for as float. These are the closed-form
quantizers and initializations; training on top of them is the methods' own business.
docs/families.md has the table of methods, formulas and sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golden.compose import Composed, Operands, residual
from golden.errors import InputError
from golden.pack import pack_signs, pack_ternary, unpack_ternary

Q1_0_GROUP = 128
"""Weights that share a scale in Q1_0 and in MLX's 1-bit format."""

_POWER_STEPS = 1000
_POWER_TOLERANCE = 1e-13


@dataclass(frozen=True, kw_only=True)
class BinaryWeights(Operands):
    """Binary or ternary weights of one layer, packed as the numeric contract says.

    Attributes
    ----------
    method : which function made them
    signs, mask : uint8 ``[N, ceil(K'/8)]``; mask None where no weight is 0
    scale_in, shift_in : float16 ``[K']``; ones and zeros where the method has none
    scale_out : float16 ``[N]``, or ``[N, G]`` with `group_size`, or None
    group_size : inputs that share a scale of an output, or None
    inputs : int64 ``[K']``, or None if K' = K: which element of x stands at each input, -1 for a
        filler; a residual pass reads some elements a second time
    """

    method: str
    signs: Tensor
    scale_in: Tensor
    shift_in: Tensor
    mask: Tensor | None = None
    scale_out: Tensor | None = None
    group_size: int | None = None
    inputs: Tensor | None = None

    def expand(self, x: Tensor) -> Tensor:
        """Return what the layer reads, ``[M, K']``, of token vectors x ``[M, K]``."""
        if self.inputs is None:
            return x
        return x[:, self.inputs.clamp(min=0)].masked_fill(self.inputs < 0, 0)

    def dequantize(self) -> Tensor:
        """Return the weights that these stand for, float64 ``[N, K]``."""
        length = len(self.scale_in)
        weights = unpack_ternary(self.signs, self.mask, length).double() * self.scale_in.double()
        if self.scale_out is not None:
            scales = self.scale_out.double().reshape(len(weights), -1)
            size = length if self.group_size is None else self.group_size
            weights = weights * scales.repeat_interleave(size, dim=1)[:, :length]
        weights = weights + self.shift_in.double()
        if self.inputs is None:
            return weights
        real = self.inputs >= 0
        whole = torch.zeros(len(weights), int(self.inputs.max()) + 1, dtype=torch.float64)
        return whole.index_add_(1, self.inputs[real], weights[:, real])


def fbi(weight: Tensor) -> BinaryWeights:
    """FBI-LLM's initialization: a scale and a shift per input column.

    β_j = column mean of W, α_j = column mean of |W − β_j|, sign of the uncentred W.
    """
    weight = _checked(weight)
    shift = weight.mean(0)
    scale = (weight - shift).abs().mean(0)
    return _binary("fbi", weight, scale_in=scale, shift_in=shift)


def row_scaled(weight: Tensor) -> BinaryWeights:
    """XNOR-Net's scale per output: a_i = row mean of |W|, the best one for a row's signs."""
    weight = _checked(weight)
    return _binary("row_scaled", weight, scale_out=weight.abs().mean(1))


def tensor_scaled(weight: Tensor) -> BinaryWeights:
    """One scale for all weights: the mean of |W|."""
    weight = _checked(weight)
    return _binary("tensor_scaled", weight, scale_out=weight.abs().mean().expand(len(weight)))


def bitnet_b1(weight: Tensor) -> BinaryWeights:
    """BitNet's 1-bit weights: the sign of W less its mean, times the mean of |W|.

    A weight equal to the mean becomes +1 here, as everywhere in this project; −1 in the paper.
    """
    weight = _checked(weight)
    scale = weight.abs().mean().expand(len(weight))
    return _binary("bitnet_b1", weight - weight.mean(), scale_out=scale)


def onebit(weight: Tensor) -> BinaryWeights:
    """OneBit's SVID: sign(W) ⊙ (g·hᵀ), g on outputs and h on inputs, g·hᵀ the best rank 1 of |W|.

    The singular value is shared evenly: |g| = |h| = √σ. OneBit's layer norm after the linear is not
    a part of it.
    """
    weight = _checked(weight)
    outputs, value, inputs = _top_singular(weight.abs())
    root = value.sqrt()
    return _binary("onebit", weight, scale_in=inputs * root, scale_out=outputs * root)


def bitnet_b158(weight: Tensor) -> BinaryWeights:
    """BitNet b1.58's absmean ternary: γ = mean |W|, round(W/γ) clipped to −1 … 1, times γ."""
    weight = _checked(weight)
    scale = weight.abs().mean()
    # A matrix of zeros has γ = 0 and is all 0.
    ternary = (weight / scale if scale > 0 else weight).round().clamp(-1, 1)
    signs, mask = pack_ternary(ternary)
    return BinaryWeights(
        method="bitnet_b158",
        signs=signs,
        mask=mask,
        scale_in=torch.ones(weight.shape[1]).half(),
        shift_in=torch.zeros(weight.shape[1]).half(),
        scale_out=_half("scale_out", scale.expand(len(weight))),
    )


def grouped(weight: Tensor, group_size: int = Q1_0_GROUP) -> BinaryWeights:
    """One scale per output and group of inputs, the mean of |W| there: Q1_0's and MLX's scheme.

    K need not be a multiple of `group_size` (in those formats it must).
    """
    weight = _checked(weight)
    if not isinstance(group_size, int) or isinstance(group_size, bool) or group_size < 1:
        raise InputError(f"group_size must be a positive integer, not {group_size!r}")
    scales = torch.stack([part.abs().mean(1) for part in weight.split(group_size, dim=1)], dim=1)
    return _binary("grouped", weight, scale_out=scales, group_size=group_size)


def from_q1_0(blocks: Tensor) -> BinaryWeights:
    """Read rows of Q1_0 blocks as GGUF files hold them: uint8 ``[N, K/128, 18]``.

    A block is a little-endian float16 scale d and 128 bits, least significant first: 1 is +d and 0
    is −d, which is this project's own order and polarity.
    """
    if not isinstance(blocks, Tensor) or blocks.dtype != torch.uint8 or blocks.ndim != 3:
        raise InputError("blocks must be a uint8 tensor [N, K/128, 18]")
    if 0 in blocks.shape or blocks.shape[2] != 2 + Q1_0_GROUP // 8:
        raise InputError(f"blocks must have shape [N, K/128, 18], not {list(blocks.shape)}")
    raw = blocks.cpu().numpy()
    scales = np.ascontiguousarray(raw[:, :, :2]).view("<f2")[:, :, 0].astype(np.float16)
    inputs = blocks.shape[1] * Q1_0_GROUP
    return BinaryWeights(
        method="q1_0",
        signs=torch.from_numpy(raw[:, :, 2:].reshape(len(raw), -1).copy()),
        scale_in=torch.ones(inputs).half(),
        shift_in=torch.zeros(inputs).half(),
        scale_out=torch.from_numpy(scales),
        group_size=Q1_0_GROUP,
    )


def salience(weight: Tensor, activations: Tensor | None = None, *, damping: float = 0.01) -> Tensor:
    """Return a score per column ``[K]`` for choosing salient columns.

    Without `activations` the sum of W² of the column. With a sample of the layer's inputs
    ``[samples, K]`` the sum of W² / (H⁻¹_jj)², H = 2·XᵀX with `damping` times its mean diagonal
    added: the Hessian score of BiLLM.
    """
    weight = _checked(weight)
    if activations is None:
        return weight.square().sum(0)
    if activations.ndim != 2 or activations.shape[1] != weight.shape[1] or not len(activations):
        raise InputError(
            f"activations must have shape [samples, {weight.shape[1]}], "
            f"not {list(activations.shape)}"
        )
    x = activations.double()
    if not x.isfinite().all():
        raise InputError("activations must be finite; they hold NaN or Inf")
    hessian = 2 * x.T @ x
    hessian.diagonal().add_(damping * hessian.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if failed:
        raise InputError(
            f"activations must not be all 0 and damping must be above 0, not {damping}: "
            f"their Hessian is singular"
        )
    inverse = torch.cholesky_inverse(factor).diagonal()
    return weight.square().sum(0) / inverse.square()


def billm(
    weight: Tensor, columns: int, *, score: Tensor | None = None, align: int = 1
) -> BinaryWeights:
    """Residual binarization of salient columns, row scales: BiLLM's scheme for its salient part.

    The `columns` columns of the highest `score` (default: :func:`salience` of W) are salient. First
    pass, all columns: sign(W) times the row mean of |W| over the others. Second pass, salient
    columns: the sign of what is left times the row mean of its magnitude. BiLLM's split of the
    other columns by magnitude, its blocks and its error compensation are not a part of it.

    Parameters
    ----------
    align : the first pass is filled up with zero inputs to a multiple of this
    """
    weight = _checked(weight)
    k = weight.shape[1]
    if not isinstance(columns, int) or isinstance(columns, bool) or not 1 <= columns <= k:
        raise InputError(f"columns must be from 1 to {k}, not {columns!r}")
    score = salience(weight) if score is None else score
    if score.shape != (k,) or score.isnan().any():
        raise InputError(f"score must have shape [{k}] and no NaN, not {list(score.shape)}")
    salient = score.argsort(descending=True, stable=True)[:columns].sort().values
    others = torch.ones(k, dtype=torch.bool)
    others[salient] = False
    base = weight[:, others] if columns < k else weight
    first = _half("scale_out", base.abs().mean(1))
    signs = torch.where(weight >= 0, 1.0, -1.0).double()
    rest = (weight - first.double()[:, None] * signs)[:, salient]
    second = _half("scale_out of the second pass", rest.abs().mean(1))
    layer: Composed = residual(
        pack_signs(weight).numpy(),
        np.ones(k, np.float16),
        np.zeros(k, np.float16),
        salient=salient.numpy(),
        salient_signs=pack_signs(rest).numpy(),
        salient_scale_in=np.ones(columns, np.float16),
        scale_out=first.numpy(),
        salient_scale_out=second.numpy(),
        align=align,
    )
    return BinaryWeights(
        method="billm",
        signs=torch.from_numpy(layer.signs),
        scale_in=torch.from_numpy(layer.scale_in),
        shift_in=torch.from_numpy(layer.shift_in),
        scale_out=torch.from_numpy(layer.scale_out),
        group_size=layer.group_size,
        inputs=torch.from_numpy(layer.inputs),
    )


def mixed_scale(gates: Tensor, scales: Tensor) -> Tensor:
    """Return BinaryMoS's scale for one token: experts' `scales` ``[E, L]`` mixed by `gates` [E].

    For ``scale_in`` (L = K) and ``scale_out`` (L = N) alike: a token is then a OneBit layer with
    scales of its own, over the same signs. float16 ``[L]``.
    """
    if gates.ndim != 1 or scales.ndim != 2 or len(gates) != len(scales) or not len(gates):
        raise InputError(
            f"gates and scales must have shapes [E] and [E, L] with E >= 1, "
            f"not {list(gates.shape)} and {list(scales.shape)}"
        )
    return _half("the mixed scale", gates.double() @ scales.double())


def from_onebit(weight: Tensor, input_factor: Tensor, weight_scale: Tensor) -> BinaryWeights:
    """Read a layer of a OneBit inference checkpoint, by its own names.

    `weight` is int8 ``[N, K/8]``, least significant bit first, where 1 means −1: the other polarity
    than here. `input_factor` ``[K]`` is h and `weight_scale` ``[N]`` is g. The layer norm that
    follows is not a part of it.
    """
    if weight.dtype != torch.int8 or weight.ndim != 2 or 0 in weight.shape:
        raise InputError(
            f"weight must be int8 [N, K/8] with N, K >= 1, not {weight.dtype} {list(weight.shape)}"
        )
    outputs, inputs = len(weight), weight.shape[1] * 8
    for name, value, length in (
        ("input_factor", input_factor, inputs),
        ("weight_scale", weight_scale, outputs),
    ):
        if value.shape != (length,):
            raise InputError(f"{name} must have shape [{length}], not {list(value.shape)}")
    return BinaryWeights(
        method="onebit",
        signs=(~weight.cpu()).contiguous().view(torch.uint8),
        scale_in=_half("input_factor", input_factor.detach().cpu().double()),
        shift_in=torch.zeros(inputs).half(),
        scale_out=_half("weight_scale", weight_scale.detach().cpu().double()),
    )


def _binary(
    method: str,
    weight: Tensor,
    *,
    scale_in: Tensor | None = None,
    shift_in: Tensor | None = None,
    scale_out: Tensor | None = None,
    group_size: int | None = None,
) -> BinaryWeights:
    """Return binary weights with the signs of `weight`; what is None is 1, 0 or absent."""
    k = weight.shape[1]
    return BinaryWeights(
        method=method,
        signs=pack_signs(weight),
        scale_in=_half("scale_in", torch.ones(k) if scale_in is None else scale_in),
        shift_in=_half("shift_in", torch.zeros(k) if shift_in is None else shift_in),
        scale_out=None if scale_out is None else _half("scale_out", scale_out),
        group_size=group_size,
    )


def _checked(weight: Tensor) -> Tensor:
    """Return the matrix as float64 on the CPU."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"weight must be a torch tensor, not {type(weight).__name__}")
    if weight.ndim != 2 or 0 in weight.shape:
        raise InputError(
            f"weight must have shape [N, K] with N, K >= 1, not {list(weight.shape)}"
        )
    if not weight.is_floating_point():
        raise InputError(f"weight must be of a floating-point type, not {weight.dtype}")
    if not weight.isfinite().all():
        raise InputError("weight must be finite; it holds NaN or Inf")
    return weight.detach().cpu().double()


def _half(name: str, value: Tensor) -> Tensor:
    """Round once to float16; torch's own conversion of float64 goes through float32."""
    with np.errstate(over="ignore", under="ignore"):
        result = torch.from_numpy(value.contiguous().numpy().astype(np.float16))
    if not result.isfinite().all():
        raise InputError(f"{name} must be finite in fp16; it holds NaN, Inf or above 65504")
    return result


def _top_singular(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(u, σ, v)`` of the largest singular value of a matrix without negative elements.

    Power iteration from the all-ones vector, which is never orthogonal to the top vector: that one
    has no negative elements either (Perron and Frobenius).
    """
    right = torch.ones(matrix.shape[1], dtype=torch.float64)
    right /= right.norm()
    for _ in range(_POWER_STEPS):
        left = matrix @ right
        if not left.norm() > 0:  # all zeros
            return left, left.norm(), right
        left /= left.norm()
        following = matrix.T @ left
        value = following.norm()
        following /= value
        moved = (following - right).norm()
        right = following
        if moved < _POWER_TOLERANCE:
            break
    return left, value, right
