"""A pass: token vectors that go through the layers together, and the attention they need.

Only four sums over the sequences of a pass matter to its cost, so that is all a pass holds. Passes
of sequences that run together add up: ``Pass.of([...])`` takes prompts and decoded tokens alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..checks import check_integer


@dataclass(frozen=True)
class Pass:
    """Sums over the sequences of one pass.

    Parameters
    ----------
    tokens
        Token vectors that every linear is applied to.
    attended
        Positions attended to, summed over the tokens; a token attends to itself as well.
    cached
        Positions whose keys and values come from the KV cache in memory, summed over sequences.
        Keys of the pass's own tokens are still on chip.
    outputs
        Token vectors that go through the head (the last one of a prompt, every decoded one).
    """

    tokens: int
    attended: int
    cached: int
    outputs: int

    def __add__(self, other: Pass) -> Pass:
        if not isinstance(other, Pass):
            return NotImplemented
        return Pass(
            self.tokens + other.tokens,
            self.attended + other.attended,
            self.cached + other.cached,
            self.outputs + other.outputs,
        )

    @classmethod
    def of(cls, sequences: Iterable[tuple[int, int, int]]) -> Pass:
        """Return the pass of sequences ``(new tokens, tokens before them, outputs)``.

        ``attended = new * before + new * (new + 1) / 2`` for each.
        """
        tokens = attended = cached = outputs = 0
        for new, before, out in sequences:
            tokens += new
            attended += new * before + new * (new + 1) // 2
            cached += before
            outputs += out
        return cls(tokens, attended, cached, outputs)

    @classmethod
    def decode(cls, batch: int, context: int) -> Pass:
        """Return one new token for `batch` sequences, each attending to `context` positions."""
        return cls(batch, batch * context, batch * (context - 1), batch)


def decode_passes(batch: int, context: int, most: int) -> Iterator[Pass]:
    """Yield the passes of one decode step: `batch` sequences, at most `most` tokens a pass."""
    for name, value in (("batch", batch), ("context", context), ("tokens of a pass", most)):
        check_integer(name, value, 1)
    for start in range(0, batch, most):
        yield Pass.decode(min(most, batch - start), context)


def prefill_passes(batch: int, prompt: int, most: int) -> Iterator[Pass]:
    """Yield the passes that read `batch` prompts of `prompt` tokens, at most `most` tokens a pass.

    Passes are filled in order: the rest of a prompt shares a pass with the start of the next one.
    """
    for name, value in (("batch", batch), ("prompt", prompt), ("tokens of a pass", most)):
        check_integer(name, value, 1)
    parts: list[tuple[int, int, int]] = []
    room = most
    for _ in range(batch):
        done = 0
        while done < prompt:
            new = min(room, prompt - done)
            parts.append((new, done, int(done + new == prompt)))
            done += new
            room -= new
            if not room:
                yield Pass.of(parts)
                parts, room = [], most
    if parts:
        yield Pass.of(parts)
