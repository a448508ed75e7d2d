"""Runs compared to the bit: what is the same is called so, and what differs is found."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.checkpoint import checkpoints, read_tensors

from .model.test_parallel import SHORT
from .model.tiny import run, write_inputs

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TRAINING = ("--", "--teacher", "t.gguf", "--data", "data", "--model", "shape.json", "--context",
            "12", "--batch", "4", "--warmup", "1")  # fmt: skip


@pytest.fixture
def repeat(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("train_repeat")


def test_equal_runs_are_equal_and_a_changed_one_is_found(repeat, tmp_path):
    run(tmp_path / "a", SHORT)
    run(tmp_path / "b", SHORT)
    same = repeat.compare(tmp_path / "b", tmp_path / "a")
    assert same == {
        "same_bits": True, "differing_tensors": 0, "largest_difference": 0.0, "first_step": None
    }  # fmt: skip
    run(tmp_path / "c", replace(SHORT, weight_decay=SHORT.weight_decay + 0.05))
    found = repeat.compare(tmp_path / "c", tmp_path / "a")
    a, c = (read_tensors(checkpoints(tmp_path / name)[-1]) for name in "ac")
    assert found["differing_tensors"] == sum(bool((a[k] != c[k]).any()) for k in a) > 0
    assert found["largest_difference"] == max(float((a[k] - c[k]).abs().max()) for k in a)
    assert not found["same_bits"]
    assert found["first_step"] > 1, "the first step's loss is of the same initial weights"
    digests = [repeat.digest(t) for t in (a, c, read_tensors(checkpoints(tmp_path / "b")[-1]))]
    assert digests[0] == digests[2] != digests[1]


def test_signs_of_zeros_differ_and_a_nan_is_equal_to_itself(repeat, monkeypatch):
    import torch

    first = {"x": torch.tensor([0.0, float("nan")])}
    monkeypatch.setattr(repeat, "checkpoints", lambda path: [path])
    monkeypatch.setattr(repeat, "read_metrics", lambda path: [])
    for other, same in ((0.0, True), (-0.0, False)):
        second = {"x": torch.tensor([other, float("nan")])}
        monkeypatch.setattr(repeat, "read_tensors", {"a": first, "b": second}.get)
        assert repeat.compare("a", "b")["same_bits"] is same


def test_ways_are_made_by_processes_and_leave_a_record(repeat, tmp_path):
    write_inputs(tmp_path)
    result = CliRunner().invoke(
        repeat.main, ["--way", "resumed", "--steps", "4", "--out", "r.json", *TRAINING]
    )
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    whole, resumed = results["ways"]
    assert (whole["way"], resumed["way"], resumed["against"]) == ("whole", "resumed", "whole")
    assert resumed["same_bits"]
    assert resumed["sha256"] == whole["sha256"]
    assert results["steps"] == 4
    assert not (tmp_path / "r.run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--", "--steps", "3"), "--steps is not to be given"),
        (("--", "--out=x"), "--out=x is not to be given"),
        (("--", "--warmup", "1", "--teacher", "no.gguf", "--data", "no"), "none at no.gguf"),
        (("--steps", "1"), "Invalid value for '--steps'"),
        (("--teacher", "t.gguf"), "No such option"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(repeat, tmp_path, options, message):
    result = CliRunner().invoke(repeat.main, ["--out", "r.json", *options])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_runs_is_not_overwritten(repeat, tmp_path):
    (tmp_path / "r.run").mkdir()
    (tmp_path / "r.run/kept").write_text("mine")
    result = CliRunner().invoke(repeat.main, ["--out", "r.json", *TRAINING])
    assert result.exit_code == 2
    assert "r.run must not exist yet" in result.output
    assert (tmp_path / "r.run/kept").read_text() == "mine"
