"""GGUF files of others: opened with the package ``gguf``, and refused in one sentence."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden.errors import InputError

if TYPE_CHECKING:
    from gguf import GGUFReader


MOST_VALUES = 1 << 22
"""Keys, tensors and elements of arrays in a file's head, together: far above any vocabulary's. The
package makes an array of its own of each, some hundred times its bytes."""

_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
"""Types of values, as GGUF numbers them; bytes of those of one size."""
_MOST_NESTED = 8


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
            AssertionError, AttributeError, RuntimeError, ArithmeticError,
            struct.error) as error:  # fmt: skip
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


class _Head:
    """Walks the keys of a file without keeping any of them; ValueError where they cannot be."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.offset, self.values = data, 8, 0
        version = struct.unpack_from("<I", data, 4)[0]
        self.order = "<" if version & 0xFFFF else ">"  # as the package tells the byte order

    def number(self, kind: str) -> int:
        """Return the next integer of struct's `kind`."""
        value = struct.unpack_from(self.order + kind, self.data, self.offset)[0]
        self.skip(struct.calcsize(kind))
        return value

    def skip(self, size: int) -> None:
        """Step over so many bytes, which must be there."""
        self.offset += size
        if self.offset > len(self.data):
            raise ValueError("it ends within its keys")

    def count(self, more: int) -> None:
        """Count values, before they are read."""
        self.values += more
        if self.values > MOST_VALUES:
            raise ValueError(
                f"its head must have at most {MOST_VALUES} keys, tensors and elements of arrays, "
                f"not {self.values}"
            )

    def value(self, kind: int, nested: int = 0) -> None:
        """Step over a value."""
        if kind == _STRING:
            self.skip(self.number("Q"))
        elif kind == _ARRAY:
            if nested == _MOST_NESTED:
                raise ValueError(f"arrays must be nested at most {_MOST_NESTED} deep; more are")
            inner, length = self.number("I"), self.number("Q")
            self.count(length)
            if inner in _SCALARS:
                self.skip(_SCALARS[inner] * length)
            else:
                for _ in range(length):
                    self.value(inner, nested + 1)
        elif kind in _SCALARS:
            self.skip(_SCALARS[kind])
        else:
            raise ValueError(f"its head holds a value of the unknown type {kind}")


def _check_head(path: Path) -> None:
    """Refuse a file that says it holds more than it can, or than the package can be given."""
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("GGUF magic invalid")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            head = _Head(data)
            tensors, keys = head.number("Q"), head.number("Q")
            head.count(tensors + keys)
            for _ in range(keys):
                head.value(_STRING)
                head.value(head.number("I"))


@lru_cache(maxsize=1)  # its vocabulary takes seconds, and is asked for before its tensors
def _opened(path: str, modified: int, size: int) -> GGUFReader:
    """Open the file that was modified then and has that size."""
    _check_head(Path(path))
    return gguf_package().GGUFReader(path)
