"""Text files that are whole or not there, and of the format that they must be of."""

from __future__ import annotations

import os
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


def check_format(data: Any, name: str, version: int, path: Path) -> None:
    """Raise InputError unless `data`, read from `path`, is of this format and version."""
    if (data["format"], data["version"]) != (name, version):
        raise InputError(
            f"{path} must be of format {name} {version}, not {data['format']} {data['version']}"
        )
