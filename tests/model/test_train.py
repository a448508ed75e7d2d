import json
import math
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from golden.errors import InputError
from model.data import Mixture
from model.packed import load_float
from model.train import Targets, TrainingError, TrainSettings, find_shards, main, train

from .tiny import CONFIG, SIZE, VOCABULARY, rows, teacher

SETTINGS = TrainSettings(
    steps=40, batch=8, context=12, lr=1e-2, lr_min=1e-3, warmup=4, real_share=0.25, seed=3,
    log_every=5, flip_every=10, checkpoint_every=20,
)  # fmt: skip


def run(out, settings=SETTINGS, **options):
    mixture = Mixture([rows(24, seed=1)], [rows(16, seed=2)], 0.25, settings.seed)
    return train(settings, CONFIG, mixture, teacher(), VOCABULARY, out, **options)


def log(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    timed = ("tokens_per_s", "seconds")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def test_loss_falls_and_the_model_is_exported(tmp_path):
    model = run(tmp_path)
    entries = log(tmp_path)
    assert [e["step"] for e in entries] == list(range(5, 41, 5))
    assert entries[-1]["loss"] < entries[0]["loss"] - 0.02
    assert entries[-1]["tokens"] == 40 * 8 * 12
    watched = [e["flip_flop"] for e in entries]
    assert all((f is not None) == (e["step"] % 10 == 0) for f, e in zip(watched, entries,
                                                                     strict=True))  # fmt: skip
    assert all(0 < f < 0.5 for f in watched if f is not None)
    packed = load_float(tmp_path / "packed")
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.allclose(packed(tokens), model(tokens), atol=0.05)


def test_resume_continues_as_if_it_had_not_stopped(tmp_path):
    whole = run(tmp_path / "whole").state_dict()
    run(tmp_path / "parts", stop_after=20)
    parts = run(tmp_path / "parts", resume=True).state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert log(tmp_path / "parts") == log(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob("*.part"))


def test_twin_reads_the_same_rows(tmp_path, monkeypatch):
    read = {True: [], False: []}
    for binary, seen in read.items():
        original = Targets.__call__

        def spy(self, rows, seen=seen, original=original):
            seen.append(rows.tolist())
            return original(self, rows)

        monkeypatch.setattr(Targets, "__call__", spy)
        run(tmp_path / str(binary), replace(SETTINGS, binary=binary, steps=6))
        monkeypatch.undo()
    assert len(read[True]) == 6
    assert read[True] == read[False]
    assert not (tmp_path / "False" / "packed").exists()


@pytest.mark.parametrize("at", [1, 26])
def test_nan_stops_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, at):
    from model import train as module

    calls = 0
    original = module.ad_loss

    def poisoned(*arguments):
        nonlocal calls
        calls += 1
        return original(*arguments) * (math.nan if calls == at else 1.0)

    monkeypatch.setattr(module, "ad_loss", poisoned)
    kept = "there is no checkpoint yet" if at == 1 else r"checkpoint\.pt is kept"
    with pytest.raises(TrainingError, match=rf"step {at}: loss nan, gradient norm nan; .*{kept}"):
        run(tmp_path)
    if at > 1:
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert saved["step"] == 20
        assert all(v.isfinite().all() for v in saved["model"].values())


def test_resume_refuses_other_settings_and_other_files(tmp_path):
    run(tmp_path, stop_after=5)
    with pytest.raises(InputError, match=r"checkpoint\.pt was made with lr 0\.01, not 0\.02"):
        run(tmp_path, replace(SETTINGS, lr=2e-2), resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"must be a checkpoint of model\.train"):
        run(tmp_path, resume=True)


def test_rate_warms_up_and_follows_the_cosine():
    rates = [SETTINGS.rate(step) for step in range(40)]
    assert rates[:4] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2])
    assert rates[-1] == pytest.approx(1e-3)
    assert rates[4] == pytest.approx(1e-2)
    middle = (4 + 39) / 2
    assert SETTINGS.rate(int(middle)) == pytest.approx((1e-2 + 1e-3) / 2, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"steps": 5, "lr": 1e-5}, "0 < lr_min <= lr must hold, not lr 1e-05, lr_min 3e-05"),
        ({"steps": 5, "warmup": 6}, "warmup must be 0 to 5 steps, not 6"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainSettings(**options)


def test_context_and_vocabulary_must_fit(tmp_path):
    with pytest.raises(InputError, match="context must be at most 12, not 13"):
        run(tmp_path, replace(SETTINGS, context=13))
    with pytest.raises(InputError, match="one vocabulary, not 19 and 16 tokens"):
        Targets(teacher(), VOCABULARY.cut(SIZE), size=SIZE, context=8)


def test_shards_are_found_or_missed_by_name(tmp_path):
    with pytest.raises(InputError, match=r"must hold token shards \(\*\.npy\); it holds none"):
        find_shards(tmp_path)
    result = CliRunner().invoke(
        main,
        ["--teacher", "t.gguf", "--real", str(tmp_path / "no.npy"), "--real-share", "1",
         "--out", str(tmp_path / "o"), "--steps", "500"],
    )  # fmt: skip
    assert result.exit_code == 2
    assert "a token shard must be a .npy file; there is none at" in result.output
    assert "Traceback" not in result.output
