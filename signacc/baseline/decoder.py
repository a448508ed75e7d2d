"""A decoder made of a path's linears: one decode step, and a prefill of whole sequences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.config import ModelConfig

from . import ops
from .cache import Cache
from .paths import Path

LIBRARY_BATCH = 16
"""Sequences from which PyTorch's attention is faster than :func:`.ops.attend` (H200, measured)."""


def rope_halves(config: ModelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cos and sin, float32 ``[positions, D/2]``, of the rotate-half rotary embedding."""
    d = torch.arange(0, config.head_dim, 2, dtype=torch.float64, device=device)
    inverse = config.rope_theta ** (-d / config.head_dim)
    position = torch.arange(config.max_position_embeddings, dtype=torch.float64, device=device)
    angle = position[:, None] * inverse
    return angle.cos().float(), angle.sin().float()


class Decoder:
    """The steps of a model with one path's linears."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path.config
        self.cos, self.sin = rope_halves(path.config, path.device)
        self.processors = (
            torch.cuda.get_device_properties(path.device).multi_processor_count
            if path.device.type == "cuda" else 1
        )

    def decode(self, tokens: Tensor, cache: Cache, last: int) -> Tensor:
        """Return logits ``[B, vocab]`` of tokens int64 ``[B]`` at position `last`."""
        if len(tokens) == 1 and self.path.one_launch:
            return self.path.step(tokens, cache, last, self.cos, self.sin)
        splits = ops.splits_for(
            len(tokens) * self.config.num_attention_heads, last, self.processors
        )
        x = F.embedding(tokens, self.path.frame.embedding)
        for layer in range(self.config.num_hidden_layers):
            qkv = self.path.linear(layer, "qkv", x, None)
            mixed = self._attend(qkv, cache.keys[layer], cache.values[layer], last, splits)
            self._rest(layer, mixed, x)
        return self.path.head(x)

    def _attend(
        self, qkv: Tensor, keys: Tensor, values: Tensor, last: int, splits: int
    ) -> Tensor:
        """Return what a new token at position `last` attends to, ``[B, heads·D]``."""
        heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        if len(qkv) < LIBRARY_BATCH:
            return ops.attend(
                qkv, self.cos, self.sin, keys, values, last, heads=heads, splits=splits,
                overlap=self.path.overlap,
            )
        query = ops.rotate(
            qkv, self.cos, self.sin, keys, values, heads=heads, start=last,
            overlap=self.path.overlap_rope,
        )
        mixed = F.scaled_dot_product_attention(
            query, keys[:, :, : last + 1], values[:, :, : last + 1],
            enable_gqa=heads != kv_heads,
        )
        return mixed.view(len(qkv), -1)

    def prefill(self, tokens: Tensor, cache: Cache, start: int = 0) -> Tensor:
        """Return logits ``[B, vocab]`` of the last position of int64 ``tokens [B, T]``.

        Fills positions 0 to T − 1 of B sequences of the cache, from sequence `start`.
        """
        batch, length = tokens.shape
        heads = self.config.num_attention_heads
        grouped = heads != self.config.num_key_value_heads
        x = F.embedding(tokens.flatten(), self.path.frame.embedding)
        for layer in range(self.config.num_hidden_layers):
            keys, values = (
                c[layer][start : start + batch] for c in (cache.keys, cache.values)
            )
            qkv = self.path.linear(layer, "qkv", x, None)
            query = ops.rotate(
                qkv, self.cos, self.sin, keys, values, heads=heads, overlap=self.path.overlap_rope
            )
            mixed = F.scaled_dot_product_attention(
                query, keys[:, :, :length], values[:, :, :length], is_causal=True,
                enable_gqa=grouped,
            )
            self._rest(layer, mixed.transpose(1, 2).reshape(batch * length, -1), x)
        return self.path.head(x.view(batch, length, -1)[:, -1].contiguous())

    def _rest(self, layer: int, mixed: Tensor, x: Tensor) -> None:
        """Add attention's output linear and the MLP to the residual stream."""
        self.path.linear(layer, "out", mixed, x)
        self.path.linear(layer, "down", self.path.linear(layer, "gate_up", x, None), x)
