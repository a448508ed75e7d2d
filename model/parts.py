"""A long stream of bytes in numbered files of limited size, each with its SHA-256.

A file is written under a temporary name, put on disk and renamed. Its name holds the start of its
hash, so that a stream never overwrites a part of another one in the same folder: whoever is killed
while writing leaves the stream before as it was.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from golden.errors import InputError

from .checksums import check_manifested
from .files import whole

_NAME = re.compile(r"step-\d{8}-\d{4,}-[0-9a-f]{12}\.bin")
TEMPORARY = "next.bin.part"


@dataclass(frozen=True)
class Part:
    """A file of a stream: its name in the folder, its size, and its SHA-256 in hex."""

    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not _NAME.fullmatch(self.file):
            raise InputError(
                f"a part must be called like step-00000500-0001-0123456789ab.bin, not {self.file!r}"
            )
        if type(self.bytes) is not int or self.bytes < 1:
            raise InputError(f"{self.file} must have at least 1 byte, not {self.bytes!r}")
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise InputError(f"{self.file} must have a SHA-256 in hex, not {self.sha256!r}")


class PartWriter:
    """Writes a stream to `folder` as parts of at most `most` bytes; close it with `finish`.

    Parameters
    ----------
    step : number in the parts' names

    Attributes
    ----------
    parts : list of Part, of what is on disk
    """

    def __init__(self, folder: Path, step: int, most: int) -> None:
        if most < 1:
            raise InputError(f"a part must have at least 1 byte, not {most}")
        self.folder, self.step, self.most = Path(folder), step, most
        self.parts: list[Part] = []
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        """Append bytes; raises OSError if a part cannot be written."""
        rest = memoryview(data)
        while rest:
            room = self.most - len(self._data)
            self._data += rest[:room]
            rest = rest[room:]
            if len(self._data) == self.most:
                self.finish()

    def finish(self) -> None:
        """Write the part at hand, if it has any bytes."""
        if not self._data:
            return
        digest = hashlib.sha256(self._data).hexdigest()
        name = f"step-{self.step:08d}-{len(self.parts) + 1:04d}-{digest[:12]}.bin"
        temporary = self.folder / TEMPORARY
        with whole(self.folder / name, temporary):
            with open(temporary, "wb") as file:
                file.write(self._data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.folder / name)
        self.parts.append(Part(name, len(self._data), digest))
        self._data = bytearray()


class PartReader:
    """Reads a stream of parts from `folder`; a context manager.

    Raises
    ------
    InputError
        By name of the part, if one is missing, of another size or of another hash; when all are
        read and bytes are left, or before all that is asked for is read.
    """

    def __init__(self, folder: Path, parts: Sequence[Part]) -> None:
        self.folder, self._left = Path(folder), list(parts)
        self._data = memoryview(b"")
        # what is not there need not be found out after minutes
        for part in parts:
            path = self.folder / part.file
            if not path.is_file():
                raise InputError(f"{path} is missing: its manifest names {len(parts)} parts")
            if path.stat().st_size != part.bytes:
                raise InputError(
                    f"{path} must have {part.bytes} bytes, not {path.stat().st_size}: truncated, "
                    f"or of another state"
                )

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        pieces = []
        while size:
            if not self._data:
                if not self._left:
                    raise InputError(f"the parts in {self.folder} must hold {size} bytes more")
                self._data = memoryview(self._next(self._left.pop(0)))
            pieces.append(self._data[:size])
            self._data = self._data[size:]
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _next(self, part: Part) -> bytes:
        path = self.folder / part.file
        data = path.read_bytes()
        check_manifested(path, part.sha256, hashlib.sha256(data).hexdigest())
        return data

    def __enter__(self) -> PartReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and (self._data or self._left):
            raise InputError(f"the parts in {self.folder} hold more than their manifest says")


def check_parts(folder: Path, parts: Sequence[Part]) -> None:
    """Read all parts; raises InputError by name of the first that is not as it was written."""
    with PartReader(folder, parts) as reader:
        for part in parts:
            reader.read(part.bytes)


def remove_other_parts(folder: Path, parts: Sequence[Part]) -> None:
    """Remove parts that are not among `parts`, and what a killed writer left."""
    kept = {part.file for part in parts}
    for path in Path(folder).iterdir():
        if path.name == TEMPORARY or (_NAME.fullmatch(path.name) and path.name not in kept):
            path.unlink()
