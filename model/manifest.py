"""A folder of token shards and its ``manifest.json``: what the tokens are and where they are from.

The manifest names, for each shard, its group (``sampled`` or ``real``), source, licence, rows,
tokens and SHA-256; and once the vocabulary, the row length and the held-out texts. Training reads
nothing that the manifest does not vouch for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from golden.errors import InputError

from .checksums import check_manifested, file_hash
from .data import Mixture, load_shard
from .files import check_format, write_text
from .tokenizer import Vocabulary

NAME = "manifest.json"
FORMAT = "signacc-shards"
VERSION = 1
GROUPS = ("sampled", "real")
MOST_READERS = 8
"""Threads that read shards."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard of a folder; `file` is relative to it, `dropped` counts rows that overlapped."""

    file: str
    group: str
    source: str
    licence: str
    rows: int
    tokens: int
    sha256: str
    dropped: int = 0

    def __post_init__(self) -> None:
        for f in fields(self):
            value, kind = getattr(self, f.name), {"str": str, "int": int}[f.type]
            if type(value) is not kind:
                raise TypeError(f"{f.name} of a shard must be {kind.__name__}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes
    ----------
    vocabulary : SHA-256 of the vocabulary, see `vocabulary_hash`
    vocabulary_size, length : tokens of the vocabulary and of a row
    shards : the shards
    ngram : tokens in a row that training must not share with a held-out text
    held_out : by name, tokens and SHA-256 of each held-out text
    others : SHA-256 by name of files beside the shards, as far as they are known
    """

    vocabulary: str
    vocabulary_size: int
    length: int
    shards: tuple[Shard, ...]
    ngram: int = 0
    held_out: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    def check_other(self, folder: Path, name: str) -> Path:
        """Return the path of a file beside the shards; InputError if it is not as it was.

        One that the manifest does not name is not checked: older ones name none.
        """
        path = Path(folder) / name
        if not path.is_file():
            raise InputError(f"{folder} must hold {name}; it does not")
        if name in self.others:
            check_manifested(path, self.others[name], file_hash(path))
        return path

    def write(self, folder: Path) -> None:
        """Write it to `folder`, under a temporary name first."""
        path = Path(folder) / NAME
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)
        write_text(path, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read it; raises InputError if it is missing or of another kind."""
        path = Path(folder) / NAME
        if not path.is_file():
            raise InputError(f"a folder of shards must hold {NAME}; there is none in {folder}")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            check_format(data, FORMAT, VERSION, path)
            shards = tuple(Shard(**shard) for shard in data["shards"])
            data.setdefault("others", {})
            values = {f.name: data[f.name] for f in fields(cls)}
            for name in ("vocabulary_size", "length", "ngram"):
                if type(values[name]) is not int:
                    raise TypeError(f"{name} must be an integer, not {values[name]!r}")
            if not isinstance(values["vocabulary"], str):
                raise TypeError(f"vocabulary must be a text, not {values['vocabulary']!r}")
            if not all(isinstance(digest, str) for digest in values["others"].values()):
                raise TypeError("others must be a hash by name")
        except InputError:  # a ValueError whose message says it all
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} must be a manifest of shards: {error!r}") from None
        for shard in shards:
            if shard.group not in GROUPS:
                raise InputError(f"{path}: a group is one of {', '.join(GROUPS)}, "
                                 f"not {shard.group!r}")
            if Path(shard.file).is_absolute() or ".." in Path(shard.file).parts:
                raise InputError(f"{path}: a shard must lie in its folder, not at {shard.file}")
        return cls(**{**values, "shards": shards})


def vocabulary_hash(vocabulary: Vocabulary) -> str:
    """Return the SHA-256 of the vocabulary's tokens, merges and special tokens, in order."""
    parts = [vocabulary.tokens, vocabulary.merges, vocabulary.special]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def describe(
    folder: Path, file: str, *, group: str, source: str, licence: str, dropped: int = 0
) -> Shard:
    """Return the entry of a shard that lies in `folder`."""
    array = load_shard(Path(folder) / file)
    return Shard(
        file=file, group=group, source=source, licence=licence, rows=len(array),
        tokens=array.size, sha256=file_hash(Path(folder) / file), dropped=dropped,
    )  # fmt: skip


def load_shards(folder: Path, vocabulary: Vocabulary) -> dict[str, list[np.ndarray]]:
    """Return the shards of a folder by group, each checked against the manifest.

    Raises
    ------
    InputError
        If the manifest is missing or of another vocabulary; if a shard is missing, truncated,
        changed or of another row length; or if it holds an id outside the vocabulary.
    """
    manifest = Manifest.read(folder)
    if manifest.vocabulary != vocabulary_hash(vocabulary):
        raise InputError(
            f"{folder} holds tokens of another vocabulary ({manifest.vocabulary_size} tokens, "
            f"{manifest.vocabulary[:12]}…), not the teacher's ({len(vocabulary.tokens)} tokens, "
            f"{vocabulary_hash(vocabulary)[:12]}…)"
        )
    groups: dict[str, list[np.ndarray]] = {group: [] for group in GROUPS}
    # hashing and decompression leave the interpreter to other threads
    with ThreadPoolExecutor(min(len(manifest.shards) or 1, MOST_READERS)) as readers:
        arrays = readers.map(
            lambda shard: _checked(shard, Path(folder), manifest.length, len(vocabulary.tokens)),
            manifest.shards,
        )
        for shard, array in zip(manifest.shards, arrays, strict=True):
            groups[shard.group].append(array)
    return groups


def _checked(shard: Shard, folder: Path, length: int, vocabulary: int) -> np.ndarray:
    """Return a shard that is as the manifest says; see `load_shards`."""
    path = folder / shard.file
    if not path.is_file():
        raise InputError(f"a token shard must be a .npy file; there is none at {path}")
    check_manifested(path, shard.sha256, file_hash(path))  # before anything is decompressed
    array = load_shard(path)
    if array.shape != (shard.rows, length):
        raise InputError(
            f"{path} must hold {shard.rows} rows of {length} tokens, not {array.shape}"
        )
    largest = int(array.max())
    if largest >= vocabulary:
        raise InputError(f"{path} must hold ids below {vocabulary}, not {largest}")
    return array


def load_mixture(
    folder: Path, vocabulary: Vocabulary, *, real_share: float | None, seed: int
) -> Mixture:
    """Return the order of a folder's rows; see `load_shards` for what is checked.

    Parameters
    ----------
    real_share : share of rows that are real text; None takes rows in proportion to what is there
    """
    groups = load_shards(folder, vocabulary)
    if real_share is None:
        rows = {group: sum(len(a) for a in arrays) for group, arrays in groups.items()}
        real_share = rows["real"] / max(1, sum(rows.values()))
    shards = Manifest.read(folder).shards
    files = tuple(shard.sha256 for group in GROUPS for shard in shards if shard.group == group)
    return Mixture(groups["sampled"], groups["real"], real_share, seed, files)
