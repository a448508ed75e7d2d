"""What is left behind: nothing after success or bad input, job and log after a failed bench."""

from __future__ import annotations

import errno
import tempfile

import pytest

from signacc.cosim import run
from signacc.cosim.build import BenchError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_success_leaves_nothing(folder):
    with run._work_folder() as work:
        (work / "x").write_text("x")
    assert list(folder.iterdir()) == []


def test_interruption_leaves_nothing(folder):
    with pytest.raises(KeyboardInterrupt), run._work_folder():
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []


def test_failed_bench_leaves_its_log(folder):
    with pytest.raises(BenchError) as caught, run._work_folder() as work:
        (work / "bench.log").write_text("line 1\nAssertionError: hang\n")
        raise BenchError("bench x failed")
    assert (work / "bench.log").is_file()
    assert "AssertionError: hang" in caught.value.__notes__[0]


def test_full_disk_in_the_bench_is_said_as_such(folder):
    with pytest.raises(OSError, match="No space left") as caught, run._work_folder() as work:
        (work / "bench.log").write_text("OSError: [Errno 28] No space left on device\n")
        raise BenchError("bench x failed")
    assert caught.value.errno == errno.ENOSPC
    assert list(folder.iterdir()) == []
