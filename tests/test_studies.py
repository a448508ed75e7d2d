"""The runner of the studies, end to end on the tiny model, and its statistics."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from model.data import Mixture, save_shard
from model.manifest import Manifest, describe, vocabulary_hash
from model.targets import Targets
from model.trained import load_trained

from .model.tiny import CONFIG, VOCABULARY, rows, write_gguf

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def studies(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
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


def test_a_study_is_made_stopped_and_gone_on_with(studies, tmp_path):
    write_gguf(tmp_path / "t.gguf")
    data = tmp_path / "data"
    data.mkdir()
    save_shard(data / "a.npy", rows(40))
    shard = describe(data, "a.npy", group="sampled", source="-", licence="-")
    Manifest(vocabulary=vocabulary_hash(VOCABULARY), vocabulary_size=19, length=10,
             shards=(shard,)).write(data)  # fmt: skip
    (tmp_path / "shape.json").write_text(json.dumps(CONFIG.to_dict()))
    arguments = [
        "--study", "loss", "--teacher", str(tmp_path / "t.gguf"), "--data", str(data), "--run",
        str(tmp_path / "runs"), "--model", str(tmp_path / "shape.json"), "--steps", "4", "--batch",
        "4", "--context", "12", "--warmup", "1", "--log-every", "1", "--seeds", "2",
        "--hold-rows", "8", "--out", str(tmp_path / "out.json"),
    ]  # fmt: skip
    first = CliRunner().invoke(studies.main, [*arguments, "--minutes", "0.001"])
    assert first.exit_code == 0, first.output
    assert "not finished: " in first.output
    assert "CE-1; the same command goes on" in first.output
    second = CliRunner().invoke(studies.main, arguments)
    assert second.exit_code == 0, second.output
    record = json.loads((tmp_path / "out.json").read_text())["results"]
    assert record["complete"]
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
