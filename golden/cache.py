"""Where everything that is built once and can be built again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the folder of cached builds: $SIGNACC_CACHE, else ~/.cache/signacc."""
    given = os.environ.get("SIGNACC_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "signacc"
