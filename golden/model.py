"""The golden FBI-LLM: inference with a KV cache, every FBI-linear exact to the bit.

Activations, KV cache and norms are float16 (W1A16). Between FBI-linears each operator computes in
float64 and rounds once to float16, so that its result does not depend on the order of a sum but in
the rarest of ties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .config import ModelConfig
from .errors import InputError
from .folder import PackedModel, load_packed
from .linear import PreparedLinear, check_act_bits

Trace = Callable[[int, str, np.ndarray, np.ndarray], None]
"""Called with (layer, name, x float16 [T, K], y float16 [T, N]) after every FBI-linear."""


@dataclass
class KVCache:
    """Keys (after RoPE) and values of the tokens seen so far.

    Attributes
    ----------
    keys, values
        float16 ``[B, kv_heads, T, head_dim]`` per layer; empty before the first call.
    """

    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return self.keys[0].shape[2] if self.keys else 0

    def append(
        self, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the newest tokens of `layer`; return all its keys and values."""
        if layer == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], key], dim=2)
            self.values[layer] = torch.cat([self.values[layer], value], dim=2)
        return self.keys[layer], self.values[layer]


def _half(x: torch.Tensor) -> torch.Tensor:
    """Round float64 once to float16; torch's own conversion goes through float32: two roundings."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return torch.from_numpy(x.numpy().astype(np.float16))


class GoldenModel:
    """A packed FBI-LLM that computes what the hardware must compute.

    Parameters
    ----------
    packed
        As :func:`golden.folder.load_packed` returns it.
    act_bits
        A: width of the quantized activations of every FBI-linear.
    keep_packed
        Hold binary weights as one bit each in memory: see :class:`golden.linear.PreparedLinear`.
    """

    def __init__(
        self, packed: PackedModel, *, act_bits: int = 16, keep_packed: bool = False
    ) -> None:
        self.config: ModelConfig = packed.config
        self.act_bits = check_act_bits(act_bits)
        self.trace: Trace | None = None
        self._linears = [
            {
                name: PreparedLinear(
                    linear.signs, linear.scale_in, linear.shift_in, keep_packed=keep_packed
                )
                for name, linear in layer.items()
            }
            for layer in packed.linears
        ]
        self._norms = [
            {name: torch.from_numpy(weight).double() for name, weight in layer.items()}
            for layer in packed.norms
        ]
        self._final_norm = torch.from_numpy(packed.final_norm).double()
        self._embedding = torch.from_numpy(packed.embedding)
        self._head = torch.from_numpy(packed.head).float()
        dim = self.config.head_dim
        inverse = self.config.rope_theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angle = torch.arange(self.config.max_position_embeddings).double()[:, None] * inverse
        self._cos = torch.cat([angle.cos()] * 2, dim=1)
        self._sin = torch.cat([angle.sin()] * 2, dim=1)

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, act_bits: int = 16, keep_packed: bool = False
    ) -> GoldenModel:
        """Load a packed model folder; raises InputError as :func:`load_packed` does."""
        return cls(load_packed(folder), act_bits=act_bits, keep_packed=keep_packed)

    @torch.inference_mode()
    def __call__(self, tokens: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        """Return logits float32 ``[B, T, vocab]`` of token ids int64 ``[B, T]``.

        With a cache, the tokens continue those in it, and it grows by them.

        Raises
        ------
        InputError
            If a token is not in the vocabulary, or the positions exceed the model's context.
        """
        hidden = self.hidden_states(tokens, cache)
        return hidden.float() @ self._head.T

    @torch.inference_mode()
    def hidden_states(self, tokens: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        """Return the float16 states ``[B, T, hidden]`` that the head sees."""
        self._check(tokens, cache)
        start = cache.length if cache is not None else 0
        x = self._embedding[tokens]
        for layer in range(self.config.num_hidden_layers):
            normed = self._norm(x, self._norms[layer]["input_layernorm"])
            x = x + self._attention(layer, normed, start, cache)
            normed = self._norm(x, self._norms[layer]["post_attention_layernorm"])
            gate = self._linear(layer, "gate_proj", normed).double()
            up = self._linear(layer, "up_proj", normed).double()
            product = _half(torch.nn.functional.silu(gate) * up)
            x = x + self._linear(layer, "down_proj", product)
        return self._norm(x, self._final_norm)

    def _attention(
        self, layer: int, x: torch.Tensor, start: int, cache: KVCache | None
    ) -> torch.Tensor:
        config = self.config
        batch, length, _ = x.shape

        def heads(name: str, count: int) -> torch.Tensor:
            y = self._linear(layer, name, x)
            return y.view(batch, length, count, config.head_dim).transpose(1, 2)

        query = self._rotate(heads("q_proj", config.num_attention_heads), start)
        key = self._rotate(heads("k_proj", config.num_key_value_heads), start)
        value = heads("v_proj", config.num_key_value_heads)
        if cache is not None:
            key, value = cache.append(layer, key, value)
        group = config.num_attention_heads // config.num_key_value_heads
        key64 = key.double().repeat_interleave(group, dim=1)
        value64 = value.double().repeat_interleave(group, dim=1)
        scores = query.double() @ key64.transpose(2, 3) / config.head_dim**0.5
        seen = key.shape[2]
        future = torch.arange(seen)[None, :] > start + torch.arange(length)[:, None]
        weights = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
        mixed = _half(weights @ value64).transpose(1, 2).reshape(batch, length, -1)
        return self._linear(layer, "o_proj", mixed)

    def _linear(self, layer: int, name: str, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        y = self._linears[layer][name](rows, act_bits=self.act_bits)
        if self.trace is not None:
            self.trace(layer, name, rows.numpy(), y.numpy())
        return y.view(*x.shape[:-1], -1)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        wide = x.double()
        scale = (wide.square().mean(dim=-1, keepdim=True) + self.config.rms_norm_eps).rsqrt()
        return _half(wide * scale * weight)

    def _rotate(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """Apply rotary position embedding, rotate-half form, to ``[B, heads, T, head_dim]``."""
        positions = slice(start, start + x.shape[2])
        wide = x.double()
        first, second = wide.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        return _half(wide * self._cos[positions] + turned * self._sin[positions])

    def _check(self, tokens: torch.Tensor, cache: KVCache | None) -> None:
        if tokens.dtype != torch.int64 or tokens.ndim != 2 or 0 in tokens.shape:
            raise InputError(
                f"tokens must be int64 [B, T] with B, T >= 1, not {tokens.dtype} "
                f"{list(tokens.shape)}"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.config.vocab_size:
            bad = low if low < 0 else high
            raise InputError(
                f"a token id must be from 0 to {self.config.vocab_size - 1}, not {bad}"
            )
        total = tokens.shape[1] + (cache.length if cache is not None else 0)
        if total > self.config.max_position_embeddings:
            raise InputError(
                f"prompt and text must fit the context of {self.config.max_position_embeddings} "
                f"tokens, not {total}"
            )
