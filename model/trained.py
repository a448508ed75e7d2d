"""A run's model, read back from its newest checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from golden.config import ModelConfig
from golden.errors import InputError

from .checkpoint import checkpoints, load_checkpoint, read_state
from .fbi import FbiLlm
from .parallel import World
from .settings import TrainSettings


def load_trained(run: Path) -> FbiLlm:
    """Return the model of a run's newest checkpoint, fp32 on the CPU, frozen.

    Raises
    ------
    InputError
        If there is no checkpoint, or it cannot be read.
    """
    found = checkpoints(run)
    if not found:
        raise InputError(f"a run folder must hold a checkpoint; there is none in {run}")
    state = read_state(found[-1])
    settings = TrainSettings.from_dict(state["settings"], str(found[-1]))
    config = ModelConfig.from_dict(state["config"], where=str(found[-1]))
    model = FbiLlm(config, binary=settings.binary, scale_axis=settings.scale_axis)
    optimizer = torch.optim.AdamW(model.parameters())
    load_checkpoint(found[-1], model, optimizer, World(0, 1, torch.device("cpu")))
    return model.eval().requires_grad_(False)
