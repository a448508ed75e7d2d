"""A fleet under several loads: its capacity first, then a run for each arrival rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import InputError
from .cost import Prices
from .fleet import Fleet, serve
from .measure import Window, measured
from .requests import LONGEST_S, PS, Requests
from .statistics import BATCHES, half_width

WARM_UP = 0.25
"""Warm-up by measured time, unless it is given."""

ASTRAY = 0.1
"""Share of the rate asked for by which arrivals may be off it before a note says so.

Of n arrivals with independent gaps the rate has a standard deviation of about cv / sqrt(n) of
itself: at 20,000 Poisson arrivals a tenth is fourteen of them, at 20,000 gamma ones of cv 14 it is
one, and load and latency are then of another rate than the row is called by.
"""

STRETCHES = BATCHES
"""Parts of as many completions each that a capacity's confidence interval is from."""


@dataclass(frozen=True)
class Capacity:
    """Requests a second that a fleet can serve.

    Parameters
    ----------
    rate
        As :func:`capacity` returns it.
    ci95
        Half-width of its 95 % confidence interval, by the lengths that were drawn and the waves in
        which equal ones finish; None of at most ``STRETCHES`` completions. It says how far
        another seed's may lie, not what a step's time is off by.
    """

    rate: float
    ci95: float | None


class Source(Protocol):
    """What requests come from: a drawn workload, or a trace."""

    def requests(self, rate: float, span_s: float, seed: int) -> Requests:
        """Return the requests of the first `span_s` seconds at `rate` requests a second."""

    def at_once(self, count: int, seed: int) -> Requests:
        """Return `count` requests that all arrive at 0."""

    def to_dict(self) -> dict[str, object]:
        """Return the source for a report."""


def capacity(fleet: Fleet, source: Source, seed: int = 0) -> float:
    """Return the requests a second that a fleet serves when its queues never empty, by simulation.

    Rejected ones count as well, for nothing: arrivals at this rate are as many as can be served.
    One accelerator is given a stock of requests at once; the rate is that of the middle half to
    finish, times the accelerators. The stock is 40 times the largest batch, at least 1,000, so at
    the end of that half a queue of ten batches is left.

    Raises
    ------
    InputError
        If none of the requests can be served, or the middle half ends in one iteration.
    """
    return measured_capacity(fleet, source, seed).rate


def measured_capacity(fleet: Fleet, source: Source, seed: int = 0) -> Capacity:
    """Return the capacity of :func:`capacity`, with its confidence interval.

    That is by batch means of the same run: of the times that equal counts of completions take. On
    the fleets of docs/serving.md it is as wide as what differs between seeds.

    Raises
    ------
    InputError
        As :func:`capacity`.
    """
    one = replace(fleet, accelerators=1, router="round-robin")
    drawn = source.at_once(max(1000, 40 * fleet.scheduler.max_batch), seed)
    served = serve(one, drawn)
    done = np.sort(served.finish)
    count = len(done)
    if not count:
        raise InputError(
            f"no request fits: prompt and output tokens less 1 must be at most the "
            f"{fleet.machine.model.max_position_embeddings:,} positions of the model and the "
            f"{fleet.cache.positions:,} of the KV cache; the shortest of {len(drawn):,} requests "
            f"takes {int((drawn.prompt + drawn.output).min()) - 1:,}"
        )
    begin, end = count // 4, 3 * count // 4
    if done[end] == done[begin]:
        raise InputError(
            f"a capacity needs more than the {count} requests that fit of "
            f"{count + served.rejected}"
        )
    rate = (end - begin) * PS / int(done[end] - done[begin])
    whole = fleet.accelerators * rate * (count + served.rejected) / count
    return Capacity(whole, _ci95(done[begin : end + 1], whole))


def _ci95(done: np.ndarray, rate: float) -> float | None:
    """Return the half-width of a rate's interval from the times of completions, in order, ps."""
    if len(done) <= STRETCHES:
        return None
    bounds = np.linspace(0, len(done) - 1, STRETCHES + 1).round().astype(np.int64)
    each = np.diff(done[bounds]) / np.diff(bounds)
    half = half_width(each.tolist())
    return None if half is None else rate * half / float(each.mean())


def point(
    fleet: Fleet, source: Source, rate: float, *, requests: int = 20_000,
    duration_s: float | None = None, warm_up_s: float | None = None, seed: int = 0,
    workers: int = 1, prices: Prices | None = None, limit: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, object]:
    """Return what a fleet does at one arrival rate.

    Arrivals stop at the end of the measured time; what is inside is served to its end.

    Parameters
    ----------
    rate
        Requests a second, all accelerators together.
    requests
        Expected arrivals of the measured time, unless `duration_s` gives that.
    warm_up_s
        Time before it; a quarter of it unless given.
    limit
        The fleet's capacity, requests a second, if known.

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    seconds = requests / rate if duration_s is None else duration_s
    warm_up = WARM_UP * seconds if warm_up_s is None else warm_up_s
    if not warm_up + seconds <= LONGEST_S:
        raise InputError(
            f"a run must take at most {LONGEST_S:g} s, not {warm_up + seconds:.3g} s: {rate:.3g} "
            f"requests a second"
        )
    window = Window.of(warm_up, seconds)
    drawn = source.requests(rate, window.end / PS, seed)
    served = serve(
        fleet, drawn, marks=window.marks, seed=seed, workers=workers, progress=progress
    )
    load = None if limit is None else rate / limit
    found = measured(fleet, served, window, prices, load)
    inside = (drawn.arrival >= window.begin) & (drawn.arrival < window.end)
    found["notes"] += _astray(int(inside.sum()) / window.seconds, rate)
    return {
        "load": load,
        "offered_rate": rate,
        "warm_up_s": window.begin / PS,
        "measured_s": window.seconds,
        **found,
    }


def _astray(came: float, asked: float) -> list[str]:
    """Return a note if requests, those rejected among them, came at another rate than asked for."""
    if abs(came - asked) <= ASTRAY * asked:
        return []
    return [
        f"{came:.3g} requests a second arrived in the measured time, not the {asked:.3g} asked "
        "for: take more requests"
    ]


def check_loads(name: str, values: Sequence[float]) -> None:
    """Raise InputError if there is no value, or one is not above 0 and at most 1e9."""
    if not values:
        raise InputError(f"{name} must hold at least one number")
    for value in values:
        if not 0 < value <= 1e9:
            raise InputError(f"{name} must be above 0 and at most 1e9, not {value!r}")
