"""Zero-shot accuracy by log-likelihood, scored as EleutherAI's lm-evaluation-harness does.

Every choice's continuation is scored by the sum of its tokens' log-probabilities after its context.
``acc`` takes the choice of the largest sum, ``acc_norm`` of the largest sum per character of the
choice (without the space before it); ties go to the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from golden.errors import InputError
from golden.generate import encoded

from .evaluate import Logits
from .tasks import Item

PAD = 0
"""Any id: what stands right of a row is neither attended to nor scored."""


@dataclass(frozen=True)
class Accuracy:
    """Result of `zero_shot`.

    Attributes
    ----------
    items
        Questions.
    acc, acc_norm
        Shares of them that were answered right.
    acc_stderr, acc_norm_stderr
        Standard errors of these as samples of all such questions: sqrt(p·(1-p)/(items-1)).
    truncated
        Rows whose context lost its head because it did not fit the model.
    """

    items: int
    acc: float
    acc_norm: float
    acc_stderr: float
    acc_norm_stderr: float
    truncated: int

    def to_dict(self) -> dict[str, float | int]:
        """Return the attributes as a dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class _Row:
    """Token ids that the model reads, and those that it should write at the last places."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], int]:
    """Return the ids of both together, and how many of them are the continuation's.

    Spaces at the end of the context count to the continuation. The context is encoded alone to know
    where it ends, so a token that spans both counts to the continuation.
    """
    body = context.rstrip()
    whole = encoded(tokenizer, context + continuation, add_special_tokens=False).ids
    before = encoded(tokenizer, body, add_special_tokens=False).ids
    return whole, len(whole) - len(before)


def zero_shot(
    logits: Logits,
    tokenizer: Tokenizer,
    items: Sequence[Item],
    *,
    context: int,
    begin: int | None = None,
    batch_tokens: int = 2048,
    device: torch.device | str = "cpu",
    step: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """Answer `items`.

    Parameters
    ----------
    logits : any callable from int64 ``[batch, seq]`` to ``[batch, seq, vocab]``, causal
    context : most tokens that it reads; a longer context loses its head
    begin : token that begins every text, if the model was trained so
    batch_tokens : tokens in one call, about
    device : where `logits` expects its tokens
    step : called with (rows done, rows in all)

    Raises
    ------
    InputError
        If there is no item, or a continuation alone does not fit the model.
    """
    if not items:
        raise InputError("there must be at least one question, not none")
    rows, truncated = [], 0
    for item in items:
        for before, after in zip(item.contexts, item.continuations, strict=True):
            row, cut = _row(tokenizer, before, after, context, begin)
            rows.append(row)
            truncated += cut
    scores = _score(logits, rows, batch_tokens, device, step)
    right = right_norm = 0
    first = 0
    for item in items:
        count = len(item.continuations)
        sums, greedy = zip(*scores[first : first + count], strict=True)
        first += count
        if count == 1:
            right += greedy[0]
            right_norm += greedy[0]
            continue
        length = [len(text.removeprefix(" ")) for text in item.continuations]
        right += _likeliest(sums) == item.gold
        right_norm += _likeliest([s / n for s, n in zip(sums, length, strict=True)]) == item.gold
    n = len(items)
    return Accuracy(n, right / n, right_norm / n, _stderr(right / n, n),
                    _stderr(right_norm / n, n), truncated)


def _row(
    tokenizer: Tokenizer, before: str, after: str, context: int, begin: int | None
) -> tuple[_Row, bool]:
    ids, count = encode_pair(tokenizer, before, after)
    head = [] if begin is None else [begin]
    # A row with no token before the continuation has nothing to predict its first token from.
    count = min(count, len(head) + len(ids) - 1)
    room = context - len(head)
    if count < 1 or count > room:
        raise InputError(f"a continuation must be of 1 to {room} tokens, not {count}: {after!r}")
    inputs = ids[:-1]
    cut = len(inputs) > room
    return _Row(tuple(head + inputs[-room:]), tuple(ids[-count:])), cut


@torch.no_grad()
def _score(
    logits: Logits, rows: list[_Row], batch_tokens: int, device: Any, step: Any
) -> list[tuple[float, bool]]:
    """Return each row's sum of log-probabilities, and whether greedy decoding writes its targets.

    What rows read alike is read once: choices of one token, such as yes and no. Longest first, so
    that what is read together is of about one length.
    """
    wanted: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(rows):
        wanted.setdefault(row.inputs, []).append(i)
    order = sorted(wanted, key=len, reverse=True)
    result: list[tuple[float, bool]] = [(0.0, False)] * len(rows)
    done = 0
    while done < len(order):
        width = len(order[done])
        part = order[done : done + max(1, batch_tokens // width)]
        tokens = torch.full((len(part), width), PAD)
        for place, inputs in enumerate(part):
            tokens[place, : len(inputs)] = torch.tensor(inputs)
        scores = logits(tokens.to(device))
        for place, inputs in enumerate(part):
            for i in wanted[inputs]:
                targets = torch.tensor(rows[i].targets, device=scores.device)
                own = scores[place, len(inputs) - len(targets) : len(inputs)].float()
                nll = F.cross_entropy(own, targets, reduction="sum")
                result[i] = (-float(nll), bool((own.argmax(-1) == targets).all()))
        done += len(part)
        if step is not None:
            step(done, len(order))
    return result


def _likeliest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: values[i])


def _stderr(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / (count - 1)) if count > 1 else math.inf
