"""SHA-256 of files: of a checkpoint, with what is said about it, and of what a manifest names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from golden.errors import InputError

FILES, SEAL = "files", "sha256"
"""Keys in ``state.json``: hashes of the files by name, and the hash of all else in it."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_manifested(path: Path, said: str, found: str) -> None:
    """Refuse a file of which a manifest says another SHA-256 than was found."""
    if found != said:
        raise InputError(
            f"{path} must be as its manifest says (SHA-256 {said[:12]}…); it has changed or is "
            f"damaged"
        )


def hash_files(paths: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their names."""
    return {path.name: file_hash(path) for path in paths}


def check_files(
    folder: Path, files: Mapping[str, str], found: Sequence[str], *, share: tuple[int, int] = (0, 1)
) -> None:
    """Refuse a folder whose files are not those that `files` gives the SHA-256 of.

    Parameters
    ----------
    files : SHA-256 by name
    found : names of the files that are there
    share : number of this process and of all: each reads every so many-th file

    Raises
    ------
    InputError
        That names the first file that is missing, not known, or has changed.
    """
    for name in sorted(set(files) ^ set(found)):
        state = "is missing" if name in files else "is none of its files"
        raise InputError(f"{folder} must be a checkpoint of training as it was written: "
                         f"{name} {state}")  # fmt: skip
    for name in sorted(files)[share[0] :: share[1]]:
        try:
            same = file_hash(Path(folder) / name) == files[name]
        except OSError as error:
            raise InputError(f"{folder} must be a checkpoint of training: {error}") from None
        if not same:
            raise InputError(
                f"{folder} must be a checkpoint of training as it was written (SHA-256 "
                f"{files[name][:12]}…): {name} has changed or is damaged"
            )


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def sealed(state: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return `state` with the hashes of a checkpoint's files, and the hash of both."""
    whole = json.loads(json.dumps({**state, FILES: dict(sorted(files.items()))}))
    return {**whole, SEAL: _digest(whole)}


def unsealed(data: Mapping[str, Any], where: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Return the state that `sealed` was given, and the files' hashes.

    The hashes are None for data without any, as they were once written.

    Raises
    ------
    InputError
        If the data, read from `where`, is not as it was sealed.
    """
    state = dict(data)
    seal = state.pop(SEAL, None)
    if (seal is not None or FILES in state) and _digest(state) != seal:
        raise InputError(f"{where} must be as it was written; it has changed or is damaged")
    return state, state.pop(FILES, None)
