"""GGUF files of others: opened with the package ``gguf``, and refused in one sentence."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden.errors import InputError

if TYPE_CHECKING:
    from gguf import GGUFReader


def gguf_package() -> Any:
    """Return the package; raises InputError if it is not installed."""
    try:
        import gguf
    except ImportError:
        raise InputError("GGUF files need the Python package gguf: pip install gguf") from None
    return gguf


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever the package trips on in a damaged file into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError, MemoryError,
            AssertionError, AttributeError, RuntimeError, struct.error) as error:  # fmt: skip
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} must be a complete GGUF file: {reason}") from None


def open_gguf(path: Path, what: str = "it") -> GGUFReader:
    """Open a file; its tensors are read when they are asked for.

    Parameters
    ----------
    what : the file's part in what is done, for the message if there is none

    Raises
    ------
    InputError
        If there is no file, it is no GGUF file, its head is damaged, or `gguf` is not installed.
    """
    gguf_package()
    if not Path(path).is_file():
        raise InputError(f"{what} must be a GGUF file; there is none at {path}")
    with reading(path):
        known = Path(path).stat()
        return _opened(str(path), known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=1)  # its vocabulary takes seconds, and is asked for before its tensors
def _opened(path: str, modified: int, size: int) -> GGUFReader:
    """Open the file that was modified then and has that size."""
    return gguf_package().GGUFReader(path)
