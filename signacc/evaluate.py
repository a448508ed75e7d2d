"""Perplexity of a packed model on a text: float, and golden at any A."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from golden.errors import InputError
from golden.generate import load_tokenizer
from model.evaluate import Perplexity, perplexity
from signacc.models import load_model

Step = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


@dataclass(frozen=True)
class Evaluation:
    """Perplexity of one arithmetic on one text.

    Attributes
    ----------
    arithmetic
        ``float`` or ``A<bits>``.
    result
        Perplexity over the windows.
    bits_per_byte
        Of the text that was predicted; comparable between tokenizers.
    """

    arithmetic: str
    result: Perplexity
    bits_per_byte: float


@dataclass(frozen=True)
class TokenizedText:
    """A text and where its tokens lie in it.

    Attributes
    ----------
    content
        The text.
    ids
        Token ids int64 ``[T]``.
    spans
        First and past-the-last character of every token.
    """

    content: str
    ids: torch.Tensor
    spans: list[tuple[int, int]]

    def predicted_bytes(self, window: int, windows: int) -> int:
        """Return the UTF-8 bytes that the predicted tokens spell: all but each window's first."""
        total = 0
        for first in range(0, window * windows, window):
            begin, end = self.spans[first + 1][0], self.spans[first + window - 1][1]
            total += len(self.content[begin:end].encode())
        return total


def read_tokens(folder: Path, text: Path) -> TokenizedText:
    """Return the tokens of a UTF-8 text file.

    Raises
    ------
    InputError
        If the file is not UTF-8 or has no text.
    """
    try:
        content = text.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{text} must be UTF-8 text: {error}") from None
    encoding = load_tokenizer(folder).encode(content)
    if not encoding.ids:
        raise InputError(f"{text} must hold text, not nothing")
    return TokenizedText(content, torch.tensor(encoding.ids), encoding.offsets)


def evaluate(
    folder: Path,
    text: Path,
    *,
    arithmetic: str,
    window: int,
    windows: int | None,
    step: Step | None = None,
) -> Evaluation:
    """Measure perplexity in windows without overlap.

    Parameters
    ----------
    arithmetic
        See :func:`signacc.models.load_model`.

    Raises
    ------
    InputError
        If the model or text cannot be read, or a parameter breaks its rule.
    """
    tokens = read_tokens(folder, text)
    model = load_model(folder, arithmetic)
    limit = model.config.max_position_embeddings
    if window > limit:
        raise InputError(f"a window must fit the model's context of {limit} tokens, not {window}")
    total = windows if windows is not None else len(tokens.ids) // window
    done = 0

    def logits(part: torch.Tensor) -> torch.Tensor:
        nonlocal done
        scores = model(part)
        done += len(part)
        if step is not None:
            step(done, total)
        return scores

    result = perplexity(logits, tokens.ids, window=window, windows=windows, batch=1)
    predicted = result.windows * (window - 1)
    spelled = tokens.predicted_bytes(window, result.windows) / predicted
    return Evaluation(arithmetic, result, result.bits_per_byte(spelled))
