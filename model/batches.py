"""The rows of each step, read while the device works on the step before."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import Mixture
from .parallel import World
from .settings import TrainSettings
from .targets import Targets


@dataclass(frozen=True)
class Batch:
    """One process's rows of a step, int32 ``[rows, length]``, and the whole batch's targets."""

    rows: Tensor
    positions: int


def read_batches(
    mixture: Mixture, settings: TrainSettings, world: World, targets: Targets, first: int, last: int
) -> Iterator[Batch]:
    """Yield this process's share of each step; the next one is read while the device works."""
    share = settings.batch // world.size

    def read(step: int) -> Batch:
        rows = mixture.batch(step, settings.batch)
        mine = rows[world.rank * share : (world.rank + 1) * share]
        tensor = torch.from_numpy(mine.astype(np.int32))
        return Batch(tensor.pin_memory() if world.cuda else tensor, targets.positions(rows))

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
        waiting = reader.submit(read, first) if first < last else None
        for step in range(first, last):
            assert waiting is not None
            batch = waiting.result()
            waiting = reader.submit(read, step + 1) if step + 1 < last else None
            yield batch
