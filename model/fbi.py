"""FBI-LLM in PyTorch: the fully binarized linear with its straight-through estimator, and a
LLaMA-shaped decoder made of it.

Every linear of a decoder layer is binarized; embedding, norms and ``lm_head`` stay in full
precision. With ``binary=False`` the same decoder has plain linears: the full-precision twin.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from golden.config import ModelConfig
from golden.errors import InputError
from golden.model import KVCache

from .teacher import rms_norm, rope_table, rotate

INIT_STD = 0.02

REPEATING = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Kernels of attention whose backward pass can repeat to the bit on a GPU
(`model.parallel.exact_backward`)."""

LayerCache = tuple[KVCache, int] | None
"""A cache of keys and values, and which layer of it."""


class _Binarize(torch.autograd.Function):
    """``W~ = wscale·sign(W) + wbias``; the gradient passes the sign unchanged (identity)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, wscale: Tensor, wbias: Tensor) -> Tensor:
        ctx.save_for_backward(weight, wscale)
        ctx.shift_shape = wbias.shape
        return wscale * weight.sign() + wbias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, wscale = ctx.saved_tensors
        return (
            grad * wscale,
            (grad * weight.sign()).sum_to_size(wscale.shape),
            grad.sum_to_size(ctx.shift_shape),
        )


def binarize(weight: Tensor, wscale: Tensor, wbias: Tensor) -> Tensor:
    """Return ``wscale·sign(weight) + wbias`` with the straight-through gradient.

    Parameters
    ----------
    weight : ``[out, in]``, the latent weights; sign(0) = 0, as in the published training code
    wscale, wbias : scale and shift, of a shape that broadcasts to `weight`'s: ``[1, in]`` for
        FBI-LLM, one of each input column

    Gradients: ``∂W = ∂W~·wscale`` (sign treated as the identity, no clipping),
    ``∂wscale = Σ ∂W~·sign(W)``, ``∂wbias = Σ ∂W~``, sums over what each is shared by.
    """
    return _Binarize.apply(weight, wscale, wbias)


def scale_shape(axis: str, outputs: int, inputs: int) -> tuple[int, int]:
    """Return the shape of scale and shift: see `FbiLinear`; raises InputError for another axis."""
    shapes = {"column": (1, inputs), "row": (outputs, 1), "single": (1, 1), "both": (1, inputs)}
    if axis not in shapes:
        raise InputError(f"a scale axis is one of {', '.join(shapes)}, not {axis!r}")
    return shapes[axis]


def initial_scales(weight: Tensor, axis: str) -> dict[str, Tensor]:
    """Return ``wbias``, the mean of W, and ``wscale``, the mean of |W - wbias|, along `axis`.

    With ``both``, ``wrow`` is ones.
    """
    shape = scale_shape(axis, *weight.shape)
    over = [dim for dim in (0, 1) if shape[dim] == 1]
    wbias = weight.mean(over, keepdim=True)
    scales = {"wscale": (weight - wbias).abs().mean(over, keepdim=True), "wbias": wbias}
    if axis == "both":
        scales["wrow"] = weight.new_ones(len(weight), 1)
    return scales


class FbiLinear(nn.Module):
    """Linear layer with 1-bit weights, no bias: ``y = x·W~ᵀ``, ``W~ = wscale·sign(W) + wbias``.

    Parameters
    ----------
    inputs, outputs : width of x and of y
    axis : where scale and shift lie: ``column`` ``[1, in]`` is FBI-LLM; ``row`` ``[out, 1]`` and
        ``single`` ``[1, 1]`` are the other patterns of its published code; ``both`` adds
        ``wrow [out, 1]`` to column's: ``W~ = wrow·wscale·sign(W) + wbias``

    Attributes
    ----------
    weight : fp32 ``[out, in]``, latent
    wscale, wbias : fp32, of the shape that `axis` gives
    """

    def __init__(self, inputs: int, outputs: int, axis: str = "column") -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise InputError(f"inputs and outputs must be positive, not {inputs} and {outputs}")
        self.axis = axis
        shape = scale_shape(axis, outputs, inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(std=INIT_STD))
        self.wscale = nn.Parameter(torch.empty(shape))
        self.wbias = nn.Parameter(torch.empty(shape))
        if axis == "both":
            self.wrow = nn.Parameter(torch.empty(outputs, 1))
        self.reset_scales()

    @torch.no_grad()
    def reset_scales(self) -> None:
        """Set the scales from W: see `initial_scales`."""
        for name, value in initial_scales(self.weight, self.axis).items():
            getattr(self, name).copy_(value)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., out]`` of ``x [..., in]``."""
        scale = self.wscale * self.wrow if self.axis == "both" else self.wscale
        return F.linear(x, binarize(self.weight, scale, self.wbias))


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight ``[hidden]``; statistics in fp32."""

    def __init__(self, hidden: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed ``x [..., hidden]``, in its dtype."""
        return rms_norm(x, self.weight, self.eps)


def _must_repeat(q: Tensor) -> bool:
    return (
        q.device.type == "cuda"
        and torch.is_grad_enabled()
        and torch.are_deterministic_algorithms_enabled()
    )


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, grouped: bool) -> Tensor:
    """Return PyTorch's fused attention, causal unless `seen` says what a query sees.

    ``q [batch, heads, seq, head_dim]``; k and v alike, with fewer heads if `grouped`. While
    training is to repeat on a GPU (`model.parallel.repeat_to_the_bit`) it is not cuDNN's, which
    PyTorch prefers on Hopper: its backward pass adds up the gradient of the queries in an order
    that changes from run to run.
    """
    call = partial(
        F.scaled_dot_product_attention, q, k, v,
        attn_mask=seen, is_causal=seen is None, enable_gqa=grouped,
    )  # fmt: skip
    if not _must_repeat(q):
        return call()
    # in the compiled graph, not around it: PyTorch's cache of such graphs on disk does not ask
    # which kernels were allowed
    with sdpa_kernel(REPEATING):
        return call()


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
        # one by one: after one joined product their gradients must be put side by side, which a
        # compiled kernel does at a tenth of the memory's speed (docs/training.md)
        q, k, v = (
            p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        # before heads and positions change places: so the gradient stands as the products read it,
        # and a compiled backward pass writes it once and not twice
        cos, sin = cos.to(q.dtype)[:, None], sin.to(q.dtype)[:, None]
        q, k, v = (t.transpose(1, 2) for t in (rotate(q, cos, sin), rotate(k, cos, sin), v))
        seen = None
        if cache is not None:
            store, layer = cache
            k, v = store.append(layer, k, v)
            before = k.shape[2] - q.shape[2]
            if before:  # query i sees what was before it, and itself
                seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
                seen = seen.tril(before)
        y = attend(q, k, v, seen, self.grouped)
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
    scale_axis : of the FBI-linears
    """

    def __init__(
        self, config: ModelConfig, *, binary: bool = True, scale_axis: str = "column"
    ) -> None:
        super().__init__()
        self.config = config
        self.binary = binary
        self.recompute = False
        """If true, training keeps each layer's input alone and computes it again backwards."""
        linear = partial(FbiLinear, axis=scale_axis) if binary else _plain_linear
        self.model = _Decoder(config, linear)
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

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, in order."""
        return self.model.layers

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return the final normed hidden states ``[batch, seq, hidden]``, what the head reads.

        Under autocast the residual stream is of autocast's dtype, as in training with bf16
        parameters: at small hidden sizes an fp32 stream would cost more time than the products.

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
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        cos, sin = self.cos[start:end], self.sin[start:end]
        for i, layer in enumerate(self.model.layers):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, cos, sin, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, cos, sin, None if cache is None else (cache, i))
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        """Return what the head reads of the last layer's ``x [batch, seq, hidden]``."""
        return self.model.norm(x)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits ``[batch, seq, vocab]`` of int64 ``tokens [batch, seq]``; raises as
        `features` does."""
        return self.lm_head(self.features(tokens, cache))
