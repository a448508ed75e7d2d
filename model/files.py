"""Files and folders that are whole or not there, and files of the format that they must be of."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from golden.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` under a temporary name beside `path`, then rename it.

    The package imports nothing of `signacc`, whose `signacc.files` does the same for several files.
    """
    temporary = path.with_name(path.name + ".part")
    with whole(path, temporary):
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


@contextmanager
def whole(path: Path, temporary: Path) -> Iterator[None]:
    """Write `path` under a temporary name: what fails leaves nothing, and names the file."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk is told of no file
            error.filename = error.filename or str(path)
        raise


_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


def _exchange(one: Path, other: Path) -> bool:
    """Give two folders each other's name in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    return rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def put_folder(work: Path, folder: Path) -> None:
    """Rename `work`, a whole folder, to `folder`, beside it; what is there is removed.

    `folder` is there at every moment, whole: the two exchange their names in one step, so that
    whoever is killed leaves the one or the other. A file system that cannot do so has a moment
    between two renames at which the old one is at ``.NAME.old`` alone.

    Raises
    ------
    OSError
        If it cannot be renamed; what was there is there. `work` may still be there, too.
    """
    old = folder.parent / f".{folder.name}.old"
    if folder.exists():
        if _exchange(work, folder):
            old = work
        else:
            if old.exists():  # of a call that was killed after its second rename
                shutil.rmtree(old)
            os.replace(folder, old)
            try:
                os.replace(work, folder)
            except BaseException:
                if folder.exists():  # another call was quicker: its folder stays
                    shutil.rmtree(old)
                else:
                    os.replace(old, folder)
                raise
    else:
        os.replace(work, folder)
    # the new one is in place: what cannot be removed is no failure of it
    shutil.rmtree(old, ignore_errors=True)


def check_format(data: Any, name: str, version: int, path: Path) -> None:
    """Raise InputError unless `data`, read from `path`, is of this format and version."""
    if (data["format"], data["version"]) != (name, version):
        raise InputError(
            f"{path} must be of format {name} {version}, not {data['format']} {data['version']}"
        )
