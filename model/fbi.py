"""FBI-LLM in PyTorch: the fully binarized linear with its straight-through estimator, and a
LLaMA-shaped decoder made of it.

Every linear of a decoder layer is binarized; embedding, norms and ``lm_head`` stay in full
precision. With ``binary=False`` the same decoder has plain linears: the full-precision twin.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golden.config import ModelConfig
from golden.errors import InputError
from golden.model import KVCache

from .teacher import rms_norm, rope_table, rotate

INIT_STD = 0.02

LayerCache = tuple[KVCache, int] | None
"""A cache of keys and values, and which layer of it."""


class _Binarize(torch.autograd.Function):
    """``W~ = wscale·sign(W) + wbias``; the gradient passes the sign unchanged (identity)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, wscale: Tensor, wbias: Tensor) -> Tensor:
        ctx.save_for_backward(weight, wscale)
        return wscale * weight.sign() + wbias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, wscale = ctx.saved_tensors
        return (
            grad * wscale,
            (grad * weight.sign()).sum(0, keepdim=True),
            grad.sum(0, keepdim=True),
        )


def binarize(weight: Tensor, wscale: Tensor, wbias: Tensor) -> Tensor:
    """Return ``wscale·sign(weight) + wbias`` with the straight-through gradient.

    Parameters
    ----------
    weight : ``[out, in]``, the latent weights; sign(0) = 0, as in the published training code
    wscale, wbias : ``[1, in]``, scale and shift of each input column

    Gradients: ``∂W = ∂W~·wscale`` (sign treated as the identity, no clipping),
    ``∂wscale = Σ_out ∂W~·sign(W)``, ``∂wbias = Σ_out ∂W~``.
    """
    return _Binarize.apply(weight, wscale, wbias)


class FbiLinear(nn.Module):
    """Linear layer with 1-bit weights, no bias: ``y = x·W~ᵀ``, ``W~ = wscale·sign(W) + wbias``.

    Attributes
    ----------
    weight : fp32 ``[out, in]``, latent
    wscale, wbias : fp32 ``[1, in]``
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise InputError(f"inputs and outputs must be positive, not {inputs} and {outputs}")
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(std=INIT_STD))
        self.wscale = nn.Parameter(torch.empty(1, inputs))
        self.wbias = nn.Parameter(torch.empty(1, inputs))
        self.reset_scales()

    @torch.no_grad()
    def reset_scales(self) -> None:
        """Set wbias to the column mean of W and wscale to the column mean of |W - wbias|."""
        self.wbias.copy_(self.weight.mean(0, keepdim=True))
        self.wscale.copy_((self.weight - self.wbias).abs().mean(0, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., out]`` of ``x [..., in]``."""
        return F.linear(x, binarize(self.weight, self.wscale, self.wbias))


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight ``[hidden]``; statistics in fp32."""

    def __init__(self, hidden: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed ``x [..., hidden]``, in its dtype."""
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; grouped-query when configured."""

    def __init__(self, config: ModelConfig, linear: type[nn.Module]) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            outputs, inputs = config.linear_shape(name)
            self.add_module(name, linear(inputs, outputs))
        self.grouped = config.num_key_value_heads != config.num_attention_heads

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache = None) -> Tensor:
        """Return ``[batch, seq, hidden]`` of ``x [batch, seq, hidden]``."""
        q, k, v = (
            p(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        seen = None
        if cache is not None:
            store, layer = cache
            k, v = store.append(layer, k, v)
            before = k.shape[2] - q.shape[2]
            if before:  # query i sees what was before it, and itself
                seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
                seen = seen.tril(before)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, is_causal=seen is None, enable_gqa=self.grouped
        )
        return self.o_proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """SwiGLU feed-forward block."""

    def __init__(self, config: ModelConfig, linear: type[nn.Module]) -> None:
        super().__init__()
        for name in ("gate_proj", "up_proj", "down_proj"):
            outputs, inputs = config.linear_shape(name)
            self.add_module(name, linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., hidden]`` of ``x [..., hidden]``."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer."""

    def __init__(self, config: ModelConfig, linear: type[nn.Module]) -> None:
        super().__init__()
        self.self_attn = Attention(config, linear)
        self.mlp = Mlp(config, linear)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache = None) -> Tensor:
        """Return ``[batch, seq, hidden]`` of ``x [batch, seq, hidden]``."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


def _plain_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=INIT_STD)
    return linear


class _Decoder(nn.Module):
    def __init__(self, config: ModelConfig, linear: Any) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=INIT_STD)
        self.layers = nn.ModuleList(
            DecoderLayer(config, linear) for _ in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class FbiLlm(nn.Module):
    """The decoder with its head; parameter names are those of the published checkpoints.

    Parameters
    ----------
    config : shape of the model
    binary : FBI-linears if true, plain full-precision linears (the twin) if false
    """

    def __init__(self, config: ModelConfig, *, binary: bool = True) -> None:
        super().__init__()
        self.config = config
        self.binary = binary
        self.model = _Decoder(config, FbiLinear if binary else _plain_linear)
        self.lm_head = _plain_linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.reset_rope()

    def reset_rope(self) -> None:
        """Compute the rotary tables, fp32 ``[positions, head_dim]``, again."""
        c = self.config
        cos, sin = rope_table(c.max_position_embeddings, c.head_dim, c.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits ``[batch, seq, vocab]`` of int64 ``tokens [batch, seq]``.

        With a cache, the tokens continue those in it, and it grows by them.

        Raises
        ------
        InputError
            If there are more tokens than the model has positions.
        """
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        if end > self.config.max_position_embeddings:
            raise InputError(
                f"a sequence must have at most {self.config.max_position_embeddings} tokens, "
                f"not {end}"
            )
        x = self.model.embed_tokens(tokens)
        cos, sin = self.cos[start:end], self.sin[start:end]
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, None if cache is None else (cache, i))
        return self.lm_head(self.model.norm(x))
