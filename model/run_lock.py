"""One training a run folder: two would mix their metrics, and remove each other's checkpoints."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from golden.errors import InputError


class RunLock:
    """Holds a folder for one process until it is closed, or the process ends, however it does.

    The system keeps the lock, on the folder itself: nothing is left behind. A file system that has
    none lets everyone in.

    Raises
    ------
    InputError
        If another training holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise InputError(f"a run folder must be of one training; another is at {folder} now"
                             ) from None  # fmt: skip
        except OSError:
            self.close()

    def close(self) -> None:
        """Let the folder go."""
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()
