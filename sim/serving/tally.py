"""What accelerators did in a stretch of time: whole numbers, so that they add up in any order."""

from __future__ import annotations

from collections.abc import Iterable


class Tally:
    """Sums over iterations.

    Parameters
    ----------
    busy
        Time of the iterations, ps.
    sequence_time
        Time of each iteration times its sequences, ps.
    iterations
        How many there were.
    prompt_tokens, output_tokens
        Tokens read and written.
    attended, cached
        Sums of the passes' own (:class:`sim.workload.Pass`).
    shapes
        How often a pass had so many (tokens, outputs).
    gaps
        Gaps between a sequence's tokens: how many in each bin (``sim.serving.steps.EDGES``).
    """

    __slots__ = (
        "attended", "busy", "cached", "gaps", "iterations", "output_tokens", "prompt_tokens",
        "sequence_time", "shapes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.busy = self.sequence_time = self.iterations = 0
        self.prompt_tokens = self.output_tokens = self.attended = self.cached = 0
        self.shapes: dict[tuple[int, int], int] = {}
        self.gaps: dict[int, int] = {}

    def add(
        self, tokens: int, outputs: int, attended: int, cached: int, sequences: int, time: int
    ) -> None:
        """Count one iteration."""
        self.busy += time
        self.sequence_time += sequences * time
        self.iterations += 1
        self.output_tokens += outputs
        self.attended += attended
        self.cached += cached
        key = (tokens, outputs)
        self.shapes[key] = self.shapes.get(key, 0) + 1

    def add_decode(self, batch: int, steps: int, attended: int, time: int) -> None:
        """Count decode steps of one batch that attend to `attended` positions in all."""
        self.busy += time
        self.sequence_time += batch * time
        self.iterations += steps
        tokens = batch * steps
        self.output_tokens += tokens
        self.attended += attended
        self.cached += attended - tokens
        key = (batch, batch)
        self.shapes[key] = self.shapes.get(key, 0) + steps

    def count_gap(self, index: int, count: int) -> None:
        """Count gaps between tokens of one bin."""
        self.gaps[index] = self.gaps.get(index, 0) + count

    def __iadd__(self, other: Tally) -> Tally:
        for name in (
            "busy", "sequence_time", "iterations", "prompt_tokens", "output_tokens", "attended",
            "cached",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.shapes, other.shapes), (self.gaps, other.gaps)):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        return self

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of tallies."""
        result = cls()
        for tally in tallies:
            result += tally
        return result
