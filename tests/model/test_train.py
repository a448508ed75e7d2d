import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.errors import InputError
from model import parallel
from model.checkpoint import checkpoints, read_state
from model.metrics import read_metrics
from model.packed import load_float
from model.train import TrainingError
from model.trained import load_trained

from .tiny import CONFIG, SETTINGS, mixture, run


def log(out):
    timed = ("tokens_per_s", "seconds", "mfu")
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(out)]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("tied", [False, True])
def test_loss_falls_and_the_model_is_exported(tmp_path, tied):
    model = run(tmp_path, config=replace(CONFIG, tie_word_embeddings=tied))
    entries = log(tmp_path)
    assert [e["step"] for e in entries] == list(range(5, 41, 5))
    assert entries[-1]["loss"] < entries[0]["loss"] - 0.02
    assert entries[-1]["tokens"] == 40 * 8 * 12
    assert all(0 < e["flip_flop"] < 0.5 and e["grad_norm"] > 0 for e in entries)
    packed = load_float(tmp_path / "packed")
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.allclose(packed(tokens), model(tokens), atol=0.05)
    assert same(load_trained(tmp_path).state_dict(), model.state_dict())


def test_resume_continues_as_if_it_had_not_stopped(tmp_path):
    whole = run(tmp_path / "whole").state_dict()
    run(tmp_path / "parts", stop_after=20)
    parts = run(tmp_path / "parts", resume=True).state_dict()
    assert same(whole, parts)
    assert log(tmp_path / "parts") == log(tmp_path / "whole")


def test_lines_after_the_checkpoint_of_a_killed_run_are_replaced(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "killed", stop_after=20)
    with open(tmp_path / "killed" / "metrics.csv", "a") as file:
        file.write("25,2400,9.9,1,1,1,1,1,1\n30,28")  # more lines, the last unfinished
    run(tmp_path / "killed", resume=True)
    assert log(tmp_path / "killed") == log(tmp_path / "whole")


def test_recomputing_layers_changes_nothing(tmp_path):
    whole = run(tmp_path / "whole", stop_after=3).state_dict()
    assert same(whole, run(tmp_path / "r", replace(SETTINGS, recompute=True), stop_after=3)
                .state_dict())  # fmt: skip


@pytest.mark.parametrize("micro", [2, 4])
def test_micro_batches_change_nothing_but_rounding(tmp_path, micro):
    whole = run(tmp_path / "whole", stop_after=3)
    parts = run(tmp_path / "parts", replace(SETTINGS, micro=micro), stop_after=3)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-5)
    losses = [[e["loss"] for e in log(tmp_path / n)] for n in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1], abs=2e-5)


@pytest.mark.parametrize("log_every", [1, 5])
def test_time_over_stops_with_checkpoint_and_export(tmp_path, log_every):
    run(tmp_path, replace(SETTINGS, log_every=log_every), minutes=1e-9)
    assert read_state(checkpoints(tmp_path)[-1])["step"] in (1, 2)
    assert load_float(tmp_path / "packed").config == CONFIG
    resumed = run(tmp_path, resume=True).state_dict()
    assert same(resumed, run(tmp_path / "whole").state_dict())


def test_twin_reads_the_same_rows(tmp_path, monkeypatch):
    from model.targets import Targets

    read = {True: [], False: []}
    for binary, seen in read.items():
        original = Targets.__call__

        def spy(self, rows, seen=seen, original=original):
            seen.append(rows.tolist())
            return original(self, rows)

        monkeypatch.setattr(Targets, "__call__", spy)
        run(tmp_path / str(binary), replace(SETTINGS, binary=binary), stop_after=6)
        monkeypatch.undo()
    assert len(read[True]) == 6
    assert read[True] == read[False]
    assert not (tmp_path / "False" / "packed").exists()
    assert log(tmp_path / "False")[0]["flip_flop"] is None


@pytest.mark.parametrize(
    ("loss", "axis"),
    [("mixed", "column"), ("ce", "column"), ("ad", "row"), ("ad", "single"), ("ad", "both")],
)
def test_every_loss_and_scale_axis_trains(tmp_path, loss, axis):
    run(tmp_path, replace(SETTINGS, loss=loss, scale_axis=axis))
    losses = [e["loss"] for e in log(tmp_path)]
    assert losses[-1] < losses[0] - 0.02
    assert (tmp_path / "packed").exists() == (axis == "column")


@pytest.mark.parametrize("at", [1, 26])
def test_nan_stops_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, at):
    calls = 0
    original = parallel.chunked_loss

    def poisoned(*arguments):
        nonlocal calls
        calls += 1
        return original(*arguments) * (math.nan if calls == at else 1.0)

    monkeypatch.setattr(parallel, "chunked_loss", poisoned)
    kept = "there is no checkpoint yet" if at == 1 else r"step-00000020 is kept"
    with pytest.raises(TrainingError, match=rf"step {at}: loss nan, gradient norm nan; .*{kept}"):
        run(tmp_path)
    if at > 1:
        monkeypatch.undo()
        assert [p.name for p in checkpoints(tmp_path)] == ["step-00000020"]
        assert all(p.isfinite().all() for p in load_trained(tmp_path).parameters())


def test_a_parameter_that_is_not_finite_is_not_saved(tmp_path):
    training = run(tmp_path, only_make=True)
    training.replica.student.model.norm.weight.data[0] = math.inf
    with pytest.raises(TrainingError, match="step 0: a parameter is not finite; there is no check"):
        training.save()
    assert checkpoints(tmp_path) == []


def test_resume_refuses_other_settings_and_other_shapes(tmp_path):
    run(tmp_path, stop_after=5)
    with pytest.raises(InputError, match=r"step-00000005 was made with lr 0\.01, not 0\.02"):
        run(tmp_path, replace(SETTINGS, lr=2e-2), resume=True)
    wide = replace(CONFIG, intermediate_size=32)
    with pytest.raises(InputError, match="was made with intermediate_size 24, not 32"):
        run(tmp_path, config=wide, resume=True)


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="context must be at most 12, not 13"):
        run(tmp_path, replace(SETTINGS, context=13))
    with pytest.raises(InputError, match="micro must divide a device's 8 rows of a batch, not 3"):
        run(tmp_path, replace(SETTINGS, micro=3))
    with pytest.raises(InputError, match="to continue from the teacher, the model must have its"):
        run(tmp_path, replace(SETTINGS, initial="teacher"))
    with pytest.raises(InputError, match="must hold a checkpoint; there is none in"):
        load_trained(tmp_path)


def test_the_mean_is_over_the_positions_of_the_whole_batch(tmp_path):
    """The first step's loss, computed apart from the loop, position by position."""
    training = run(tmp_path, only_make=True)
    rows = mixture().batch(0, SETTINGS.batch)
    example = training.targets(torch.from_numpy(rows.astype(np.int64)))
    with torch.no_grad():
        logits = training.replica.student(example.tokens).flatten(0, 1).double()
    total, count = 0.0, 0
    teacher = training.targets.teacher
    hidden = teacher(torch.from_numpy(rows.astype(np.int64))).flatten(0, 1)
    every = (hidden @ teacher.embedding.t()).double().softmax(-1)
    first = training.targets.table[:, 0]
    for i, (label, source) in enumerate(
        zip(example.wanted.label.tolist(), example.wanted.source.tolist(), strict=True)
    ):
        if label < 0:
            continue
        target = torch.zeros(CONFIG.vocab_size, dtype=torch.float64)
        if source >= 0:
            target.index_add_(0, first, every[source])
        else:
            target[label] = 1.0
        total -= float((target * logits[i].log_softmax(0)).sum())
        count += 1
    assert count < rows.shape[0] * SETTINGS.context  # some rows are short
    training.settings = replace(SETTINGS, log_every=1)
    training.train(stop_after=1)
    assert log(tmp_path)[0]["loss"] == pytest.approx(total / count, abs=1e-4)
