"""The runner of the studies, end to end on the tiny model, and its statistics."""

import importlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from model.data import Mixture
from model.targets import Targets
from model.trained import load_trained

from .model.tiny import CONFIG, VOCABULARY, rows, write_inputs

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def studies(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    # and on that of its processes: with PYTHONSAFEPATH a program's own folder is not
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS), prepend=os.pathsep)
    return importlib.import_module("studies")


def test_interval_is_students(studies):
    mean, half = studies.interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.303 / math.sqrt(3), rel=1e-4)
    assert math.isnan(studies.interval([1.0])[1])
    twelve = studies.interval([0.0, 1.0] * 6)[1]
    assert twelve == pytest.approx(2.201 * np.std([0.0, 1.0] * 6, ddof=1) / math.sqrt(12), rel=0.01)


def test_spikes_are_jumps_above_the_median_before(studies):
    losses = [3.0] * 10 + [3.05, 3.11, 2.9, 3.5, 3.0]
    assert studies.spikes(losses) == 2
    assert studies.spikes([5.0, 9.0]) == 0


def test_held_rows_are_not_trained_on(studies):
    def numbered(first, count):
        return np.arange(first, first + count, dtype=np.uint16)[:, None]

    mixture = Mixture([numbered(0, 30), numbered(30, 10)], [numbered(40, 20)], 0.3, 0)
    left, held = studies.held_apart(mixture, 6)
    trained = {int(v) for a in (*left.sampled, *left.real) for v in a[:, 0]}
    assert held.shape == (6, 1)
    assert not trained & set(held[:, 0].tolist())
    assert len(trained) == 54


@pytest.fixture
def arguments(tmp_path):
    """A study of the loss in small, to `tmp_path`/out.json."""
    write_inputs(tmp_path)
    data = tmp_path / "data"
    return [
        "--study", "loss", "--teacher", str(tmp_path / "t.gguf"), "--data", str(data), "--run",
        str(tmp_path / "runs"), "--model", str(tmp_path / "shape.json"), "--steps", "4", "--batch",
        "4", "--context", "12", "--warmup", "1", "--log-every", "1", "--seeds", "2",
        "--hold-rows", "8", "--out", str(tmp_path / "out.json"),
    ]  # fmt: skip


def test_a_study_is_made_stopped_and_gone_on_with(studies, arguments, tmp_path):
    first = CliRunner().invoke(studies.main, [*arguments, "--minutes", "0.001"])
    assert first.exit_code == 0, first.output
    assert "not finished: " in first.output
    assert "CE-1; the same command goes on" in first.output
    part = importlib.import_module("flagship").Part("study", (), [], record=tmp_path / "out.json")
    assert not part.complete()
    second = CliRunner().invoke(studies.main, arguments)
    assert second.exit_code == 0, second.output
    record = json.loads((tmp_path / "out.json").read_text())["results"]
    assert record["complete"]
    assert part.complete()
    assert [r["variant"] for r in record["summary"]] == ["AD", "mixed", "CE"]
    assert all(r["runs"] == 2 and r["ci95"] > 0 for r in record["summary"])
    assert record["summary"][0]["against_first"] == 0.0
    assert record["summary"][0]["cross_entropy_against_first"] == 0.0
    run = record["runs"][0]
    model = load_trained(tmp_path / "runs" / "base-0")
    targets = Targets(VOCABULARY, size=CONFIG.vocab_size, context=12, shares=(0.0, 1.0),
                      device=torch.device("cpu"))  # fmt: skip
    example = targets(torch.from_numpy(rows(40)[-8:].astype(np.int64)))
    logits = model(example.tokens).detach().flatten(0, 1)
    label = example.wanted.label
    expected = float(F.cross_entropy(logits[label >= 0], label[label >= 0]))
    assert run["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert (tmp_path / "out.csv").read_text().count("\n") == 4
    before = (tmp_path / "out.csv").read_text()
    assert CliRunner().invoke(studies.main, arguments).exit_code == 0  # nothing is made again
    assert (tmp_path / "out.csv").read_text() == before
    pair = [*arguments[:-1], str(tmp_path / "pair.json"), "--variant", "CE", "--variant", "AD"]
    assert CliRunner().invoke(studies.main, pair).exit_code == 0
    record = json.loads((tmp_path / "pair.json").read_text())["results"]
    assert [(r["variant"], r["runs"]) for r in record["summary"]] == [("AD", 2), ("CE", 2)]


def test_an_unknown_variant_is_refused(studies):
    bad = ["--study", "axis", "--variant", "AD", "--teacher", "t", "--data", "d", "--run", "r",
           "--out", "o"]  # fmt: skip
    result = CliRunner().invoke(studies.main, bad)
    assert result.exit_code == 2
    assert "a variant of axis is one of column, row, single, both, not 'AD'" in result.output


def test_runs_side_by_side_are_the_runs_one_by_one(studies, arguments, tmp_path):
    pair = [*arguments, "--variant", "CE", "--variant", "AD"]
    alone = CliRunner().invoke(studies.main, pair)
    assert alone.exit_code == 0, alone.output
    before = json.loads((tmp_path / "out.json").read_text())["results"]
    place = arguments.index("--run") + 1
    pair[place] = str(tmp_path / "side")
    beside = CliRunner().invoke(
        studies.main, [*pair, "--lanes", "2", "--drop-checkpoints", "--fast"]
    )
    assert beside.exit_code == 0, beside.output
    after = json.loads((tmp_path / "out.json").read_text())["results"]
    assert after["complete"]
    for mine, other in zip(after["runs"], before["runs"], strict=True):
        assert mine == other | {
            key: pytest.approx(other[key], rel=1e-4)
            for key in ("held_out_loss", "cross_entropy", "grad_norm", "flip_flop")
        }
    logs = sorted(path.name for path in (tmp_path / "side/runs").glob("*.log"))
    assert logs == ["AD-0.log", "AD-1.log", "CE-0.log", "CE-1.log"]
    said = (tmp_path / "side/runs/CE-1.log").read_text().splitlines()[0]
    for words in ("--variant CE", "--first-seed 1", "--seeds 1", "--fast", "--drop-checkpoints"):
        assert f" {words} " in said
    assert "--variant AD" not in said
    assert "--lanes" not in said
    assert not list((tmp_path / "side").glob("*/checkpoints/*/*.safetensors"))
    assert list((tmp_path / "runs").glob("*/checkpoints/*/*.safetensors"))


def test_a_run_that_fails_is_named_and_the_others_are_made(studies, arguments, tmp_path):
    blocked = tmp_path / "runs" / "ce-0"
    blocked.mkdir(parents=True)
    (blocked / "checkpoints").write_text("a file where a folder must be")
    result = CliRunner().invoke(
        studies.main, [*arguments, "--lanes", "2", "--seeds", "1", "--variant", "AD",
                       "--variant", "CE"])  # fmt: skip
    assert result.exit_code == 1
    assert "CE-0: exit code " in result.output
    assert "not finished: CE-0; the same command goes on" in result.output
    record = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [row["variant"] for row in record["summary"]] == ["AD"]


def test_lanes_and_torchrun_do_not_go_together(studies, arguments, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(studies.main, [*arguments, "--lanes", "1"])
    assert result.exit_code == 2
    assert "give --lanes without torchrun" in result.output
