"""Checkpoint shards of Hugging Face's ``save_pretrained``, read one at a time and never executed.

A checkpoint is one file (``model.safetensors`` or ``pytorch_model.bin``) or shards of either kind
with an index. ``.bin`` files hold a pickle: they are read by ``torch.load(weights_only=True)``,
which builds tensors and containers only, and are refused if there is anything else in them.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from golden.config import unique_keys
from golden.errors import InputError

SINGLE = ("model.safetensors", "pytorch_model.bin")
"""A checkpoint of one file; the first that is there is read."""
INDEXED = tuple(f"{name}.index.json" for name in SINGLE)

_SHARD_NAME = re.compile(r"[\w.-]+\.(bin|safetensors)", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """The files of a checkpoint.

    Attributes
    ----------
    folder
        Where they are.
    shards
        Names of tensors by file name, in the order of the index; None in place of the names where
        there is no index.
    """

    folder: Path
    shards: dict[str, frozenset[str] | None]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Find the files of a checkpoint and read its index.

    Raises
    ------
    InputError
        If there is no checkpoint, a shard is missing, or the index is not one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"a checkpoint is a folder; there is none at {folder}")
    for single, index in zip(SINGLE, INDEXED, strict=True):
        if (folder / index).is_file():
            return Checkpoint(folder, _read_index(folder / index))
        if (folder / single).is_file():
            return Checkpoint(folder, {single: None})
    raise InputError(
        f"a checkpoint folder must hold one of {', '.join(SINGLE + INDEXED)}; "
        f"there is none in {folder}"
    )


def _read_index(path: Path) -> dict[str, frozenset[str] | None]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be valid JSON: {error}") from None
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not table:
        raise InputError(f"{path} must hold weight_map, an object of tensor names")
    names: dict[str, set[str]] = {}
    for tensor, file in table.items():
        if not isinstance(file, str) or not _SHARD_NAME.fullmatch(file):
            raise InputError(
                f"{path}: {tensor} must be in a .bin or .safetensors file of the same folder, "
                f"not {file!r}"
            )
        names.setdefault(file, set()).add(tensor)
    for file in names:
        if not (path.parent / file).is_file():
            raise InputError(f"{path} names {file}; there is none in {path.parent}")
    return {file: frozenset(held) for file, held in names.items()}


def read_tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, str, Tensor]]:
    """Yield (file name, tensor name, tensor) of a whole checkpoint, one shard open at a time.

    Tensors are on the CPU, of any type and shape, and view their file: they are read from disk as
    they are used, and are to be dropped before the next is taken.

    Raises
    ------
    InputError
        If a shard is damaged, holds anything but tensors, or not what the index says.
    """
    for file, names in checkpoint.shards.items():
        path = checkpoint.folder / file
        found = set()
        for name, tensor in _read_shard(path):
            if names is not None and name not in names:
                raise InputError(f"{path} holds {name}; the index does not say so")
            found.add(name)
            yield file, name, tensor
        missing = sorted((names or frozenset()) - found)
        if missing:
            raise InputError(f"{path} must hold {missing[0]}, as the index says; it does not")


def _read_shard(path: Path) -> Iterator[tuple[str, Tensor]]:
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path} must be a complete safetensors file; it cannot be read: {error}"
            ) from None
    else:
        yield from _load_pickled(path).items()


def _load_pickled(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.bin`` file; what would run code is refused."""
    archive = zipfile.is_zipfile(path)
    if archive:
        _check_archive(path)
    try:
        with warnings.catch_warnings():  # of pickles that are refused, with advice for torch's own
            warnings.simplefilter("ignore")
            # The older form of torch.save is no archive, and cannot be mapped.
            data = torch.load(path, weights_only=True, map_location="cpu", mmap=archive)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} must hold tensors alone; it holds other objects, or is damaged. "
            "Nothing in it was executed"
        ) from None
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError,
            IndexError, OSError, AssertionError) as error:
        reason = re.split(r"\n|\. ", str(error).strip())[0] or type(error).__name__
        raise InputError(
            f"{path} must be a complete file of torch.save; it cannot be read: {reason}"
        ) from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold a dictionary of tensors, not {type(data).__name__}")
    for name, value in data.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"{path} must hold tensors by name; {name!r} is {type(value).__name__}"
            )
    return data


def _check_archive(path: Path) -> None:
    """Check every part against its checksum, which torch.load does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                if part.compress_type != zipfile.ZIP_STORED:
                    raise InputError(
                        f"{path} must be a file of torch.save; {part.filename} in it is compressed"
                    )
            bad = archive.testzip()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError, ValueError,
            RuntimeError) as error:  # the last: encrypted, or of another compression
        raise InputError(f"{path} must be a complete file of torch.save: {error}") from None
    if bad is not None:
        raise InputError(f"{path} is damaged: the checksum of {bad} in it does not hold")
