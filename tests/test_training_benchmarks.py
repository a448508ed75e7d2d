"""What the benchmarks of training cannot use is one sentence, before any work."""

import importlib
from pathlib import Path

import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NEITHER = ("--teacher", "no.gguf", "--data", "no-data")


@pytest.fixture
def call(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.gguf").write_bytes(b"GGUF and no more")
    (tmp_path / "data").mkdir()

    def run(name, *options):
        return CliRunner().invoke(importlib.import_module(name).main, list(options))

    return run


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("studies", ("--study", "loss", *NEITHER, "--run", "runs"), "there is none at no.gguf"),
        ("carry", (*NEITHER, "--run", "runs"), "there is none at no.gguf"),
        ("train_loop", ("--teacher", "t.gguf", "--data", "data"), "must be a complete GGUF file"),
        ("train_step", ("--loss", "kd"), "loss must be one of ad, mixed, ce, not 'kd'"),
        ("train_step", ("--model", "fbi-2m"), "fbi-2m"),
        ("train_step", ("--layers", "0"), "num_hidden_layers"),
        ("carry_size", ("--model", "fbi-2m", "--run", "runs"), "fbi-2m"),
        ("perplexity", ("wiki",), "a text must be NAME=FILE, a file that is there, not 'wiki'"),
        ("perplexity", ("a=no.txt",), "a text must be NAME=FILE, a file that is there"),
        ("perplexity", ("--model", "none", "a=t.gguf"), "none"),
    ],
)
def test_bad_input_is_one_sentence(call, tmp_path, name, options, message):
    result = call(name, *options, "--out", "out.json")
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("studies", ("--study", "loss", *NEITHER, "--run", "runs")),
        ("carry", (*NEITHER, "--run", "runs")),
        ("train_loop", ("--teacher", "t.gguf", "--data", "data")),
        ("train_step", ()),
        ("carry_size", ("--run", "runs")),
        ("perplexity", ("wiki=t.gguf",)),
    ],
)
def test_a_folder_that_is_not_there_is_found_before_any_work(call, name, options):
    result = call(name, *options, "--out", "none/out.json")
    assert result.exit_code == 2, result.output
    assert "the output file's folder must exist" in " ".join(result.output.split())
