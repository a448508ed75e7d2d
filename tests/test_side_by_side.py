"""Commands side by side, without a GPU."""

import importlib
import sys
import threading
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def side_by_side(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("side_by_side")


def printing(text, code=0):
    return [sys.executable, "-c", f"import os; print({text}); raise SystemExit({code})"]


def test_every_job_is_run_once_and_failures_are_named(side_by_side, tmp_path, capsys):
    jobs = [f"job{i}" for i in range(7)]
    failed = side_by_side.run_all(
        jobs, lambda job: printing(f"'I am {job}'", job == "job3"), tmp_path / "logs", lanes=3
    )
    assert failed == ["job3"]
    assert "job3: exit code 1; see " in capsys.readouterr().err
    for job in jobs:
        lines = (tmp_path / "logs" / f"{job}.log").read_text().splitlines()
        assert lines[0].startswith("$ ")
        assert lines[1:] == [f"I am {job}"]


def test_a_job_may_be_left_out_when_its_turn_comes(side_by_side, tmp_path):
    turns = []

    def command(job):
        turns.append(job)
        return printing("1") if len(turns) < 3 else None

    assert side_by_side.run_all("abcd", command, tmp_path, lanes=1) == []
    assert turns == list("abcd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "b.log"]


def test_each_gpu_has_its_lanes(side_by_side, tmp_path, monkeypatch):
    monkeypatch.setattr(side_by_side.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert side_by_side.visible_gpus() == ["5", "7"]
    together = threading.Barrier(4, timeout=60)  # so that each lane takes one

    def command(job):
        together.wait()
        return printing("os.environ['CUDA_VISIBLE_DEVICES']")

    assert side_by_side.run_all("abcd", command, tmp_path, lanes=2) == []
    seen = [path.read_text().splitlines()[1] for path in sorted(tmp_path.iterdir())]
    assert sorted(seen) == ["5", "5", "7", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert side_by_side.visible_gpus() == ["0", "1"]
