"""Training that is carried from machine to machine: a compact state at its start and at its end."""

from __future__ import annotations

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
