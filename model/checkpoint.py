"""Checkpoints of training: whole or not there, never a pickle.

A run folder holds ``checkpoints/step-00001000/``: ``*.safetensors`` with parameters and AdamW's
moments, written by torch.distributed.checkpoint, each process its own part, and ``state.json``,
with the SHA-256 of every file by whoever wrote it. It is written as ``….part``, put on disk, and
renamed, so that whoever is killed at any point leaves the one before. It loads on any number of
processes, under any engine, if its files are as they were written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException

from golden.config import ModelConfig
from golden.errors import InputError
from golden.files import remove_empty

from .checksums import check_files, hash_files, sealed, unsealed
from .errors import CheckpointError
from .files import put_folder
from .parallel import World
from .settings import TrainSettings

STATE = "state.json"
TENSORS = ".safetensors"
COMPACT = "compact"
"""Key in the ``state.json`` of a checkpoint that was restored from a compact state."""

KEPT = 2
"""Checkpoints kept: the newest, and the one before it."""

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Of AdamW, first and second."""
_FAILURES = (Exception, CheckpointException)  # the latter is a BaseException, and wraps all others


def checkpoints(run: Path) -> list[Path]:
    """Return the whole checkpoints of a run folder, oldest first."""
    found = (Path(run) / "checkpoints").glob("step-*")
    return sorted(p for p in found if re.fullmatch(r"step-\d{8}", p.name))


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return parameters and moments by name; moments that are not there yet are made, as zeros."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, parameter in model.named_parameters():  # a tied parameter comes once
        if id(parameter) in seen:
            continue
        seen.add(id(parameter))
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            for moment in MOMENTS:
                state[moment] = torch.zeros_like(parameter)
        tensors[f"parameter.{name}"] = parameter.detach()
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = state[moment]
    return tensors


def _sync(folder: Path) -> None:
    """Put a folder's files and its entries on disk."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _quiet(function: Any, *arguments: Any, **options: Any) -> None:
    """Call a function of torch.distributed.checkpoint without its notice of one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        function(*arguments, **options)


def _last_line(error: BaseException) -> str:
    """Return what went wrong: torch.distributed.checkpoint's messages end with it."""
    return next((s for s in str(error).strip().splitlines()[::-1] if s), type(error).__name__)


def save_checkpoint(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, object],
    world: World,
) -> Path:
    """Write a checkpoint of step ``state["step"]``; every process must call it.

    Raises
    ------
    CheckpointError
        On every process, if one of them could not write; older checkpoints stay as they are.
    """
    return write_tensors(run, lambda: _tensors(model, optimizer), state, world)


def write_tensors(
    run: Path,
    tensors: Callable[[], dict[str, Tensor]],
    state: dict[str, object],
    world: World,
) -> Path:
    """Write a checkpoint of what `tensors` returns; see `save_checkpoint`.

    Parameters
    ----------
    tensors : ``parameter.NAME``, ``exp_avg.NAME`` and ``exp_avg_sq.NAME`` of every parameter
    """
    target = Path(run) / "checkpoints" / f"step-{state['step']:08d}"
    part = target.with_name(target.name + ".part")

    def prepare() -> None:
        if world.rank == 0:
            if part.exists():
                shutil.rmtree(part)
            part.mkdir(parents=True)

    hashes: dict[str, str] = {}

    def write() -> None:
        writer = HuggingFaceStorageWriter(str(part), save_distributed=True)
        _quiet(dcp.save, tensors(), storage_writer=writer, no_dist=world.size == 1)
        # the name that the writer gives to the file of a process; what is called otherwise is
        # hashed by the first one
        hashes.update(hash_files(sorted(part.glob(f"shard-{world.rank + 1:05d}-*{TENSORS}"))))

    def finish() -> None:
        files = {name: digest for each in world.gather(hashes) for name, digest in each.items()}
        if world.rank == 0:
            rest = (path for path in part.glob(f"*{TENSORS}") if path.name not in files)
            files |= hash_files(rest)
            text = json.dumps(sealed(state, files), indent=1) + "\n"
            (part / STATE).write_text(text, encoding="utf-8")
            _sync(part)
            put_folder(part, target)  # one is there if the run was continued from an older one
            for old in checkpoints(run)[:-KEPT]:
                shutil.rmtree(old)

    for action in (prepare, write, finish):
        problem = ""
        try:
            action()
        except _FAILURES as error:
            problem = _last_line(error)
        # all go on or none: a process that failed alone would leave the others waiting
        if world.sum(torch.tensor(float(bool(problem)), device=world.device)):
            if world.rank == 0:
                shutil.rmtree(part, ignore_errors=True)
                remove_empty([part.parent])
            older = checkpoints(run)
            kept = f"{older[-1]} is kept" if older else "there is no checkpoint yet"
            raise CheckpointError(
                f"step {state['step']}: no checkpoint written "
                f"({problem or 'another process failed'}); {kept}"
            )
    return target


def read_state(path: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` was given as `state`; InputError if that cannot be read."""
    return _read_state(path)[0]


def _read_state(path: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Return a checkpoint's state, and its files' hashes; None for one of before there were any."""
    where = Path(path) / STATE
    try:
        state = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a checkpoint of training: {error}") from None
    if not isinstance(state, dict) or not {"step", "settings", "config"} <= state.keys():
        raise InputError(f"{path} must be a checkpoint of training; its {STATE} is of another kind")
    return unsealed(state, where)


def resumptions(state: dict[str, Any], data: dict[str, object]) -> list[dict[str, Any]]:
    """Return where the training that goes on from `state` was resumed, this time last.

    Each entry has ``step``; ``by``: ``checkpoint``, to the bit, or ``compact``, not so; and
    ``same_data``: whether what is read from now on, `data`, is what was read before.
    """
    by = COMPACT if COMPACT in state else "checkpoint"
    same = state.get("data", data) == data  # not known of an old checkpoint
    return [*state.get("resumed", []), {"step": state["step"], "by": by, "same_data": same}]


def check_continues(
    state: dict[str, Any], settings: TrainSettings, config: ModelConfig, where: str
) -> None:
    """Refuse to continue the training of `state` with another shape or with other settings.

    Parameters
    ----------
    state : of `read_state`
    where : what the message names
    """
    for key, value in config.to_dict().items():
        if state["config"].get(key) != value:
            raise InputError(f"{where} was made with {key} {state['config'].get(key)}, not {value}")
    settings.check_continues(state["settings"], state["step"], where)


def _check(path: Path, world: World) -> None:
    """Refuse a checkpoint whose files have changed; each process reads its share of them."""
    problem: InputError | None = None
    try:
        files = _read_state(path)[1]
        if files is None:
            if world.rank == 0:
                warnings.warn(f"{path} is of an older kind, without hashes: its tensors are not "
                              "checked", stacklevel=2)  # fmt: skip
        else:
            found = sorted(file.name for file in Path(path).glob(f"*{TENSORS}"))
            check_files(path, files, found, share=(world.rank, world.size))
    except InputError as error:
        problem = error
    # all go on or none: a process that failed alone would leave the others waiting
    if world.sum(torch.tensor(float(problem is not None), device=world.device)):
        raise problem or InputError(f"{path} has files that have changed, as another process says")


def _load(path: Path, tensors: Callable[[Any], dict[str, Tensor]], world: World) -> Any:
    """Read what `tensors` returns for the checkpoint's reader, in place; return it."""
    _check(path, world)
    try:
        reader = HuggingFaceStorageReader(str(path))
        wanted = tensors(reader)
        _quiet(dcp.load, wanted, storage_reader=reader, no_dist=world.size == 1)
    except _FAILURES as error:
        reason = _last_line(error)
        raise InputError(f"{path} must be a checkpoint of this model: {reason}") from None
    return wanted


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, world: World
) -> None:
    """Read parameters and moments in place; every process must call it.

    Raises
    ------
    InputError
        If a file is missing, truncated, changed or of another model.
    """
    step = float(read_state(path)["step"])
    tensors = _tensors(model, optimizer)
    _load(path, lambda _: tensors, world)
    for parameter in model.parameters():
        optimizer.state[parameter]["step"].fill_(step)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a checkpoint's tensors whole, on the CPU, by the names of `write_tensors`.

    One process alone calls it, whichever engine wrote the checkpoint.

    Raises
    ------
    InputError
        If a file is missing, truncated or changed.
    """

    def empty(reader: HuggingFaceStorageReader) -> dict[str, Tensor]:
        entries = reader.read_metadata().state_dict_metadata
        return {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in entries.items()
        }

    return _load(path, empty, World(0, 1, torch.device("cpu")))
