"""Training that is carried from machine to machine: compact states at its start, in between and
at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from golden.config import ModelConfig
from golden.errors import InputError

from .checkpoint import check_continues
from .compact import restore_compact, save_compact
from .compact_manifest import NAME, Manifest
from .parallel import World
from .settings import TrainSettings


def bring(
    carry: Path, run: Path, settings: TrainSettings, config: ModelConfig, world: World
) -> None:
    """Restore the compact state in `carry` to folder `run` if it is newer; every process calls it.

    Nothing is done where `carry` holds no state yet.

    Raises
    ------
    InputError
        If the state is damaged, or of a training with other settings or another shape: on every
        process. Nothing is restored then.
    CheckpointError, OSError
        On the first process, if it cannot be written.
    """
    problem: Exception | None = None
    if world.rank == 0 and (Path(carry) / NAME).exists():
        try:
            state = Manifest.read(carry).state
            check_continues(state, settings, config, str(carry))
            restore_compact(carry, run, if_newer=True)
        except Exception as error:
            problem = error
    # all go on or none: a process that failed alone would leave the others waiting
    if world.sum(torch.tensor(float(problem is not None), device=world.device)):
        raise problem or InputError(f"the first process could not restore {carry}")


def take(run: Path, carry: Path, step: int) -> Manifest:
    """Save the compact state of a run that has come to `step`; one process calls it.

    A state of that step is left as it is. Raises as `save_compact` does.
    """
    if (Path(carry) / NAME).exists():
        found = Manifest.read(carry)
        if found.step == step:
            return found
    return save_compact(run, carry)


class Carrier:
    """Saves compact states beside a training that goes on; one process of the training has it.

    A process of its own encodes, at a lower priority, what a checkpoint holds: training stops for
    the checkpoint alone.

    Parameters
    ----------
    carry : folder of the compact state
    say : called with a line of JSON about each state
    """

    def __init__(self, carry: Path, say: Callable[[str], None]) -> None:
        self.carry, self.say = Path(carry), say
        self._running: subprocess.Popen[str] | None = None
        self._step = 0

    def start(self, checkpoint: Path, step: int) -> bool:
        """Begin to save a checkpoint; False, and nothing is done, while one before is being saved.

        The checkpoint must stay until that is over: training keeps the newest two.
        """
        if not self._reaped(wait=False):
            return False
        command = [sys.executable, "-m", "model.compact", "save", str(checkpoint), str(self.carry)]
        path = os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
        self._running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._running.pid, 10)
        self._step = step
        return True

    def finish(self) -> None:
        """Wait for the state that is being saved, if there is one."""
        self._reaped(wait=True)

    def _reaped(self, *, wait: bool) -> bool:
        """Return whether nothing is being saved, and tell of what has been."""
        if self._running is None:
            return True
        if not wait and self._running.poll() is None:
            return False
        _, problem = self._running.communicate()
        if self._running.returncode:
            lines = [line for line in problem.splitlines() if line.strip()]
            reason = lines[-1] if lines else f"exit code {self._running.returncode}"
            self.say(json.dumps({"carried": None, "step": self._step, "problem": reason}))
        else:
            self.say(json.dumps({"carried": self._step}))
        self._running = None
        return True
