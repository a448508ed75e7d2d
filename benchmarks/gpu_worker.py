"""GPU work in a process of its own, so that what breaks or hangs costs itself and nothing else.

A kernel that faults takes the device's context with it, and one that hangs never comes back. The
worker (:class:`Tasks`) writes a line of JSON before and after each task to ``log.jsonl`` in a
folder; the starter (:func:`supervise`) ends a worker that stands still, and starts it again without
what has been done and without the culprit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from golden.errors import InputError

ATTEMPTS = 8
"""Most starts of a worker: each ends with a culprit that the next leaves out."""

Task = dict[str, object]
"""What is done: its ``key``, by which a culprit is left out in every case, and what tells cases
apart. A result is a task with its figures, or with the ``reason`` why there are none."""


class Tasks:
    """The worker's side."""

    def __init__(self, folder: Path) -> None:
        skip = json.loads((folder / "skip.json").read_text(encoding="utf-8"))
        self.broken, self.done = set(skip["broken"]), skip["done"]
        self.file = (folder / "log.jsonl").open("w", encoding="utf-8")

    def _write(self, line: dict[str, object]) -> None:
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def run(self, task: Task, what: Callable[[], dict[str, object]]) -> None:
        """Do a task: `what` returns its figures. An error is its reason, and the rest goes on."""
        if task["key"] in self.broken or task in self.done:
            return
        self._write({"start": task})
        try:
            self._write({"end": task, "found": what()})
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self._write({"end": task, "found": {"reason": reason}})
            if "CUDA error" in reason or "with error 7" in reason:  # PyTorch's; a driver's 7xx
                raise SystemExit(1) from error  # the context may be gone


def supervise(
    command: list[str], folder: Path, *, seconds: float, still: float = 20.0
) -> list[Task]:
    """Run a worker until its tasks are done or `seconds` are over; return what it found.

    Parameters
    ----------
    still
        Longest time of a task, s; the first has three times as much, since the worker starts first.
    """
    results: list[Task] = []
    broken: list[object] = []
    end = time.monotonic() + seconds
    log, said = folder / "log.jsonl", folder / "said.txt"
    for _ in range(ATTEMPTS):
        done = [result["task"] for result in results]
        skip = json.dumps({"broken": broken, "done": done})
        (folder / "skip.json").write_text(skip, encoding="utf-8")
        log.write_text("", encoding="utf-8")
        why = _run(command, log, said, end, still)
        lines = _lines(log)
        results += [{"task": line["end"], **line["found"]} for line in lines if "end" in line]
        if why is None:
            break
        begun = [line["start"] for line in lines if "start" in line]
        ended = [line["end"] for line in lines if "end" in line]
        tail = " ".join(said.read_text(encoding="utf-8", errors="replace").split())[-300:]
        if not begun or begun == ended:
            # not in a task; or in the last one, whose reason stands there
            culprit = begun[-1] if begun and "reason" in results[-1] else None
            if culprit is None or time.monotonic() > end:
                results.append({"task": {"key": "worker"}, "reason": f"{why}: {tail}"})
                break
        else:
            culprit = begun[-1]
            results.append({"task": culprit, "reason": f"{why}: {tail}"})
        if time.monotonic() > end:
            break
        broken.append(culprit["key"])
    else:
        reason = f"{ATTEMPTS} tasks ended it; what was left is not done"
        results.append({"task": {"key": "worker"}, "reason": reason})
    return [{**result.pop("task"), **result} for result in results]


def _lines(log: Path) -> list[dict]:
    whole = log.read_text(encoding="utf-8").rpartition("\n")[0]  # a last line may be cut off
    return [json.loads(line) for line in whole.splitlines()]


def _run(command: list[str], log: Path, said: Path, end: float, still: float) -> str | None:
    """Run the worker once; return why it ended too early, or None."""
    with said.open("wb") as output:
        worker = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        size, last = 0, time.monotonic() + 2 * still
        try:
            while worker.poll() is None:
                now = time.monotonic()
                if log.stat().st_size != size:
                    size, last = log.stat().st_size, now
                if now > end:
                    return "no time was left"
                if now - last > still:
                    return f"it stood still for {still:g} s"
                time.sleep(0.05)
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)  # its own session: what it started, too
                worker.wait()
    return None if worker.returncode == 0 else f"its process ended with {worker.returncode}"


def find_tool(name: str) -> str:
    """Return the path of a tool of the CUDA toolkit; raises InputError if there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")
    if found is None:
        raise InputError(
            f"{name} must be on PATH or in /usr/local/cuda/bin (CUDA toolkit); there is none"
        )
    return found
