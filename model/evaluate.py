"""Perplexity as published: windows without overlap, ``PPL = exp(mean of the windows' NLLs)``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.errors import InputError

Logits = Callable[[Tensor], Tensor]
"""int64 tokens ``[batch, seq]`` → logits ``[batch, seq, vocab]``."""


@dataclass(frozen=True)
class Perplexity:
    """Result of `perplexity`.

    Attributes
    ----------
    perplexity : exp of the mean over windows of the mean NLL of a window's predicted tokens
    nll : that mean, in nats per predicted token
    windows, window : how many windows, of how many tokens (``window - 1`` of each are predicted)
    """

    perplexity: float
    nll: float
    windows: int
    window: int

    @classmethod
    def of(cls, losses: Tensor, window: int) -> Perplexity:
        """Return the result for the ``losses [windows]`` that `window_losses` gave."""
        nll = float(losses.mean())
        return cls(math.exp(min(nll, 700.0)), nll, len(losses), window)

    def bits_per_byte(self, bytes_per_token: float) -> float:
        """Return bits per byte of text, given how many bytes a token spells on average."""
        return self.nll / math.log(2) / bytes_per_token

    def to_dict(self) -> dict[str, float | int]:
        """Return the attributes as a dictionary."""
        return asdict(self)


@torch.no_grad()
def window_losses(
    logits: Logits,
    tokens: Tensor | Sequence[int],
    *,
    window: int = 1024,
    windows: int | None = None,
    batch: int = 8,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return each window's mean NLL in nats a predicted token, fp64 ``[windows]``.

    Parameters and errors are those of `perplexity`.
    """
    if window < 2:
        raise InputError(f"window must be at least 2 tokens, not {window}")
    stream = torch.as_tensor(tokens, dtype=torch.int64).flatten()
    count = len(stream) // window
    if windows is not None:
        if windows > count:
            raise InputError(f"{windows} windows of {window} need more than {len(stream)} tokens")
        count = windows
    if count < 1:
        raise InputError(f"a window of {window} tokens needs as many, not {len(stream)}")
    table = stream[: count * window].view(count, window)
    losses = []
    for part in table.split(batch):
        part = part.to(device)
        scores = logits(part)[:, :-1].float()
        nll = F.cross_entropy(scores.flatten(0, 1), part[:, 1:].flatten(), reduction="none")
        losses.append(nll.view(len(part), -1).double().mean(1).cpu())
        if not losses[-1].isfinite().all():
            raise InputError(
                "a model's loss must be finite in every window, not NaN or infinite: its weights "
                "or scales overflow"
            )
    return torch.cat(losses)


def perplexity(
    logits: Logits,
    tokens: Tensor | Sequence[int],
    *,
    window: int = 1024,
    windows: int | None = None,
    batch: int = 8,
    device: torch.device | str = "cpu",
) -> Perplexity:
    """Measure perplexity on a token array.

    Parameters
    ----------
    logits : any callable from int64 ``[batch, seq]`` to ``[batch, seq, vocab]``
    tokens : one array of ids; a rest shorter than a window is dropped
    window : tokens a window, at least 2 and at most the model's context
    windows : how many windows from the head; all by default
    batch : windows in one call
    device : where `logits` expects its tokens

    Raises
    ------
    InputError
        If there is not one whole window, `window` is below 2, or a loss is not finite.
    """
    losses = window_losses(
        logits, tokens, window=window, windows=windows, batch=batch, device=device
    )
    return Perplexity.of(losses, window)


def ratio(ours: Tensor, theirs: Tensor) -> dict[str, float | list[float] | int]:
    """Return perplexity over perplexity of two models on the same windows, with its interval.

    Parameters
    ----------
    ours, theirs : fp64 ``[n]``, what `window_losses` gave for the same tokens and window, n >= 2

    ``ci95`` is exp of the mean of the paired differences, plus and minus 1.96 standard errors:
    what other text of the same kind may give, not what another training run may.

    Raises
    ------
    InputError
        If they are not as many, or fewer than two.
    """
    if ours.shape != theirs.shape or ours.ndim != 1 or len(ours) < 2:
        raise InputError(
            f"a ratio needs two windows or more of both models, not {tuple(ours.shape)} and "
            f"{tuple(theirs.shape)}"
        )
    difference = ours - theirs
    mean, error = float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))
    low, high = (math.exp(mean + side * 1.96 * error) for side in (-1, 1))
    return {
        "ratio": round(math.exp(mean), 5),
        "ci95": [round(low, 5), round(high, 5)],
        "windows": len(difference),
    }
