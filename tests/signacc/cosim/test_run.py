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


def failing_bench(log: str) -> None:
    with run.work_folder() as work:
        (work / "bench.log").write_text(log)
        raise BenchError("bench x failed")


def test_success_leaves_nothing(folder):
    with run.work_folder() as work:
        (work / "x").write_text("x")
    assert list(folder.iterdir()) == []


def test_interruption_leaves_nothing(folder):
    with pytest.raises(KeyboardInterrupt), run.work_folder():
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []


def test_failed_bench_leaves_its_log(folder):
    with pytest.raises(BenchError) as caught:
        failing_bench("line 1\nAssertionError: hang\n")
    (work,) = folder.iterdir()
    assert (work / "bench.log").is_file()
    assert "AssertionError: hang" in caught.value.__notes__[0]


def test_full_disk_in_the_bench_is_said_as_such(folder):
    with pytest.raises(OSError, match="No space left") as caught:
        failing_bench("OSError: [Errno 28] No space left on device\n")
    assert caught.value.errno == errno.ENOSPC
    assert list(folder.iterdir()) == []
