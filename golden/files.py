"""Folders that are made for what is written to them, and go again if nothing is."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def make_folder(folder: str | Path) -> list[Path]:
    """Make a folder and those above it; return the ones that were not there, the lowest first."""
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders in their order, those in which there is nothing."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def made_folder(folder: str | Path) -> Iterator[None]:
    """Make a folder, and those above it, for what the block writes there.

    If the block fails, of a full disk or whatever, those that it was made with go again; but none
    in which there is something. Where an error of a full disk names no file, it gets the folder's
    name.
    """
    made = make_folder(folder)
    try:
        yield
    except BaseException as error:
        remove_empty(made)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = error.filename or str(folder)
        raise
