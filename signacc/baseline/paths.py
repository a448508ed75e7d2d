"""The linears of a decoder, in each number format that is measured; one class a path.

A path reads and adds to the residual stream ``x [M, hidden]``. It knows four steps of a layer,
``qkv``, ``out``, ``gate_up`` and ``down``, and the ``head``. Norms and SwiGLU belong to the linear
behind them, so that a path may fuse them into it; ``out`` and ``down`` add to x in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.config import ModelConfig

from . import ops
from .cache import Cache
from .ops import NORM, PLAIN, SILU
from .plan import EARLY, ONE_LAUNCH
from .weights import FUSED, Frame, Signs, random_frame, random_matrix

PROLOGUES = {"qkv": NORM, "out": PLAIN, "gate_up": NORM, "down": SILU}


@dataclass(frozen=True)
class Tile:
    """Shape of a GEMV's work: outputs and inputs of a tile, warps of a program, tiles unrolled."""

    rows: int
    block: int
    warps: int
    unroll: int


def gemv_tile(outputs: int, inputs: int) -> Tile:
    """Return the tile for a matrix; the fastest of 50 measured on the shapes of fbi-7b (H200)."""
    if outputs >= 16384:
        return Tile(8, 256, 2, 4)
    if outputs > inputs:
        return Tile(4, 512, 4, 1)
    return Tile(8, 512, 4 if inputs >= 8192 else 8, 4)


class Path(ABC):
    """The linears of one model.

    Attributes
    ----------
    name
        ``bf16``, ``int4`` or ``sign``, as in the records.
    dtype
        Of activations, cache, embedding, norms and head.
    act_bits
        Bits of quantized activations; None if they stay floating point.
    frame
        Embedding, head and norms.
    one_launch
        Whether :meth:`step` makes the decode step of one vector.
    overlap, overlap_many, overlap_rope
        Whether kernels start while the one ahead still runs: those of few vectors, of many, and
        RoPE ahead of the library's attention.
    """

    name: str
    dtype: torch.dtype
    act_bits: int | None = None
    one_launch = False

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.start_early(self.early_ways[0])
        self.frame: Frame = random_frame(config, self.dtype, device)

    @property
    def early_ways(self) -> tuple[str, ...]:
        """What of :data:`.plan.EARLY` makes a difference to the path on this device."""
        if not ops.can_overlap(self.device):
            return ("none",)
        return tuple(way for way in EARLY if way not in ("all, at once", ONE_LAUNCH))

    def start_early(self, way: str) -> None:
        """Let the kernels of one of :data:`.plan.EARLY` start while the one ahead ends."""
        self.overlap = self.overlap_many = way != "none"
        self.overlap_rope = way.startswith("all") and way != "all but RoPE"

    @property
    @abstractmethod
    def weight_bytes(self) -> int:
        """Bytes of the layers' linears that one pass reads."""

    @abstractmethod
    def dense(self, layer: int, part: str) -> Tensor:
        """Return the matrix that a fused linear stands for, ``[N, K]`` float64, for the check."""

    def signs(self, layer: int, part: str) -> Signs:
        """Return a fused 1-bit matrix; only 1-bit paths have any."""
        raise NotImplementedError(f"{self.name} has no signs")

    @abstractmethod
    def linear(self, layer: int, part: str, x: Tensor, y: Tensor | None) -> Tensor:
        """Return the linear of f(x), added to `y` in place if it is given.

        f is the norm before ``qkv`` and ``gate_up``, SwiGLU before ``down``.
        """

    def cache(self, batch: int, capacity: int) -> Cache:
        """Return a cache of the path's numbers on its device; raises torch.OutOfMemoryError."""
        return Cache(self.config, batch, capacity, self.dtype, self.device)

    def step(self, tokens: Tensor, cache: Cache, last: int, cos: Tensor, sin: Tensor) -> Tensor:
        """Return logits ``[1, vocab]`` of one token at position `last`, by a single kernel.

        `cos` and `sin` as in :func:`.ops.attend`; only paths with `one_launch` can.
        """
        raise NotImplementedError(f"{self.name} has no step in one launch")

    def gain(self, layer: int, part: str) -> Tensor | None:
        """Return the norm's weight ``[hidden]`` ahead of a linear, or None."""
        before_attention, before_mlp = self.frame.norms[layer]
        return {"qkv": before_attention, "gate_up": before_mlp}.get(part)

    def prepare(self, layer: int, part: str, x: Tensor) -> Tensor:
        """Return f(x) as a tensor of its own."""
        if PROLOGUES[part] == NORM:
            gain, eps = self.gain(layer, part), self.config.rms_norm_eps
            return ops.rms_norm(x, gain, eps, self.overlap_many)
        return ops.silu_mul(x, self.overlap_many) if PROLOGUES[part] == SILU else x

    def head(self, x: Tensor) -> Tensor:
        """Return logits ``[M, vocab]`` of the residual stream; full precision in every path."""
        weight, eps = self.frame.head, self.config.rms_norm_eps
        if len(x) == 1:
            y = torch.empty((1, len(weight)), dtype=x.dtype, device=x.device)
            return self.fused_gemv(weight, x, y, NORM, self.frame.final_norm, False)
        return F.linear(ops.rms_norm(x, self.frame.final_norm, eps, self.overlap_many), weight)

    def fused_gemv(
        self, weight: Tensor, x: Tensor, y: Tensor, prologue: int, gain: Tensor | None,
        residual: bool,
    ) -> Tensor:
        """Run the dense GEMV."""
        tile = gemv_tile(*weight.shape)
        return ops.gemv(
            weight, x, y, prologue=prologue, gain=gain, eps=self.config.rms_norm_eps,
            residual=residual, rows=tile.rows, block=tile.block, warps=tile.warps,
            unroll=tile.unroll, overlap=self.overlap,
        )


class DensePath(Path):
    """16-bit weights: a fused GEMV for one vector, cuBLAS for more."""

    name = "bf16"
    dtype = torch.bfloat16

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.weights = [
            {part: random_matrix(config, part, self.dtype, device) for part in FUSED}
            for _ in range(config.num_hidden_layers)
        ]

    @property
    def weight_bytes(self) -> int:
        return 2 * self.config.binary_weights

    def dense(self, layer: int, part: str) -> Tensor:
        return self.weights[layer][part].double()

    def linear(self, layer: int, part: str, x: Tensor, y: Tensor | None) -> Tensor:
        weight = self.weights[layer][part]
        if len(x) == 1:
            out = y
            if out is None:
                out = torch.empty((1, len(weight)), dtype=x.dtype, device=x.device)
            return self.fused_gemv(
                weight, x, out, PROLOGUES[part], self.gain(layer, part), y is not None
            )
        h = self.prepare(layer, part, x)
        return F.linear(h, weight) if y is None else y.addmm_(h, weight.T)


INT4_GROUP = 128
"""Inputs that share a scale and a zero point."""


def quantize_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return nearest 4-bit codes of ``weight [N, K]`` in groups of 128 inputs.

    Codes uint8 ``[N, K/2]`` (even input in the high half), and scales with zero points bf16
    ``[K/128, N, 2]``: a weight is ``(code − 8)·scale + zero``, the layout of PyTorch's
    ``aten::_weight_int4pack_mm``.
    """
    outputs, inputs = weight.shape
    groups = weight.float().view(outputs, inputs // INT4_GROUP, INT4_GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scale = ((high - low) / 15).clamp(min=1e-8).bfloat16()
    zero = (low + 8 * scale.float()).bfloat16()
    code = ((groups - zero.float()[..., None]) / scale.float()[..., None]).round() + 8
    code = code.clamp(0, 15).to(torch.uint8).view(outputs, inputs)
    packed = (code[:, ::2] << 4) | code[:, 1::2]
    return packed, torch.stack([scale.T, zero.T], -1).contiguous()


def dense_int4(packed: Tensor, scales: Tensor) -> Tensor:
    """Return the matrix float64 ``[N, K]`` of what :func:`quantize_int4` gave."""
    code = torch.stack([packed >> 4, packed & 15], -1).flatten(1).double() - 8
    scale, zero = (s.T.double().repeat_interleave(INT4_GROUP, 1) for s in scales.unbind(-1))
    return code * scale + zero


class Int4Path(Path):
    """4-bit weights, bf16 activations: PyTorch's own kernel, the one under torchao's INT4."""

    name = "int4"
    dtype = torch.bfloat16
    _INNER = 8  # K tiles a step, as torchao packs

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.weights = [
            {part: self._pack(random_matrix(config, part, self.dtype, device)) for part in FUSED}
            for _ in range(config.num_hidden_layers)
        ]

    def _pack(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        packed, scales = quantize_int4(weight)
        return torch._convert_weight_to_int4pack(packed, self._INNER), scales, packed

    @property
    def weight_bytes(self) -> int:
        return self.config.binary_weights // 2 + self.config.binary_weights // INT4_GROUP * 4

    def dense(self, layer: int, part: str) -> Tensor:
        _, scales, packed = self.weights[layer][part]
        return dense_int4(packed, scales)

    def linear(self, layer: int, part: str, x: Tensor, y: Tensor | None) -> Tensor:
        packed, scales, _ = self.weights[layer][part]
        h = self.prepare(layer, part, x)
        z = torch._weight_int4pack_mm(h, packed, INT4_GROUP, scales)
        return z if y is None else y.add_(z)
