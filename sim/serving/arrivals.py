"""When requests arrive: renewal processes of a given rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import is_number, shown
from ..errors import InputError
from .lengths import Lengths
from .requests import LONGEST_S, PS, Requests

PROCESSES = ("poisson", "deterministic", "gamma")
"""Arrival processes: by the distribution of the time between two arrivals."""

MOST_REQUESTS = 20_000_000
"""Requests that a run may have: some 300 bytes each."""

LEAST_CV = 1e-6
"""Least deviation of gamma gaps by their mean; with less they are equal: ``deterministic``."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Requests that are drawn.

    Parameters
    ----------
    process
        ``poisson`` (exponential gaps), ``deterministic`` (equal gaps) or ``gamma`` (gaps of a gamma
        distribution with shape ``1 / cv^2``: bursty with cv above 1).
    cv
        Standard deviation of the gaps by their mean, gamma only.
    prompt, output
        Lengths, drawn independently.

    Raises
    ------
    InputError
        If the process is unknown, or cv is out of its range.
    """

    process: str = "poisson"
    cv: float = 1.0
    prompt: Lengths
    output: Lengths

    def __post_init__(self) -> None:
        if self.process not in PROCESSES:
            raise InputError(f"arrivals are one of {', '.join(PROCESSES)}, not {self.process!r}")
        check_cv("cv of arrivals", self.cv)

    def requests(self, rate: float, span_s: float, seed: int) -> Requests:
        """Return the requests of the first `span_s` seconds at `rate` requests a second.

        Raises
        ------
        InputError
            If a number is out of its range, or there would be too many requests.
        """
        check_run(rate, span_s)
        expected = rate * span_s
        gaps, lengths, outputs = (np.random.default_rng([seed, part]) for part in range(3))
        times, last = [], 0.0
        while last <= span_s:
            count = int((expected if not times else 0.1 * expected) + 100)
            more = last + np.cumsum(self._gaps(count, gaps)) / rate
            times.append(more)
            last = float(more[-1])
        arrival = np.concatenate(times)
        arrival = (arrival[arrival < span_s] * PS).astype(np.int64)
        count = len(arrival)
        return Requests(arrival, self.prompt.draw(count, lengths), self.output.draw(count, outputs))

    def _gaps(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return gaps of mean 1."""
        if self.process == "deterministic":
            return np.ones(count)
        if self.process == "poisson":
            return rng.exponential(size=count)
        shape = 1 / self.cv**2
        return rng.gamma(shape, 1 / shape, size=count)

    def at_once(self, count: int, seed: int) -> Requests:
        """Return `count` requests that all arrive at 0."""
        lengths, outputs = (np.random.default_rng([seed, part]) for part in (1, 2))
        return Requests(
            np.zeros(count, dtype=np.int64), self.prompt.draw(count, lengths),
            self.output.draw(count, outputs),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the workload for a report."""
        shape = {"cv": self.cv} if self.process == "gamma" else {}
        return {"arrivals": self.process, **shape, "prompt": self.prompt.to_dict(),
                "output": self.output.to_dict()}


def check_cv(name: str, value: object) -> None:
    """Raise InputError if the deviation of gaps by their mean, called `name`, is out of range."""
    if not is_number(value) or not LEAST_CV <= value <= 100:
        raise InputError(f"{name} must be from {LEAST_CV:g} to 100, not {shown(value)}")


def check_run(rate: float, span_s: float) -> None:
    """Raise InputError if a rate or a span is out of its range, or they give too many requests."""
    for name, value, most in (("rate", rate, 1e9), ("duration", span_s, LONGEST_S)):
        if not is_number(value) or not 0 < value <= most:
            raise InputError(f"{name} must be above 0 and at most {most:g}, not {value!r}")
    if rate * span_s > MOST_REQUESTS:
        raise InputError(
            f"a run can have {MOST_REQUESTS} requests, not {rate * span_s:.3g}: "
            f"{rate:g} a second for {span_s:g} s"
        )
