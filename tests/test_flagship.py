"""Which commands the flagship runs, and what it does when time is over: without running them."""

import importlib
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.metrics import COLUMNS, Metrics

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


class Ran:
    """Stands for processes: remembers commands, and leaves the metrics of a training."""

    def __init__(self, steps, codes=()):
        self.steps, self.codes, self.commands = steps, dict(codes), []

    def __call__(self, command, **_):
        words = [str(word) for word in command]
        self.commands.append(words)
        program = next(w for w in words if w.startswith(("model.", str(BENCHMARKS))))
        self.code = self.codes.get(Path(program).name, 0)
        if program == "model.train_command" and not self.code:
            run = Path(words[words.index("--out") + 1])
            run.mkdir(parents=True, exist_ok=True)
            Metrics(run, 0).add({**dict.fromkeys(COLUMNS), "step": self.steps, "tokens": 1})
        return self

    def poll(self):
        return self.code

    wait = poll

    def of(self, program):
        return [c for c in self.commands if any(w.endswith(program) for w in c)]


@pytest.fixture
def call(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    flagship = importlib.import_module("flagship")
    monkeypatch.setattr(flagship.time, "sleep", lambda _: None)
    for name in ("teacher.gguf", "tasks.whl"):
        (tmp_path / name).touch()
    (tmp_path / "packed").mkdir()

    def run(ran, *options, gpus=0):
        monkeypatch.setattr(flagship.torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(subprocess, "Popen", ran)
        return CliRunner().invoke(flagship.main, [
            "--teacher", str(tmp_path / "teacher.gguf"), "--data", str(tmp_path), "--slices",
            str(tmp_path), "--tasks-data", str(tmp_path / "tasks.whl"), "--out",
            str(tmp_path / "out"), "--steps", "8", *options,
        ])  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("only", "trained", "answered"),
    [
        (None, ["fbi", "twin"], {"fbi", "twin", "teacher"}),
        ("fbi", ["fbi"], {"fbi", "teacher"}),
        ("twin", ["twin"], {"twin"}),
    ],
)
def test_who_is_trained_and_evaluated(call, tmp_path, only, trained, answered):
    ran = Ran(8)
    result = call(ran, *([] if only is None else ["--only", only]), gpus=4)
    assert result.exit_code == 0, result.output
    trainings = ran.of("model.train_command")
    assert [Path(c[c.index("--out") + 1]).name for c in trainings] == trained
    assert [c[c.index("--nproc-per-node") + 1] for c in trainings] == ["2" if not only else "4"
                                                                       for _ in trainings]
    assert [("--twin" in c) for c in trainings] == [name == "twin" for name in trained]
    (measure,) = ran.of("model.measure")
    assert ("--packed" in measure) == ("fbi" in trained)
    assert ("--twin" in measure) == ("twin" in trained)
    tasks = ran.of("zero_shot.py")
    assert {Path(c[c.index("--out") + 1]).stem for c in tasks} == {
        f"zero-shot-{who}" for who in answered
    }
    assert call(again := Ran(8), *([] if only is None else ["--only", only])).exit_code == 0
    assert not again.commands, "a part that is done is not done again"


def test_a_twin_is_measured_beside_a_packed_model_from_elsewhere(call, tmp_path):
    ran = Ran(8)
    assert call(ran, "--only", "twin", "--packed", str(tmp_path / "packed")).exit_code == 0
    (measure,) = ran.of("model.measure")
    assert measure[measure.index("--packed") + 1] == str(tmp_path / "packed")
    refused = call(Ran(8), "--packed", str(tmp_path / "packed"))
    assert refused.exit_code == 2
    assert "--packed needs --only twin" in refused.output


def test_a_training_that_is_stopped_in_time_goes_on(call):
    ran = Ran(5)
    result = call(ran, "--only", "fbi", "--minutes", "0.5")
    assert result.exit_code == 0, result.output
    assert "time is over before the last step of fbi; the same command goes on" in result.output
    assert len(ran.commands) == 1
    assert ran.commands[0][ran.commands[0].index("--minutes") + 1] == "0.5"
    ran = Ran(8)
    assert call(ran, "--only", "fbi", "--minutes", "0.5").exit_code == 0
    assert len(ran.of("model.train_command")) == 1
    assert len(ran.of("model.measure")) == 1
    assert call(Ran(8), "--minutes", "0").exit_code == 2


def test_what_fails_is_named_and_studies_still_run(call):
    ran = Ran(8, {"model.train_command": 1})
    result = call(ran, "--only", "fbi", "--study-steps", "20")
    assert result.exit_code == 1
    assert "failed: fbi; see their logs" in result.output
    assert not ran.of("model.measure")
    assert ran.of("studies.py")
