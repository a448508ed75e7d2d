"""Output files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`: see :func:`write_texts`."""
    write_texts({Path(path): text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write files that belong together: all, or none.

    Each goes to a temporary file in its folder; only when all are on disk are they renamed. A
    symbolic link is followed, not replaced.

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
        for path, text in texts.items():
            target = Path(os.path.realpath(path))
            if target.is_dir():
                raise IsADirectoryError(21, "an output file must not be a folder", str(path))
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            ready.append((name, target))
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
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
