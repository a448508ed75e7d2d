"""Routers: which accelerator takes a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

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

    An accelerator is brought up to date when somebody may have left it, at the time in `due`: a
    bound that holds until it is given another request, which may leave first. Entries of `wakes`
    and `order` that are not true any more are dropped when they come up.
    """
    counts, due = [0] * len(accelerators), [NEVER] * len(accelerators)
    order = [(0, number) for number in range(len(accelerators))]
    wakes: list[tuple[int, int]] = []
    last = -1  # the one chosen last, whose request has been handed over since

    def wake_at(number: int, time: int) -> None:
        due[number] = time
        if time != NEVER:
            heappush(wakes, (time, number))

    def choose(time: int) -> int:
        nonlocal last
        if last >= 0:
            counts[last] += 1
            heappush(order, (counts[last], last))
            if accelerators[last].now < due[last]:
                wake_at(last, accelerators[last].now)
        while wakes and wakes[0][0] <= time:
            wake, number = heappop(wakes)
            if wake != due[number]:
                continue
            accelerator = accelerators[number]
            accelerator.advance(time)
            present = accelerator.present(time)
            if present != counts[number]:
                counts[number] = present
                heappush(order, (present, number))
            wake_at(number, accelerator.earliest_leaving(time))
        while counts[order[0][1]] != order[0][0]:
            heappop(order)
        last = order[0][1]
        return last

    return choose
