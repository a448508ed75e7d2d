"""The check that a path must pass before it is timed.

Two levels, both on random inputs drawn afresh:

- a whole model of the measured widths, two layers deep, decode and prefill, against float64
  (:mod:`.reference`): the relative error of the logits may be at most twice that of plain PyTorch
  in the path's own 16-bit format. Twice, because a path may order its roundings differently, never
  add as many again. Behind 8-bit quantizers a rounding flips integers, by luck that differs from
  draw to draw; there both the truth and plain PyTorch quantize as the path does;
- for the 1-bit path, each linear against golden's, which is exact (:func:`check_linears`).

NaN or infinity ends a check at once: no error of it would say where it began.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from golden.config import ModelConfig
from golden.linear import fbi_linear

from .decoder import Decoder
from .errors import GateError
from .finite import Finite
from .paths import Path
from .reference import Reference
from .weights import FUSED

LAYERS = 2
ROUNDINGS = 2.0
"""How many times the error of plain 16-bit PyTorch a path may have."""

SIGMAS = 6.0
"""Width of the interval for a sum of independent rounding errors: one in 10^9 lies outside."""


@dataclass(frozen=True)
class Check:
    """Result of one check: relative error, what was allowed, and of which inputs."""

    what: str
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the error is a number and small enough."""
        return bool(np.isfinite(self.error)) and self.error <= self.allowed

    def to_dict(self) -> dict[str, object]:
        """Return the fields, and whether it passed."""
        return asdict(self) | {"passed": self.passed}


def relative_error(out: Tensor, truth: Tensor) -> float:
    """Return ``‖out − truth‖ / ‖truth‖``."""
    return float((out.double() - truth).norm() / truth.norm())


def shallow(config: ModelConfig) -> ModelConfig:
    """Return the model with two layers: the same matrices and kernels, a small reference."""
    return replace(config, num_hidden_layers=min(LAYERS, config.num_hidden_layers))


class _Compare:
    """Compares logits of a path with float64 on the same inputs."""

    def __init__(self, path: Path, batch: int) -> None:
        self.path, self.batch = path, batch
        quantizers = 8 if path.act_bits == 8 else None  # those of 16 bits are finer than float16
        self.exact = Reference(path, act_bits=quantizers)
        self.plain = Reference(path, path.dtype, act_bits=quantizers)

    def __call__(
        self, what: str, tokens: Tensor, keys: list[Tensor], values: list[Tensor], out: Tensor
    ) -> Check:
        truth = self.exact(tokens, keys, values)
        allowed = ROUNDINGS * relative_error(self.plain(tokens, keys, values), truth)
        return Check(f"{what}, batch {self.batch}", relative_error(out, truth), allowed)

    def decode(self, past: int) -> Check:
        """Check one decode step after `past` positions."""
        path, batch = self.path, self.batch
        tokens = torch.randint(0, path.config.vocab_size, (batch, 1), device=path.device)
        cache = path.cache(batch, past + 3)
        before = [[c[:, :, :past].clone() for c in side] for side in (cache.keys, cache.values)]
        what = f"decode at position {past}"
        out = Decoder(Finite(path, f"{what}, batch {batch}")).decode(tokens[:, 0], cache, past)
        return self(what, tokens, *before, out)

    def prefill(self, length: int) -> Check:
        """Check a prefill of `length` positions."""
        path, batch = self.path, self.batch
        tokens = torch.randint(0, path.config.vocab_size, (batch, length), device=path.device)
        cache = path.cache(batch, length)
        none = [c[:, :, :0] for c in cache.keys]
        what = f"prefill of {length}"
        out = Decoder(Finite(path, f"{what}, batch {batch}")).prefill(tokens, cache)
        return self(what, tokens, none, none, out)


def check_model(path: Path, *, batch: int, past: int, length: int) -> list[Check]:
    """Check one decode step after `past` positions, and a prefill of `length` positions.

    `path` is of :func:`shallow` shape; its weights are used as they are. Without a `length` there
    is no prefill.

    Raises
    ------
    GateError
        If a linear meets or makes NaN or infinity; the message names it.
    """
    compare = _Compare(path, batch)
    return [compare.decode(past), *([compare.prefill(length)] if length else [])]


def check_linears(path: Path, *, count: int) -> Check:
    """Check the first layer's 1-bit linears with golden's exact ones, at the path's width.

    The allowance of output i is one unit in the last place of y, and :data:`SIGMAS` standard
    deviations of K independent roundings of the products α·x (uniform within half an ulp of
    float16, twice: of x itself and of the product; on such bounds Higham & Mary, SIAM J. Sci.
    Comput. 41, 2019). At 8 bits an x that rounds the other way moves an integer by one unit, at
    most once in 16 inputs (2^-11 against 2^-7), which adds as many standard deviations of units.
    The result is the largest error in units of its allowance, so 1 is allowed.
    """
    worst = 0.0
    act_bits = path.act_bits or 16
    for part in FUSED:
        signs = path.signs(0, part)
        inputs = signs.alpha.shape[1]
        width = 2 * inputs if part == "down" else inputs
        x = torch.randn((count, width), device=path.device).to(path.dtype)
        what = f"linears against golden, batch {count}"
        y = Finite(path, what).linear(0, part, x, None).cpu().double().numpy()
        h = path.prepare(0, part, x).cpu().numpy()
        start = 0
        for i, rows in enumerate(signs.rows):
            alpha, beta = signs.alpha[i].cpu().numpy(), signs.beta[i].cpu().numpy()
            packed = signs.packed[start : start + rows].cpu().numpy()
            truth = fbi_linear(h, packed, alpha, beta, act_bits=act_bits).astype(np.float64)
            products = h.astype(np.float64) * alpha
            spread = np.sqrt((products**2).sum(1, keepdims=True) / 3) * 2.0**-10
            if act_bits == 8:
                unit = np.abs(products).max(1, keepdims=True) * 2.0**-6
                spread = spread + unit * np.sqrt(inputs / 16)
            allowed = 2.0**-10 * np.abs(truth) + SIGMAS * spread + 2.0**-24
            error = np.abs(y[:, start : start + rows] - truth) / allowed
            worst = max(worst, float(np.nan_to_num(error, nan=np.inf).max()))
            start += rows
    return Check(f"linears against golden, batch {count}", worst, 1.0)


def require(checks: list[Check]) -> None:
    """Raise GateError unless all checks passed."""
    for check in checks:
        if not check.passed:
            raise GateError(
                f"{check.what}: the error must be at most {check.allowed:.3g}, "
                f"not {check.error:.3g}; this path is not timed"
            )
