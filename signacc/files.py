"""Output files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from golden.errors import InputError

T = TypeVar("T")


def check_output_file(path: str | Path, what: str = "output file") -> None:
    """Refuse, before any work, a file that :func:`write_files` could not write.

    `what` is what the message calls it.

    Raises
    ------
    InputError
        If its folder does not exist, or the path is a folder, read-only, or no regular file.
    """
    target = Path(os.path.realpath(path))
    _check_no_loop(target, path, what)
    if not target.parent.is_dir():
        raise InputError(f"the {what}'s folder must exist; there is none for {path}")
    try:
        _mode(Path(path), target, 0)
    except OSError as error:
        reason = (error.strerror or str(error)).removeprefix("an output file ")
        raise InputError(f"the {what} {reason}: {path}") from None


def check_output_folder(path: str | Path, what: str = "output folder") -> None:
    """Refuse, before any work, a folder that cannot be made because it is, or lies in, a file.

    Raises
    ------
    InputError
        If the path or a folder above it is something else.
    """
    target = Path(os.path.realpath(path))
    _check_no_loop(target, path, what)
    for part in (target, *target.parents):
        if part.exists() and not part.is_dir():
            raise InputError(f"the {what} must be a folder, not the file {part}")


def _check_no_loop(target: Path, path: str | Path, what: str) -> None:
    """Refuse a path whose symbolic links lead round: it resolves to a link."""
    if any(part.is_symlink() for part in (target, *target.parents)):
        raise InputError(f"the {what} must not be in a loop of symbolic links: {path}")


def joined(*parts: Mapping[Path, T]) -> dict[Path, T]:
    """Return all files of several mappings; raises InputError if two are one file."""
    files: dict[Path, T] = {}
    for part in parts:
        taken = {os.path.realpath(path) for path in files}
        for path in part:
            if os.path.realpath(path) in taken:
                raise InputError(f"two output files must not have one name: {path}")
        files.update(part)
    return files


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`: see :func:`write_texts`."""
    write_texts({Path(path): text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write text files that belong together: see :func:`write_files`."""
    write_files({path: [text.encode()] for path, text in texts.items()})


def write_files(files: Mapping[Path, Iterable[bytes]]) -> None:
    """Write files that belong together, each from its parts: all, or none.

    Each goes to a temporary file in its folder; only when all are on disk are they renamed. A
    symbolic link is followed, not replaced. A file that is replaced keeps its permissions. A file's
    parts are drawn after those of the files before it.

    Raises
    ------
    OSError
        If a folder is missing, a target is a folder or read-only, two targets are one file, or the
        disk is full; existing files are left as they were. It names the file that was asked for.
    """
    umask = os.umask(0)
    os.umask(umask)
    ready: dict[Path, str] = {}
    try:
        for path, parts in files.items():
            target = Path(os.path.realpath(path))
            if target in ready:
                raise OSError(errno.EEXIST, "two output files must not have one name", str(path))
            mode = _mode(path, target, 0o666 & ~umask)
            try:
                # A part of the name: what is added must not make it longer than a name may be.
                handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:32]}.")
                ready[target] = name
                with os.fdopen(handle, "wb") as file:
                    for part in parts:
                        file.write(part)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(name, mode)
            except OSError as error:  # about the file that was asked for, not the temporary one
                if error.filename is None or Path(error.filename).parent == target.parent:
                    error.filename = str(path)
                raise
        for target, name in ready.items():
            os.replace(name, target)
    except BaseException:
        for name in ready.values():
            with suppress(FileNotFoundError):
                os.unlink(name)
        raise


def _mode(path: Path, target: Path, new: int) -> int:
    """Return the permissions that a written file gets: those of the file that it replaces."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return new
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "an output file must not be a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "an output file must be a regular file", str(path))
    # A rename needs no right to write the file that it replaces: ask for it here.
    if not mode & 0o222 or not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "an output file must not be read-only", str(path))
    return stat.S_IMODE(mode)
