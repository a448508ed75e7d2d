"""A full disk: one sentence, and nothing is there that was not there before."""

import errno
import os

import pytest
from click.testing import CliRunner

from signacc.cli import main

COMMANDS = {
    "compare": ("compare", "--model", "fbi-130m", "--preset", "ulx3s", "--out"),
    "simulate": ("simulate", "--plot"),
    "explore": ("explore", "--workers", "0", "--constraints", "lut<=3000", "-o"),
    "export": ("export", "--preset", "kv260", "-o"),
    "pnr": ("pnr", "--preset", "tiny", "--target", "ecp5-85k", "-o"),
}


@pytest.fixture
def full(monkeypatch):
    """Nothing more fits on the disk: as it is found when files are put there."""

    def fails(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def synthesis(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fails)
    monkeypatch.setattr("signacc.fpga.flow._synthesis", synthesis)
    monkeypatch.setattr("signacc.fpga.flow.find_yosys", lambda: None)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_nothing_could_be_written_to(tmp_path, full, command):
    pytest.importorskip("matplotlib")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/kept").write_text("kept")
    for folder in ("new/below", "old"):
        result = CliRunner().invoke(main, [*COMMANDS[command], str(tmp_path / folder)])
        assert result.exit_code == 2, result.output
        message = result.stderr.splitlines()[-1]
        assert message.startswith(f"Error: No space left on device: {tmp_path / folder}")
        assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
            "old", "old/kept"
        ]
