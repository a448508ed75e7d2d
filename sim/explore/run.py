"""Runs a sweep: what is not in the results yet goes in parcels to Dask workers, or is done here."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker

from hw.config import ConfigError

from ..errors import InputError
from .evaluate import evaluate, static_metrics
from .limits import METRICS, Limit
from .space import Design, Space, code_digest
from .store import ResultStore

PARCEL = 25
"""Designs of a task: some tenths of a second, against milliseconds for handing it over."""
_ADDRESS = re.compile(r"(?:[a-z]+://)?(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}(?:/\S*)?")
AHEAD = 4
"""Tasks that wait for each worker, so that none is idle and few are lost to an interruption."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep found.

    Parameters
    ----------
    space
        What was swept.
    records
        Records of all designs but the pruned ones, in the space's order.
    pruned
        Designs that were not simulated because they break a limit on a static figure, or lack it:
        how many, by limit.
    resumed
        Records that were in the results before.
    """

    space: Space
    records: list[dict]
    pruned: dict[str, int]
    resumed: int

    def feasible(self, limits: Sequence[Limit]) -> list[dict]:
        """Return records that keep all limits."""
        return [
            record for record in self.records
            if record["status"] == "ok" and all(limit.holds(record["metrics"]) for limit in limits)
        ]


def broken_limit(space: Space, design: Design, limits: Sequence[Limit]) -> Limit | None:
    """Return the first limit on a static figure that a design breaks or cannot be held to."""
    own = [limit for limit in limits if limit.name in METRICS and METRICS[limit.name].static]
    if not own:
        return None
    try:
        figures = static_metrics(space, space.build(design))
    except (ConfigError, InputError):
        return None  # its record will say why
    return next((limit for limit in own if not limit.holds(figures)), None)


def evaluate_parcel(space: Space, designs: Sequence[Design], digest: str) -> list[dict]:
    """Return the records of some designs; refuses to run on a worker that has other sources."""
    if code_digest() != digest:
        raise InputError(
            f"workers must have the sources of the one who asks, {digest}, not {code_digest()}: "
            f"install the same version of signacc on them"
        )
    return [evaluate(space, design) for design in designs]


def explore(
    space: Space,
    store: ResultStore,
    *,
    limits: Sequence[Limit] = (),
    workers: int = 0,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Evaluate all designs of a space that the store does not know, and return all of them.

    Parameters
    ----------
    store
        Open; every finished parcel is appended to it at once.
    limits
        Designs that break one on a static figure are not simulated.
    workers
        Processes of a local Dask cluster; 0: in this process.
    scheduler
        Address of a Dask scheduler to use instead.
    progress
        Called with (designs done, designs).

    Raises
    ------
    InputError
        If the scheduler has no address or cannot be reached, or its workers have other sources.
    """
    keys: list[str] = []
    todo: list[Design] = []
    pruned: dict[str, int] = {}
    for design in space.designs():
        limit = broken_limit(space, design, limits)
        if limit is not None:
            pruned[str(limit)] = pruned.get(str(limit), 0) + 1
            continue
        key = space.key(design)
        keys.append(key)
        if key not in store.records:
            todo.append(design)
    resumed = len(keys) - len(todo)
    report = progress or (lambda done, whole: None)
    done = resumed
    report(done, len(keys))
    parcels = [todo[i:i + PARCEL] for i in range(0, len(todo), PARCEL)]
    with ExitStack() as stack:
        if not parcels or (workers == 0 and scheduler is None):
            digest = code_digest()
            finished = (evaluate_parcel(space, parcel, digest) for parcel in parcels)
        else:
            finished = _on_dask(stack, space, parcels, workers, scheduler)
        for records in finished:
            store.append(records)
            done += len(records)
            report(done, len(keys))
    return Outcome(
        space=space, records=[store.records[key] for key in keys], pruned=pruned, resumed=resumed
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold SIGINT back; threads that are started meanwhile, and their processes, never take it.

    Ctrl-C reaches every process of a terminal's job; workers would each print where it met them.
    They end with the cluster. This thread takes what was held back when it is over.
    """
    resource_tracker.ensure_running()  # starting it later would let the starting thread take SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _ready(cluster: Awaitable[object]) -> None:
    await cluster


def _on_dask(
    stack: ExitStack, space: Space, parcels: list[list[Design]], workers: int,
    scheduler: str | None,
) -> Iterator[list[dict]]:
    """Yield the records of parcels as workers finish them.

    A task whose worker dies is given to another one by Dask; what was yielded is never lost.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError:
        raise InputError(
            "sweeps on several processes need Dask: pip install 'signacc[explore]', or give "
            "--workers 0"
        ) from None

    if scheduler is None:
        with _interrupts_held():
            # without workers yet: its thread starts them, while this one can be interrupted
            cluster = stack.enter_context(LocalCluster(
                n_workers=0, threads_per_worker=1, processes=True, dashboard_address=None,
                silence_logs=50,
            ))
        cluster.scale(min(workers, len(parcels)))
        # not by Dask's own waiting: an interruption would cancel what starts the workers, which
        # could then not be closed
        started = asyncio.run_coroutine_threadsafe(_ready(cluster), cluster.loop.asyncio_loop)
        started.result()
        address: object = cluster
    elif not _ADDRESS.fullmatch(scheduler):  # Dask would wait for it when it has failed
        raise InputError(
            f"a Dask scheduler's address must read like tcp://host:8786, not {scheduler!r}"
        )
    else:
        address = scheduler
    try:
        client = stack.enter_context(Client(address, timeout="20s", set_as_default=False))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"a Dask scheduler must answer at {scheduler!r}; there is none ({error})"
        ) from None
    shared = client.scatter(space, broadcast=False)
    digest = code_digest()
    rest = iter(parcels)

    def submit() -> list:
        ahead = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        return [
            client.submit(evaluate_parcel, shared, parcel, digest, pure=False)
            for parcel in islice(rest, max(1, ahead - waiting))
        ]

    waiting = 0
    futures = submit()
    waiting = len(futures)
    ready = as_completed(futures, loop=client.loop, with_results=True)
    for _, records in ready:
        waiting -= 1
        new = submit() if waiting < AHEAD * 2 else []
        waiting += len(new)
        for future in new:
            ready.add(future)
        yield records
