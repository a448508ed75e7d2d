"""Token shards and the order in which training reads them.

A shard is a file of teacher token ids, uint16 ``[rows, length]``: ``.npy``, memory-mapped, or
``.npy.xz``, for carrying, read into memory. Each row is expanded to the student's cut vocabulary
when it is used (``expand``).
"""

from __future__ import annotations

import lzma
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from golden.errors import InputError

from .files import whole

NOT_A_TARGET = -1


def save_shard(path: Path, tokens: np.ndarray) -> None:
    """Write ``tokens`` uint16 ``[rows, length]`` under a temporary name, then rename.

    A name that ends in ``.xz`` is compressed.
    """
    if tokens.dtype != np.uint16 or tokens.ndim != 2:
        raise InputError(
            f"a shard must be uint16 [rows, length], not {tokens.dtype} {tokens.shape}"
        )
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    with whole(path, temporary):
        with lzma.open(temporary, "wb") if path.suffix == ".xz" else open(temporary, "wb") as file:
            # what np.save writes, which does not say of a full disk that it is full
            array = np.ascontiguousarray(tokens)
            header = np.lib.format.header_data_from_array_1_0(array)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(array.data)
        os.replace(temporary, path)


def read_array(source: Path | BinaryIO, **options: Any) -> np.ndarray:
    """Return ``np.load(source, **options)`` without pickles; ValueError if it is damaged."""
    try:
        return np.load(source, allow_pickle=False, **options)
    except (EOFError, SyntaxError, TokenError, TypeError, LookupError, OverflowError,
            MemoryError) as error:  # of a header that does not parse, or of sizes that cannot be
        raise ValueError(str(error) or type(error).__name__) from None


def load_shard(path: Path) -> np.ndarray:
    """Read a shard: memory-mapped, or into memory if it is compressed.

    Raises
    ------
    InputError
        If the file is missing, damaged, or is not a uint16 array of two dimensions with rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"a token shard must be a .npy file; there is none at {path}")
    try:
        if path.suffix == ".xz":
            with lzma.open(path) as file:
                array = read_array(file)
                if file.read(1):  # what follows may be any number of times the file's size
                    raise ValueError("it holds more than its head says")
        else:
            array = read_array(path, mmap_mode="r")
    except (ValueError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path} must be a .npy token shard: {error}") from None
    if array.dtype != np.uint16 or array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"a shard must be uint16 [rows, length], not {array.dtype} {array.shape}: {path}"
        )
    return array


def load_seeds(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read seeds: a shard whose rows are padded with 65535; returns it and the row widths."""
    seeds = np.array(load_shard(path))
    width = (seeds != 65535).sum(1)
    if width.min() < 1:
        raise InputError(f"every seed must have a token; {path} holds an empty row")
    seeds[seeds == 65535] = 0
    return seeds, width


@dataclass(frozen=True)
class Mixture:
    """Rows drawn from two groups of shards in fixed shares, in an order given by `seed`.

    Parameters
    ----------
    sampled, real : shard arrays, all of one row length; one of the groups may be empty
    real_share : share of rows drawn from `real`, 0 to 1
    seed : decides the whole order; step `i` reads the same rows in every run
    files : SHA-256 of the shards' files in the order of both groups, if they are known
    """

    sampled: Sequence[np.ndarray]
    real: Sequence[np.ndarray]
    real_share: float
    seed: int
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.real_share <= 1:
            raise InputError(f"real_share must be between 0 and 1, not {self.real_share}")
        lengths = {a.shape[1] for a in (*self.sampled, *self.real)}
        if len(lengths) != 1:
            raise InputError(f"shards must all have one row length, not {sorted(lengths)}")
        if not self.sampled and self.real_share < 1:
            raise InputError(f"a real_share of {self.real_share} needs at least one sampled shard")
        if not self.real and self.real_share > 0:
            raise InputError(f"a real_share of {self.real_share} needs at least one real shard")

    def to_dict(self) -> dict[str, object]:
        """Return what tells one text from another, as JSON holds it."""
        rows = [sum(map(len, group)) for group in (self.sampled, self.real)]
        return {"rows": rows, "real_share": self.real_share, "files": list(self.files)}

    @property
    def length(self) -> int:
        """Teacher tokens of a row."""
        return (*self.sampled, *self.real)[0].shape[1]

    def _rows(self, group: Sequence[np.ndarray], first: int, count: int, tag: int) -> np.ndarray:
        starts = np.cumsum([0] + [len(a) for a in group])
        total = int(starts[-1])
        epochs, offsets = np.divmod(np.arange(first, first + count), total)
        picked = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            picked[here] = _permutation(total, (self.seed, tag, int(epoch)))[offsets[here]]
        shard = np.searchsorted(starts, picked, side="right") - 1
        out = np.empty((count, group[0].shape[1]), dtype=np.uint16)
        for index in np.unique(shard):
            here = shard == index
            out[here] = group[index][picked[here] - starts[index]]
        return out

    def batch(self, step: int, rows: int) -> np.ndarray:
        """Return the rows of `step`: uint16 ``[rows, length]``; real rows are spread among them."""
        place = np.arange(step * rows, (step + 1) * rows)
        # row n is real when the running count of real rows, floor(n·share), goes up at it
        is_real = np.floor((place + 1) * self.real_share) > np.floor(place * self.real_share)
        before = int(np.floor(step * rows * self.real_share))
        real, sampled = int(is_real.sum()), int((~is_real).sum())
        out = np.empty((rows, self.length), dtype=np.uint16)
        if real:
            out[is_real] = self._rows(self.real, before, real, 1)
        if sampled:
            out[~is_real] = self._rows(self.sampled, step * rows - before, sampled, 0)
        return out


_CACHE: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}


def _permutation(total: int, key: tuple[int, ...]) -> np.ndarray:
    if (total, key) not in _CACHE:
        while len(_CACHE) > 7:
            _CACHE.pop(next(iter(_CACHE)))
        _CACHE[total, key] = np.random.default_rng(key).permutation(total).astype(np.int32)
    return _CACHE[total, key]


@dataclass(frozen=True)
class Expansion:
    """A batch in the student's vocabulary.

    Attributes
    ----------
    tokens : int64 ``[rows, context]``, student ids, 0 where a row is shorter
    target : int64 ``[rows, context]``, the next student id, or -1 where there is none
    teacher : int64 ``[rows, context]``, the teacher position whose prediction is the target
        distribution, or -1 where the next piece continues a teacher token (or there is none)
    """

    tokens: Tensor
    target: Tensor
    teacher: Tensor


def expand(rows: Tensor, table: Tensor, count: Tensor, context: int) -> Expansion:
    """Split the teacher tokens of ``rows`` int64 ``[rows, length]`` into the student's pieces.

    Parameters
    ----------
    table : int64 ``[teacher vocab, longest]``, pieces of each teacher token
    count : int64 ``[teacher vocab]``, how many
    context : student tokens kept of each row
    """
    n, length = rows.shape
    size = count[rows]
    start = size.cumsum(1) - size
    wide = context + 1
    tokens = torch.zeros((n, wide + 1), dtype=torch.int64, device=rows.device)
    source = torch.full_like(tokens, NOT_A_TARGET)
    filled = torch.zeros_like(tokens)
    split = table[rows]
    position = torch.arange(length, device=rows.device).expand(n, length)
    for piece in range(table.shape[1]):
        place = torch.where(piece < size, start + piece, wide).clamp_max(wide)
        tokens.scatter_(1, place, split[:, :, piece])
        filled.scatter_(1, place, torch.ones_like(place))
        if piece == 0:
            source.scatter_(1, place, position - 1)
    tokens, source, filled = (t[:, :wide] for t in (tokens, source, filled))
    target = torch.where(filled[:, 1:] > 0, tokens[:, 1:], NOT_A_TARGET)
    return Expansion(
        tokens=(tokens * filled)[:, :context],
        target=target,
        teacher=torch.where(target >= 0, source[:, 1:], NOT_A_TARGET),
    )
