"""Random weights of a model's shape, made on the device: full precision, or signs and scales.

Speed and energy do not depend on what a model has learned, but they do on the data being random:
zeros draw less power. Every number is drawn from the distribution that training starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from golden.config import FBI_LINEARS, ModelConfig

from .packing import unpack

INIT_STD = 0.02
"""Standard deviation of latent weights (published training code)."""

FUSED = {"qkv": FBI_LINEARS[:3], "out": ("o_proj",), "gate_up": FBI_LINEARS[4:6],
         "down": ("down_proj",)}
"""Linears that read the same input are one matrix: by the names of golden's linears."""


def fused_shape(config: ModelConfig, part: str) -> tuple[int, int, tuple[int, ...]]:
    """Return (N, K, outputs of each linear in it) of a fused matrix."""
    shapes = [config.linear_shape(name) for name in FUSED[part]]
    rows = tuple(n for n, _ in shapes)
    return sum(rows), shapes[0][1], rows


@dataclass(frozen=True)
class Signs:
    """A fused 1-bit matrix.

    Attributes
    ----------
    packed
        uint8 ``[N, K/8]``, golden's order.
    alpha, beta
        float16 ``[linears, K]``: scale and shift of each input, of each linear in it.
    rows
        Outputs of each linear.
    """

    packed: Tensor
    alpha: Tensor
    beta: Tensor
    rows: tuple[int, ...]


def random_matrix(
    config: ModelConfig, part: str, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the normal weights ``[N, K]`` of a fused matrix."""
    outputs, inputs, _ = fused_shape(config, part)
    return torch.empty((outputs, inputs), dtype=dtype, device=device).normal_(std=INIT_STD)


def random_signs(config: ModelConfig, part: str, device: torch.device) -> Signs:
    """Return random signs with the scales that training starts from, ±20 % from input to input.

    The start has α = E|w| = σ·√(2/π) and β near 0 (facts of a trained 130M: α 0.055…0.191, β
    −0.039…0.027); a spread keeps a mix-up of inputs visible to the check.
    """
    outputs, inputs, rows = fused_shape(config, part)
    packed = torch.randint(0, 256, (outputs, inputs // 8), dtype=torch.uint8, device=device)
    scales = torch.empty((len(rows), inputs), device=device)
    alpha = INIT_STD * (2 / torch.pi) ** 0.5 * scales.uniform_(0.8, 1.2)
    beta = INIT_STD * 0.1 * torch.randn_like(scales)
    return Signs(packed, alpha.half(), beta.half(), rows)


def dense_of(signs: Signs) -> Tensor:
    """Return ``α·s + β`` as float64 ``[N, K]``: the matrix that the signs stand for."""
    bits = unpack(signs.packed)
    repeats = torch.tensor(signs.rows, device=bits.device)
    alpha = signs.alpha.double().repeat_interleave(repeats, 0)
    beta = signs.beta.double().repeat_interleave(repeats, 0)
    return alpha * (2.0 * bits - 1.0) + beta


@dataclass
class Frame:
    """What a model has besides its layers' linears: embedding, head ``[vocab, hidden]``, norms."""

    embedding: Tensor
    head: Tensor
    norms: list[tuple[Tensor, Tensor]]
    final_norm: Tensor


def random_frame(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> Frame:
    """Return a random frame; norms are spread around 1 so that the check sees them."""

    def norm() -> Tensor:
        return torch.empty(config.hidden_size, device=device).uniform_(0.8, 1.2).to(dtype)

    def table() -> Tensor:
        shape = (config.vocab_size, config.hidden_size)
        return torch.empty(shape, dtype=dtype, device=device).normal_(std=INIT_STD)

    norms = [(norm(), norm()) for _ in range(config.num_hidden_layers)]
    return Frame(table(), table(), norms, norm())
