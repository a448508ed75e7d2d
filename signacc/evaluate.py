"""Perplexity of a packed model on a text: float, and golden at any A."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from golden.errors import InputError
from golden.generate import load_tokenizer
from golden.model import GoldenModel
from model.evaluate import Perplexity, perplexity
from model.packed import load_float

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


def read_tokens(folder: Path, text: Path) -> tuple[torch.Tensor, float]:
    """Return the token ids of a UTF-8 text file and how many bytes a token spells on average.

    Raises
    ------
    InputError
        If the file is not UTF-8 or has no text.
    """
    try:
        content = text.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{text} must be UTF-8 text: {error}") from None
    ids = load_tokenizer(folder).encode(content).ids
    if not ids:
        raise InputError(f"{text} must hold text, not nothing")
    return torch.tensor(ids), len(content.encode()) / len(ids)


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
        ``float``: fp32 with W~ from the stored float16 scales; ``A<bits>``: the golden model.

    Raises
    ------
    InputError
        If the model or text cannot be read, or a parameter breaks its rule.
    """
    tokens, bytes_per_token = read_tokens(folder, text)
    if arithmetic == "float":
        model = load_float(folder)
        limit = model.config.max_position_embeddings
    else:
        digits = arithmetic.removeprefix("A")
        if not (arithmetic.startswith("A") and digits.isascii() and digits.isdigit()):
            raise InputError(f"arithmetic must be float or A4 to A24, not {arithmetic!r}")
        model = GoldenModel.from_folder(folder, act_bits=int(digits))
        limit = model.config.max_position_embeddings
    if window > limit:
        raise InputError(f"a window must fit the model's context of {limit} tokens, not {window}")
    total = windows if windows is not None else len(tokens) // window
    done = 0

    def logits(part: torch.Tensor) -> torch.Tensor:
        nonlocal done
        scores = model(part)
        done += len(part)
        if step is not None:
            step(done, total)
        return scores

    result = perplexity(logits, tokens, window=window, windows=windows, batch=1)
    return Evaluation(
        arithmetic, result, result.nll / math.log(2) / bytes_per_token
    )
