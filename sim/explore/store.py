"""Results of a sweep on disk: a file to which whole lines are appended, by content key.

An interrupted run loses at most the line being written, which the next run drops and computes
again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from ..errors import InputError

RESULTS = "results.jsonl"


class ResultStore:
    """The results in a folder, one JSON object with a ``key`` a line; open it with ``with``.

    Parameters
    ----------
    folder
        Made if it is not there.
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

    def __enter__(self) -> ResultStore:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"a folder of results takes one run at a time; another has {self.path} open"
                ) from None
            self._load()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

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
        try:
            while data:
                data = data[os.write(self._file, data):]
            os.fsync(self._file)
        except OSError as error:  # such as a full disk: of a descriptor it knows no name
            error.filename = str(self.path)
            raise
        self.records.update((record["key"], record) for record in new)
