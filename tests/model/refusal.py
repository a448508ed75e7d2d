"""What a refused import leaves behind: everything as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from golden.errors import InputError
from model.importer import import_checkpoint

from ..packed_folder import write_packed_folder
from .published_files import CONFIG


def refused(checkpoint: Path, message: str) -> None:
    """Importing is refused with `message`, and what was at the output stays."""
    output = checkpoint.parent / "m"
    write_packed_folder(output, {**CONFIG, "head_dim": 6, "format": "signacc-packed"})
    before = {p.name: p.read_bytes() for p in output.iterdir()}
    with pytest.raises(InputError, match=message):
        import_checkpoint(checkpoint, output)
    assert {p.name: p.read_bytes() for p in output.iterdir()} == before
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["c", "m"]
