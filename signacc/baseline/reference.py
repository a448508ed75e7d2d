"""Plain float64 decoder on a path's weights: what every path is checked against.

Shares no kernel with the paths. A test holds it to the training model (:mod:`model.fbi`). Any
dtype may be asked for: in a path's own 16-bit format it says what error plain PyTorch would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.teacher import rotate

from .packing import unpack
from .weights import FUSED

if TYPE_CHECKING:  # needs Triton
    from .paths import Path


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


class Reference:
    """The model that a path stands for, with matrices as plain tensors of one dtype.

    Parameters
    ----------
    path
        Gives the matrices (:meth:`signacc.baseline.paths.Path.dense`), norms, embedding and head.
    dtype
        Of weights and arithmetic.
    act_bits
        Quantize α·x of 1-bit linears to so many bits, as the contract says, and sum in float64;
        None does not quantize.
    """

    def __init__(
        self, path: Path, dtype: torch.dtype = torch.float64, *, act_bits: int | None = None
    ) -> None:
        self.act_bits = act_bits
        self._signs = [{p: path.signs(i, p) for p in FUSED} if act_bits else {}
                       for i in range(path.config.num_hidden_layers)]
        self.config = path.config
        self.dtype = dtype
        layers = range(path.config.num_hidden_layers)
        self.weights = [{p: path.dense(i, p).to(dtype) for p in FUSED} for i in layers]
        frame = path.frame
        self.embedding, self.head = frame.embedding.to(dtype), frame.head.to(dtype)
        self.norms = [tuple(n.to(dtype) for n in pair) for pair in frame.norms]
        self.final_norm = frame.final_norm.to(dtype)
        config = path.config
        d = torch.arange(0, config.head_dim, 2, dtype=torch.float64, device=path.device)
        position = torch.arange(config.max_position_embeddings, device=path.device).double()
        angle = position[:, None] * config.rope_theta ** (-d / config.head_dim)
        self.cos = torch.cat([angle.cos()] * 2, 1).to(dtype)
        self.sin = torch.cat([angle.sin()] * 2, 1).to(dtype)

    def _linear(self, layer: int, part: str, x: Tensor) -> Tensor:
        if self.act_bits is None:
            return x @ self.weights[layer][part].T
        signs = self._signs[layer][part]
        x = x.half().double()
        bits = 2.0 * unpack(signs.packed).double() - 1
        outputs, start = [], 0
        for i, rows in enumerate(signs.rows):
            product = x * signs.alpha[i].double()
            top = product.abs().amax(-1, keepdim=True).clamp(min=2.0**-48)
            unit = torch.exp2(top.log2().floor() - (self.act_bits - 2))
            limit = 2.0 ** (self.act_bits - 1) - 1
            q = (product / unit).round().clamp(-limit, limit)
            y = (q * unit) @ bits[start : start + rows].T
            outputs.append(y + (x * signs.beta[i].double()).sum(-1, keepdim=True))
            start += rows
        return torch.cat(outputs, -1).to(self.dtype)

    def __call__(self, tokens: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Return logits ``[B, vocab]`` of the last of ``tokens [B, T]``.

        `keys` and `values` hold, by layer, the positions before them, ``[B, kv, P, D]``.
        """
        c = self.config
        batch, length = tokens.shape
        past = keys[0].shape[2]
        x = self.embedding[tokens]
        cos, sin = (t[past : past + length] for t in (self.cos, self.sin))
        seen = torch.arange(past + length, device=tokens.device)
        future = seen[None, :] > past + torch.arange(length, device=tokens.device)[:, None]
        for i in range(c.num_hidden_layers):
            heads = self._linear(i, "qkv", _norm(x, self.norms[i][0], c.rms_norm_eps))
            heads = heads.view(batch, length, -1, c.head_dim).transpose(1, 2)
            count, kv = c.num_attention_heads, c.num_key_value_heads
            q, k, v = heads.split([count, kv, kv], dim=1)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            k = torch.cat([keys[i].to(self.dtype), k], 2).repeat_interleave(count // kv, 1)
            v = torch.cat([values[i].to(self.dtype), v], 2).repeat_interleave(count // kv, 1)
            score = (q @ k.transpose(2, 3) / c.head_dim**0.5).masked_fill(future, -torch.inf)
            mixed = (score.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1)
            x = x + self._linear(i, "out", mixed)
            h = self._linear(i, "gate_up", _norm(x, self.norms[i][1], c.rms_norm_eps))
            gate, up = h.chunk(2, -1)
            x = x + self._linear(i, "down", torch.nn.functional.silu(gate) * up)
        return _norm(x[:, -1], self.final_norm, c.rms_norm_eps) @ self.head.T
