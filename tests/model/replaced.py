"""What is seen of a folder while it is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest


def watch(monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> None:
    """Call `look`, which raises if something is amiss, around each renaming and removing."""
    for module, name in ((os, "replace"), (os, "rename"), (shutil, "rmtree")):
        original = getattr(module, name)

        def watched(*arguments: Any, original: Any = original, **options: Any) -> None:
            look()
            original(*arguments, **options)
            look()

        monkeypatch.setattr(module, name, watched)
