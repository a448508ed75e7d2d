"""Which commands the flagship runs, and what it does when time is over: without running them."""

import importlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from model.carry import take
from model.compact_manifest import Manifest
from model.manifest import Manifest as Shards
from model.metrics import COLUMNS, Metrics

from .model import tiny
from .model.test_tasks import ROOT
from .test_zero_shot import tasks

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


class Ran:
    """Stands for processes: remembers commands, and leaves what a training or a study leaves."""

    def __init__(self, steps, codes=(), resumed=(), complete=True):
        self.steps, self.codes, self.commands = steps, dict(codes), []
        self.gpus = []  # of each command
        self.resumed = list(resumed)
        self.complete = complete  # None: a study finishes no run

    def __call__(self, command, stdout=None, env=None, **_):
        self.gpus.append(env.get("CUDA_VISIBLE_DEVICES"))
        words = [str(word) for word in command]
        stdout.write(b"Error: the reason\n")
        self.commands.append(words)
        program = next(w for w in words if w.startswith(("model.", str(BENCHMARKS))))
        code = self.codes.get(Path(program).name, 0)
        if program == "model.train_command" and not code:
            run = Path(words[words.index("--out") + 1])
            run.mkdir(parents=True, exist_ok=True)
            before = len(list((run / "checkpoints").glob("step-*")))
            Metrics(run, before).add({**dict.fromkeys(COLUMNS), "step": self.steps, "tokens": 1})
            checkpoint = run / "checkpoints" / f"step-{self.steps:08d}"
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / "state.json").write_text(json.dumps({
                "step": self.steps, "settings": {}, "config": {}, "devices": 4,
                "resumed": self.resumed,
            }))  # fmt: skip
        if program.endswith("studies.py") and not code and self.complete is not None:
            record = Path(words[words.index("--out") + 1])
            record.write_text(json.dumps({"results": {"complete": self.complete}}))
        return SimpleNamespace(poll=lambda: code, wait=lambda: code)

    def of(self, program):
        return [c for c in self.commands if any(w.endswith(program) for w in c)]


@pytest.fixture
def call(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    flagship = importlib.import_module("flagship")
    monkeypatch.setattr(flagship.time, "sleep", lambda _: None)
    for name in ("teacher.gguf", "held.utf8"):
        (tmp_path / name).touch()
    (tmp_path / "packed").mkdir()
    monkeypatch.setattr(flagship, "TASKS", {"arc_easy": None})
    tasks(tmp_path / "tasks")
    Shards(vocabulary="", vocabulary_size=0, length=8, shards=()).write(tmp_path)

    def run(ran, *options, gpus=0):
        monkeypatch.setattr(flagship.torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(subprocess, "Popen", ran)
        return CliRunner().invoke(flagship.main, [
            "--teacher", str(tmp_path / "teacher.gguf"), "--data", str(tmp_path), "--slices",
            str(tmp_path), "--tasks-data", str(tmp_path / "tasks"), "--out",
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
    assert "    Error: the reason\n" in result.output
    assert not ran.of("model.measure")
    assert ran.of("studies.py")


def gpus_of(ran, program):
    return [gpus for c, gpus in zip(ran.commands, ran.gpus, strict=True)
            if any(w.endswith(program) for w in c)]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "studying", "evaluating"),
    [(4, "0,1,2", {"3"}), (2, "0", {"1"}), (1, "0", {"0"})],
)
def test_studies_leave_a_gpu_to_evaluation(call, tmp_path, gpus, studying, evaluating):
    ran = Ran(8)
    result = call(ran, "--study-steps", "20", "--study-batch", "16", gpus=gpus)
    assert result.exit_code == 0, result.output
    made = ran.of("studies.py")
    assert [c[c.index("--study") + 1] for c in made] == ["loss", "axis"]
    studies = importlib.import_module("studies").main
    for command in made:
        studies.make_context("studies.py", command[2:])  # it takes these options
        said = " ".join(command)
        assert " --seeds 3 " in said
        assert " --lanes 2 " in said
        assert " --steps 20 --warmup 2 " in said
        assert "--first-seed" not in said
        assert command[command.index("--run") + 1] == str(tmp_path / "out" / "studies")
    assert gpus_of(ran, "studies.py") == [studying, studying]
    assert set(gpus_of(ran, "model.measure") + gpus_of(ran, "zero_shot.py")) == evaluating
    assert len(ran.of("zero_shot.py")) == 3
    again = Ran(8)
    assert call(again, "--study-steps", "20", gpus=gpus).exit_code == 0
    assert not again.commands, "a part that is done is not done again"


def test_evaluation_takes_all_gpus_where_there_are_no_studies(call):
    ran = Ran(8)
    assert call(ran, gpus=4).exit_code == 0
    assert gpus_of(ran, "model.measure") + gpus_of(ran, "zero_shot.py") == ["0", "1", "2", "3"]


def test_a_study_that_fails_is_named_and_the_next_is_made(call):
    ran = Ran(8, {"studies.py": 1})
    result = call(ran, "--study-steps", "20", gpus=4)
    assert result.exit_code == 1
    assert "failed: study-loss, study-axis; see their logs" in result.output
    assert len(ran.of("studies.py")) == 2
    assert len(ran.of("model.measure")) == 1
    ran = Ran(8)
    assert call(ran, "--study-steps", "20", gpus=4).exit_code == 0
    assert len(ran.of("studies.py")) == len(ran.commands) == 2


@pytest.mark.parametrize("complete", [False, None])
def test_a_study_that_is_stopped_in_time_goes_on(call, complete):
    ran = Ran(8, complete=complete)
    result = call(ran, "--study-steps", "20", gpus=4)
    assert result.exit_code == 0, result.output
    assert "study-loss: not finished" in result.output
    assert (
        "time is over before the last run of study-loss, study-axis; the same command goes on"
        in result.output
    )
    again = Ran(8)
    result = call(again, "--study-steps", "20", gpus=4)
    assert "time is over" not in result.output
    assert len(again.of("studies.py")) == len(again.commands) == 2
    assert not call(last := Ran(8), "--study-steps", "20", gpus=4).exit_code
    assert not last.commands


@pytest.mark.parametrize("only", [None, "twin"])
def test_training_is_carried_elsewhere_and_the_record_says_so(call, tmp_path, only):
    whose = ["fbi", "twin"] if only is None else [only]
    options = [*([] if only is None else ["--only", only]), "--minutes", "1",
               "--carry", str(tmp_path / "carry"), "--carry-every", "3"]  # fmt: skip
    for who in whose:  # as a training leaves it
        tiny.run(tmp_path / who, replace(tiny.SETTINGS, binary=who == "fbi"), stop_after=5)
        take(tmp_path / who, tmp_path / "carry" / who, 5)
    ran = Ran(5)
    result = call(ran, *options)
    assert result.exit_code == 0, result.output
    trainings = ran.of("model.train_command")
    assert [c[c.index("--carry") + 1] for c in trainings] == [
        str(tmp_path / "carry" / who) for who in whose
    ]
    assert all(c[c.index("--carry-every") + 1] == "3.0" for c in trainings)
    for who in whose:
        state = Manifest.read(tmp_path / "carry" / who)
        assert (f"{who}: step 5 of 8, {state.bytes:,} bytes in 1 parts in "
                f"{tmp_path / 'carry' / who}") in result.output  # fmt: skip
    assert "next: python " in result.output
    assert not (tmp_path / "out" / "training.json").exists()
    ran = Ran(8, resumed=[{"step": 3, "by": "checkpoint"}, {"step": 5, "by": "compact"}])
    assert call(ran, *options).exit_code == 0
    record = json.loads((tmp_path / "out" / "training.json").read_text())["results"]
    assert list(record) == whose
    for found in record.values():
        assert found["pieces"] == [
            {"from": 0, "to": 3, "by": "start"},
            {"from": 3, "to": 5, "by": "checkpoint"},
            {"from": 5, "to": 8, "by": "compact"},
        ]
        assert found["to_the_bit"] is False
        assert found["lost_where_carried"]["first moments"].startswith("8 bits")


def test_the_reason_of_a_failure_is_found_in_its_log(call, tmp_path):
    why = importlib.import_module("flagship").why
    log = tmp_path / "fbi.log"
    log.write_text("$ python\nError: before\n$ python\n{}\nError: now\nError: now\nE1122 torch\n")
    assert why(log) == ["Error: now"]
    log.write_text("$ python\n{}\nTraceback\n\nKilled\n")
    assert why(log) == ["{}", "Traceback", "Killed"]


def test_training_in_one_piece_says_so(call, tmp_path):
    assert call(Ran(8), "--only", "fbi").exit_code == 0
    record = json.loads((tmp_path / "out" / "training.json").read_text())["results"]
    assert record == {
        "fbi": {"step": 8, "devices": 4, "same_data": True, "to_the_bit": True,
                "pieces": [{"from": 0, "to": 8, "by": "start"}]}
    }  # fmt: skip


def test_evaluation_can_be_left_to_another_call(call, tmp_path):
    ran = Ran(8)
    assert call(ran, "--only", "twin", "--no-evaluate").exit_code == 0
    assert len(ran.commands) == 1
    assert (tmp_path / "out" / "training.json").is_file()
    ran = Ran(8)
    assert call(ran, "--only", "twin").exit_code == 0
    assert not ran.of("model.train_command")
    assert len(ran.of("model.measure")) == len(ran.of("zero_shot.py")) == 1


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("held.utf8", r"must hold \*\.utf8 texts; it holds none"),
        ("manifest.json", r"a folder of shards must hold manifest\.json"),
        (f"tasks/{ROOT}/arc_easy/test_rc_5shot/requests.jsonl.gz", "tasks must hold"),
        ("carry", "--carry-every says how often --carry is done"),
    ],
)
def test_what_evaluation_needs_is_asked_for_before_training(call, tmp_path, missing, message):
    if missing != "carry":
        (tmp_path / missing).unlink()
    ran = Ran(8)
    result = call(ran, *(["--carry-every", "3"] if missing == "carry" else []))
    assert result.exit_code == 2, result.output
    assert re.search(message, " ".join(result.output.split()))
    assert not ran.commands
    assert not (tmp_path / "out").exists()


def test_a_damaged_state_is_one_sentence(call, tmp_path):
    carried = tmp_path / "carry" / "fbi"
    carried.mkdir(parents=True)
    (carried / "manifest.json").write_text("{")
    result = call(Ran(5), "--only", "fbi", "--minutes", "1", "--carry", str(tmp_path / "carry"))
    assert result.exit_code == 2, result.output
    assert "must be a manifest of a compact state" in " ".join(result.output.split())
