"""One training a run folder."""

import subprocess
import sys

import pytest

from golden.errors import InputError
from model.run_lock import RunLock

from .tiny import SETTINGS, run


def test_a_folder_is_held_until_it_is_let_go(tmp_path):
    first = RunLock(tmp_path)
    with pytest.raises(InputError, match=f"another is at {tmp_path} now"):
        RunLock(tmp_path)
    first.close()
    RunLock(tmp_path).close()
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_lets_go(tmp_path):
    held = f"from pathlib import Path; from model.run_lock import RunLock; \
a = RunLock(Path({str(tmp_path)!r})); print(1, flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", held], stdin=-1, stdout=-1)
    assert process.stdout.readline() == b"1\n"
    with pytest.raises(InputError, match="another is at"):
        RunLock(tmp_path)
    process.kill()
    process.communicate()
    RunLock(tmp_path).close()


def test_a_second_training_is_refused_and_changes_nothing(tmp_path):
    out = tmp_path / "run"
    run(out, stop_after=20)
    first = run(out, resume=True, only_make=True)
    before = (out / "metrics.csv").read_bytes()
    with pytest.raises(InputError, match="a run folder must be of one training; another is at"):
        run(out, resume=True, only_make=True)
    assert (out / "metrics.csv").read_bytes() == before
    first.train()
    assert run(out, resume=True, only_make=True).step == SETTINGS.steps


def test_a_training_that_cannot_begin_lets_go(tmp_path, monkeypatch):
    """Even while somebody keeps the error, whose frames hold the run."""
    out = tmp_path / "run"
    run(out, stop_after=20)
    with pytest.raises(InputError, match="a run folder must be new") as kept:
        run(out, only_make=True)
    RunLock(out).close()
    assert kept.value.__traceback__ is not None
    monkeypatch.setattr("model.train.Replica", "not callable")
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "new", empty):
        with pytest.raises(TypeError, match="not callable"):
            run(folder, only_make=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "run"]
