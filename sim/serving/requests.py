"""Requests of a run: when they arrive, how long their prompts and outputs are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

PS = 10**12
"""Picoseconds of a second. Times are whole picoseconds, so that sums do not depend on their order:
a fleet of N gives the very numbers of N runs of one, and jumps those of single steps."""

LONGEST_S = 10**6
"""Longest time that a run may take, s: far inside what 64-bit picoseconds hold (9.2e6 s)."""


def picoseconds(seconds: float) -> int:
    """Return a time in s as whole picoseconds."""
    return round(seconds * PS)


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests in order of arrival; arrays of int64 ``[n]``.

    Parameters
    ----------
    arrival
        Time since the start of the run, ps.
    prompt, output
        Tokens that are read and written, each at least 1.

    Raises
    ------
    InputError
        If the arrays differ in length, times go back or are negative, or a length is below 1.
    """

    arrival: np.ndarray
    prompt: np.ndarray
    output: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.arrival) == len(self.prompt) == len(self.output):
            raise InputError(
                f"a request has an arrival, a prompt and an output; there are {len(self.arrival)}, "
                f"{len(self.prompt)} and {len(self.output)} of them"
            )
        if not len(self.arrival):
            return
        if self.arrival[0] < 0 or (np.diff(self.arrival) < 0).any():
            raise InputError("requests must arrive from 0 s on and in order")
        for name in ("prompt", "output"):
            lowest = int(getattr(self, name).min())
            if lowest < 1:
                raise InputError(f"{name} tokens of a request must be at least 1, not {lowest}")

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def positions(self) -> np.ndarray:
        """Token vectors of each request that go through the model: ``prompt + output - 1``.

        The last token is written and not read again.
        """
        return self.prompt + self.output - 1

    def select(self, chosen: np.ndarray) -> Requests:
        """Return the requests that an index array or a mask picks."""
        return Requests(self.arrival[chosen], self.prompt[chosen], self.output[chosen])
