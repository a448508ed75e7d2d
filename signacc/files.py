"""Output files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`: see :func:`write_texts`."""
    write_texts({Path(path): text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write text files that belong together: see :func:`write_files`."""
    write_files({path: [text.encode()] for path, text in texts.items()})


def write_files(files: Mapping[Path, Iterable[bytes]]) -> None:
    """Write files that belong together, each from its parts: all, or none.

    Each goes to a temporary file in its folder; only when all are on disk are they renamed. A
    symbolic link is followed, not replaced. A file's parts are drawn after those of the files
    before it.

    Raises
    ------
    OSError
        If a folder is missing, a target is a folder, or the disk is full; existing files are left
        as they were.
    """
    umask = os.umask(0)
    os.umask(umask)
    ready: list[tuple[str, Path]] = []
    try:
        for path, parts in files.items():
            target = Path(os.path.realpath(path))
            if target.is_dir():
                raise IsADirectoryError(21, "an output file must not be a folder", str(path))
            try:
                handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            except OSError as error:  # about the file that was asked for, not the temporary one
                error.filename = str(path)
                raise
            ready.append((name, target))
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~umask)
        for name, target in ready:
            os.replace(name, target)
    except BaseException:
        for name, _ in ready:
            with suppress(FileNotFoundError):
                os.unlink(name)
        raise
