"""Results of a sweep on disk: a file to which whole lines are appended, by content key.

An interrupted run loses at most the line being written, which the next run drops and computes
again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from golden.files import make_folder, remove_empty

from ..errors import InputError

RESULTS = "results.jsonl"


class ResultStore:
    """The results in a folder, one JSON object with a ``key`` a line; open it with ``with``.

    Parameters
    ----------
    folder
        Made if it is not there; if the block fails with nothing stored, it goes again.
    records
        What is known, by key (an attribute, filled on opening).

    Raises
    ------
    InputError
        On opening: if another run has the folder open, or a whole line is no record.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / RESULTS
        self.records: dict[str, dict] = {}
        self._file: int | None = None
        self._made: list[Path] = []
        self._new = False

    def __enter__(self) -> ResultStore:
        self._made = make_folder(self.path.parent)
        self._new = not self.path.exists()
        try:
            self._open()
            self._load()
        except BaseException:
            self._close(failed=True)
            raise
        return self

    def _open(self) -> None:
        """Open and lock the file."""
        while self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                self._file = None
                raise InputError(
                    f"a folder of results takes one run at a time; another has {self.path} open"
                ) from None
            if not os.fstat(self._file).st_nlink:  # removed since, by one that stored nothing
                os.close(self._file)
                self._file = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(failed=error is not None)

    def _close(self, *, failed: bool) -> None:
        if self._file is not None:
            if failed and self._new and not os.fstat(self._file).st_size:
                with suppress(OSError):
                    self.path.unlink()
            os.close(self._file)
            self._file = None
        if failed:
            remove_empty(self._made)

    def _load(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                key = record["key"]
                if not isinstance(key, str):
                    raise TypeError
            except (ValueError, TypeError, KeyError, RecursionError):
                raise InputError(
                    f"{self.path}, line {number}: must be a result, a JSON object with a key"
                ) from None
            self.records[key] = record
        if whole < len(data):
            os.ftruncate(self._file, whole)

    def append(self, records: Iterable[dict]) -> None:
        """Add records, on disk when this returns; raises OSError, which names the file."""
        new = list(records)
        data = "".join(json.dumps(record) + "\n" for record in new).encode()
        written, before = 0, os.fstat(self._file).st_size
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError as error:  # such as a full disk: of a descriptor it knows no name
            if written < len(data):  # else it is not known what is on disk
                before += data.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._file, before)
            error.filename = str(self.path)
            raise
        self.records.update((record["key"], record) for record in new)
