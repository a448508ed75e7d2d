"""A fleet of equal accelerators behind a router, event by event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import active_children, get_context

import numpy as np

from ..checks import check_integer, shown
from ..errors import InputError
from ..system import Machine
from .accelerator import NEVER, Accelerator
from .requests import Requests
from .routers import BLIND, ROUTERS, Chooser, blind_choice, chooser
from .scheduler import KvCache, Scheduler, kv_cache
from .steps import StepTimes
from .tally import Tally

MOST_ACCELERATORS = 10**9
"""Accelerators of a fleet, at most."""
MOST_ASKED = 10**6
"""Accelerators whose router asks them, at most: they take some 1.5 kB each for the whole run."""


def check_accelerators(name: str, count: object) -> None:
    """Raise InputError if the accelerators of a fleet, called `name`, are out of their range."""
    check_integer(name, count, 1)
    if count > MOST_ACCELERATORS:
        raise InputError(f"{name} must be at most {MOST_ACCELERATORS:,}, not {shown(count)}")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Equal accelerators, and how requests are spread over them.

    Parameters
    ----------
    machine, scheduler
        One accelerator: a model on a system, and how it batches.
    accelerators
        How many.
    router
        ``round-robin``, ``random``, ``least-outstanding`` (the lowest number of several) or
        ``two-choices`` (the one of two drawn that has fewer; Mitzenmacher, IEEE TPDS 2001).
        Outstanding are requests that wait or run, whatever their length.
    case
        Bound of the step times to run with: ``low``, ``nominal`` or ``high``.

    Raises
    ------
    InputError
        If a value is out of its range, the model does not fit the system, or an iteration is more
        than a pass of it.
    """

    machine: Machine
    scheduler: Scheduler
    accelerators: int = 1
    router: str = "round-robin"
    case: str = "nominal"

    def __post_init__(self) -> None:
        check_accelerators("accelerators", self.accelerators)
        if self.router not in ROUTERS:
            raise InputError(f"router must be one of {', '.join(ROUTERS)}, not {self.router!r}")
        if self.router not in BLIND and self.accelerators > MOST_ASKED:
            raise InputError(
                f"router {self.router} keeps every accelerator in memory: there must be at most "
                f"{MOST_ASKED:,}, not {self.accelerators:,}"
            )
        self.scheduler.check(self.machine)
        StepTimes(self.machine, self.cache.positions, self.case)

    @cached_property
    def cache(self) -> KvCache:
        """Room for keys and values of one accelerator."""
        return kv_cache(self.machine, self.scheduler)


@dataclass(frozen=True, eq=False)
class Served:
    """What became of requests.

    Parameters
    ----------
    requests
        Those that were served, in order of arrival.
    rejected
        How many more there were that no accelerator could ever hold.
    accelerator
        Which one served each, ``[n]``.
    first, finish
        When each had its first and its last token, ps, int64 ``[n]``.
    marks
        Times that the run is divided at, ps.
    tallies
        What the fleet did in each stretch: before ``marks[0]``, between marks, after the last. An
        iteration counts where it begins.
    over
        At each mark, the time left of the iterations under way, summed over accelerators, ps.
    """

    requests: Requests
    rejected: int
    accelerator: np.ndarray
    first: np.ndarray
    finish: np.ndarray
    marks: tuple[int, ...]
    tallies: list[Tally]
    over: list[int]

    def busy(self, stretch: int) -> int:
        """Return the accelerator time spent in iterations between two marks, exactly, ps.

        `stretch` counts from 1, the one after ``marks[0]``; with a mark on either side.
        """
        return self.tallies[stretch].busy + self.over[stretch - 1] - self.over[stretch]


class _Log:
    """Tallies and times left over at the marks of a run."""

    def __init__(self, marks: Sequence[int]) -> None:
        self.marks = marks
        self.tallies = [Tally() for _ in range(len(marks) + 1)]
        self.over = [0] * len(marks)

    def take(self, stretch: int, accelerator: Accelerator) -> None:
        """Add what an accelerator has done since it was last asked to a stretch."""
        self.tallies[stretch] += accelerator.tally
        accelerator.tally = Tally()

    def pass_mark(self, index: int, accelerator: Accelerator) -> None:
        """Take an accelerator past a mark."""
        mark = self.marks[index]
        accelerator.advance(mark, cut=True)
        self.over[index] += max(0, accelerator.now - mark)
        self.take(index, accelerator)


def serve(
    fleet: Fleet, requests: Requests, *, marks: Sequence[int] = (), seed: int = 0,
    workers: int = 1, progress: Callable[[int, int], None] = lambda done, total: None,
) -> Served:
    """Serve requests until all are done.

    Parameters
    ----------
    marks
        Increasing times, ps, that tallies are divided at.
    seed
        Of the router's draws.
    workers
        Processes. Routers that ask nothing of the accelerators (``round-robin``, ``random``) leave
        them independent; with others there is one process. Results do not depend on it.
    progress
        Called now and then with the requests done and all of them.

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    check_integer("workers", workers, 1)
    marks = tuple(marks)
    if any(b <= a for a, b in zip((0, *marks), marks, strict=False)):
        raise InputError(f"marks must be above 0 and increase, not {marks}")
    fits = servable(fleet, requests)
    rejected = int(len(fits) - fits.sum())
    if rejected:
        requests = requests.select(fits)
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(requests))

    rng = np.random.default_rng([seed, 3])  # 0 to 2 are those of the requests
    if fleet.router not in BLIND:
        where, first, finish, log = _serve_asking(fleet, requests, marks, rng, more)
        return Served(requests, rejected, where, first, finish, marks, log.tallies, log.over)
    where = blind_choice(fleet.router, len(requests), fleet.accelerators, rng)
    first, finish = np.empty_like(requests.arrival), np.empty_like(requests.arrival)
    parts = min(workers, fleet.accelerators)
    shards = [np.flatnonzero(where % parts == part) for part in range(parts)]
    log = _Log(marks)

    def collect(shard: np.ndarray, result: tuple) -> None:
        first[shard], finish[shard] = result[:2]
        for mine, theirs in zip(log.tallies, result[2], strict=True):
            mine += theirs
        log.over = [a + b for a, b in zip(log.over, result[3], strict=True)]

    if parts == 1:
        collect(shards[0], _serve_blindly(fleet, requests, where, marks, more))
    else:
        others = set(active_children())
        with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
            try:
                jobs = {
                    pool.submit(_serve_blindly, fleet, requests.select(shard), where[shard], marks):
                    shard for shard in shards
                }
                for job in as_completed(jobs):
                    collect(jobs[job], job.result())
                    more(len(jobs[job]))
            except BaseException:  # an interruption must not wait for minutes of work
                for process in set(active_children()) - others:
                    process.terminate()
                raise
    return Served(requests, rejected, where, first, finish, marks, log.tallies, log.over)


def servable(fleet: Fleet, requests: Requests) -> np.ndarray:
    """Return which requests the model's positions and an empty KV cache can hold, ``[n]`` bool."""
    most = min(
        fleet.machine.model.max_position_embeddings, fleet.cache.blocks * fleet.scheduler.block
    )
    return requests.positions <= most


def _accelerators(
    fleet: Fleet, requests: Requests, first: np.ndarray, finish: np.ndarray
) -> Callable[[], Accelerator]:
    """Return a maker of accelerators that share the tables of the run."""
    cache, scheduler = fleet.cache, fleet.scheduler
    steps = StepTimes(fleet.machine, cache.positions, fleet.case)
    tables = {
        "prompt": requests.prompt.tolist(),
        "output": requests.output.tolist(),
        "need": (-(-requests.positions // scheduler.block)).tolist(),
        "first": memoryview(first),
        "finish": memoryview(finish),
    }
    return lambda: Accelerator(steps, scheduler, cache.blocks, **tables)


def _serve_blindly(
    fleet: Fleet, requests: Requests, where: np.ndarray, marks: Sequence[int],
    more: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, np.ndarray, list[Tally], list[int]]:
    """Serve requests whose accelerators are known, one accelerator after the other.

    Accelerators without any request did nothing, and are left out.
    """
    first, finish = np.empty_like(requests.arrival), np.empty_like(requests.arrival)
    make, log = _accelerators(fleet, requests, first, finish), _Log(marks)
    order = np.argsort(where, kind="stable")
    cuts = np.flatnonzero(np.diff(where[order])) + 1
    for mine in np.split(order, cuts) if len(order) else ():
        accelerator = make()
        arrive, advance = accelerator.arrive, accelerator.advance
        mark, next_mark = 0, marks[0] if marks else NEVER
        for request, time in zip(mine.tolist(), requests.arrival[mine].tolist(), strict=True):
            while next_mark <= time:
                log.pass_mark(mark, accelerator)
                mark += 1
                next_mark = marks[mark] if mark < len(marks) else NEVER
            advance(time)
            arrive(request, time)
        for index in range(mark, len(marks)):
            log.pass_mark(index, accelerator)
        advance(NEVER)
        log.take(len(marks), accelerator)
        more(len(mine))
    return first, finish, log.tallies, log.over


def _serve_asking(
    fleet: Fleet, requests: Requests, marks: Sequence[int], rng: np.random.Generator,
    more: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, _Log]:
    """Serve requests by a router that asks accelerators how many requests they have."""
    first, finish = np.empty_like(requests.arrival), np.empty_like(requests.arrival)
    make, log = _accelerators(fleet, requests, first, finish), _Log(marks)
    fleet_of = [make() for _ in range(fleet.accelerators)]
    choose: Chooser = chooser(fleet.router, fleet_of, len(requests), rng)
    where = np.empty(len(requests), dtype=np.int64)
    chosen = memoryview(where)
    mark, next_mark = 0, marks[0] if marks else NEVER
    for request, time in enumerate(requests.arrival.tolist()):
        while next_mark <= time:
            for accelerator in fleet_of:
                log.pass_mark(mark, accelerator)
            mark += 1
            next_mark = marks[mark] if mark < len(marks) else NEVER
        number = choose(time)
        chosen[request] = number
        accelerator = fleet_of[number]
        accelerator.advance(time)
        accelerator.arrive(request, time)
        if request % 4096 == 4095:
            more(4096)
    for accelerator in fleet_of:
        for index in range(mark, len(marks)):
            log.pass_mark(index, accelerator)
        accelerator.advance(NEVER)
        log.take(len(marks), accelerator)
    return where, first, finish, log
