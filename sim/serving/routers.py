"""Routers: which accelerator takes a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from .accelerator import NEVER, Accelerator

BLIND = ("round-robin", "random")
"""Routers that ask nothing of the accelerators."""
ROUTERS = (*BLIND, "least-outstanding", "two-choices")
"""Names of routers."""

Chooser = Callable[[int], int]
"""From the time of an arrival, ps, to the number of an accelerator; called in order of arrival."""


def blind_choice(
    router: str, requests: int, accelerators: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the accelerator of each request, int64 ``[n]``."""
    if router == "round-robin":
        return np.arange(requests, dtype=np.int64) % accelerators
    return rng.integers(accelerators, size=requests)


def chooser(
    router: str, accelerators: Sequence[Accelerator], requests: int, rng: np.random.Generator
) -> Chooser:
    """Return the router's choice among accelerators, which the caller hands each request to."""
    if router == "two-choices" and len(accelerators) > 1:
        return _two_choices(accelerators, requests, rng)
    return _least_outstanding(accelerators)


def _two_choices(
    accelerators: Sequence[Accelerator], requests: int, rng: np.random.Generator
) -> Chooser:
    count = len(accelerators)
    one = rng.integers(count, size=requests)
    other = rng.integers(count - 1, size=requests)
    other += other >= one  # another one, each as likely
    pairs = zip(one.tolist(), other.tolist(), strict=True)

    def choose(time: int) -> int:
        a, b = next(pairs)
        for number in (a, b):
            accelerators[number].advance(time)
        return b if accelerators[b].present(time) < accelerators[a].present(time) else a

    return choose


def _least_outstanding(accelerators: Sequence[Accelerator]) -> Chooser:
    """Return the choice of the accelerator with the fewest requests, the first of several.

    An accelerator is brought up to date when somebody may have left it: it has one entry in
    `wakes`, no later than the next leaving. `order` has an entry for every count that an
    accelerator has had; those that are not true any more are dropped when they come up.
    """
    counts = [0] * len(accelerators)
    order = [(0, number) for number in range(len(accelerators))]
    wakes: list[tuple[int, int]] = []
    asleep = [True] * len(accelerators)
    heapify(order)
    last: list[int] = []  # the one chosen last, whose request has been handed over since

    def choose(time: int) -> int:
        if last:
            number = last.pop()
            counts[number] += 1
            heappush(order, (counts[number], number))
            if asleep[number]:
                asleep[number] = False
                heappush(wakes, (accelerators[number].now, number))
        while wakes and wakes[0][0] <= time:
            number = heappop(wakes)[1]
            accelerator = accelerators[number]
            accelerator.advance(time)
            present = accelerator.present(time)
            if present != counts[number]:
                counts[number] = present
                heappush(order, (present, number))
            wake = accelerator.earliest_leaving(time)
            if wake == NEVER:
                asleep[number] = True
            else:
                heappush(wakes, (wake, number))
        while counts[order[0][1]] != order[0][0]:
            heappop(order)
        last.append(order[0][1])
        return order[0][1]

    return choose
