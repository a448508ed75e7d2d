"""Commands side by side: some lanes on each GPU, and each lane takes the next when it is free.

A process that starts, compiles and evaluates leaves its GPU idle; with two lanes another one trains
meanwhile.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import torch


def visible_gpus() -> list[str]:
    """Return the names of this process's GPUs, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named or [str(i) for i in range(count)])[:count]


def run_all(
    jobs: Iterable[str], command: Callable[[str], Sequence[str] | None], logs: Path, *, lanes: int
) -> list[str]:
    """Run the command of every job; return the jobs that failed, in the order of their ends.

    Parameters
    ----------
    command
        Gives a job's command when its turn comes, or None to leave it out.
    logs
        Folder of ``<job>.log``, each with command and output.
    lanes
        Processes at once on each GPU, or in all where there is none.
    """
    left, failed = deque(jobs), []
    logs.mkdir(parents=True, exist_ok=True)

    def lane(gpu: str | None) -> None:
        environment = dict(os.environ) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        while True:
            try:
                job = left.popleft()  # not asked before: another lane may be faster
            except IndexError:
                return
            if (words := command(job)) is None:
                continue
            with open(logs / f"{job}.log", "ab") as log:
                log.write(f"$ {shlex.join(words)}\n".encode())
                log.flush()
                code = subprocess.run(words, stdout=log, stderr=log, env=environment).returncode
            if code:
                failed.append(job)
                click.echo(f"{job}: exit code {code}; see {logs / f'{job}.log'}", err=True)

    gpus = visible_gpus() or [None]
    with ThreadPoolExecutor(lanes * len(gpus)) as pool:
        # the lanes of a GPU are not neighbours: the first jobs spread over all GPUs
        list(pool.map(lane, [gpu for _ in range(lanes) for gpu in gpus]))
    return failed
