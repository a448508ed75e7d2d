"""Files and folders that are whole or not there, and files of the format that they must be of."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import tempfile
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


_WORK = ".part"


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Make a hidden folder beside `folder` to write in; it goes with the block, however that ends.

    One whose process was killed goes with the next call for a `folder` of that name: the system
    lets its lock go. On a file system without locks it stays.
    """
    name = folder.name[:32]  # what is added must not make it longer than a name may be
    _remove_left(folder.parent, name)
    work, handle = _make_locked(folder.parent, name)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(handle)


def _make_locked(parent: Path, name: str) -> tuple[Path, int]:
    """Make a hidden folder and lock it; return it and the handle that holds the lock."""
    while True:
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=_WORK, dir=parent))
        try:
            handle = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another call took it for a killed one's, as it had no lock yet
            continue
        _lock(handle)
        if _is(work, handle):
            return work, handle
        os.close(handle)


def _remove_left(parent: Path, name: str) -> None:
    """Remove the folders of :func:`work_folder` that nobody writes in any more."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}{re.escape(_WORK)}")
    for left in [path for path in parent.iterdir() if pattern.fullmatch(path.name)]:
        with suppress(OSError):  # gone already, no folder, or not ours
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _lock(handle) and _is(left, handle):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock a folder; False if another holds it, or the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is(path: Path, handle: int) -> bool:
    """Return whether the open folder is the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def check_format(data: Any, name: str, version: int, path: Path) -> None:
    """Raise InputError unless `data`, read from `path`, is of this format and version."""
    if (data["format"], data["version"]) != (name, version):
        raise InputError(
            f"{path} must be of format {name} {version}, not {data['format']} {data['version']}"
        )
