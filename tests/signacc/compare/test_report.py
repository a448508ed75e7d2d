"""JSON and tables: every figure has a mark, absent figures are null or a dash."""

import json

import pytest

from golden.config import named_model
from signacc.compare.baselines import step_bytes
from signacc.compare.comparison import compare
from signacc.compare.figures import METRICS
from signacc.compare.page import html_page
from signacc.compare.report import LETTERS, SCHEMA, print_tables, to_json

from .conftest import MODEL, baseline, write, write_measured


def figures(data, path=()):
    """Yield every object that has a nominal value, with its path."""
    if isinstance(data, dict):
        if "nominal" in data:
            yield path, data
        for key, value in data.items():
            yield from figures(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from figures(value, (*path, index))


def test_every_figure_has_a_mark(result, prefill):
    data = json.loads(json.dumps(to_json(result, (), prefill), allow_nan=False))
    assert data["schema"] == SCHEMA
    found = list(figures(data))
    assert len(found) > 20
    for path, figure in found:
        assert figure["mark"] in data["marks"], path
        assert figure["low"] <= figure["nominal"] <= figure["high"]
    metrics = set(METRICS["decode"]) | set(METRICS["prefill"])
    assert metrics | {"gain"} == set(data["definitions"])


def test_unknown_figures_are_null_and_say_why(result, prefill):
    data = to_json(result, (), prefill)
    for entry in [*data["entries"], *data["prefill"]["entries"]]:
        for name in METRICS[entry["phase"]]:
            assert (entry[name] is None) == (name in entry["missing"]), (entry["machine"], name)
    silent = next(e for e in data["entries"] if e["machine"] == "silent")
    assert silent["joule_per_token"] is None
    assert silent["energy_delay_js"] is None
    assert silent["missing"]["energy_delay_js"] == "energy not stated by the source"
    reader = data["prefill"]["entries"][-2]
    assert (reader["machine"], reader["missing"]["joule_per_token"]) == (
        "reader", "energy not measured here"
    )
    ours = next(e for e in data["entries"] if e["ours"])
    assert ours["missing"] == {}
    assert silent["tokens_per_second"]["mark"] == "published"


def test_tables_say_marks_absences_and_other_models(result, capsys, monkeypatch):
    monkeypatch.setattr("signacc.console.out.width", 100)
    print_tables(result)
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "fbi-43m, batch 1, context 128",
        "5,000 m",
        "absent: frugal at 4x128",
        "peer someone-else decode 1 5,000 p not stated",
        "no figure, a: peak of its memory not on record, nor a copy in its file; b: a baseline: no "
        "engine",
        "energy, kv260, context 128: the winner changes between batch 1 (baseline) and 4",
    ):
        assert part in text
    assert all(f"{letter} {name}" in text for name, letter in LETTERS.items())


def test_tables_say_whose_limit_is_a_copy(tmp_path, capsys):
    model = named_model(MODEL)
    path = write_measured(tmp_path / "own.json", [baseline(name="l4", path="sign-a8")])
    found = compare(MODEL, model, [], batches=(1,), contexts=(128,), files=[path])
    print_tables(found)
    text = " ".join(capsys.readouterr().out.split())
    assert "limit of l4-sign-a8: by a copy measured in the same run, m" in text


@pytest.mark.parametrize(("times", "named"), [(0.99, False), (1.01, True), (14.0, True)])
def test_a_machine_beyond_its_own_limit_is_named(tmp_path, capsys, times, named):
    """An H200 reads at most 4.8 TB/s, so a step of bf16 weights has a least time."""
    model = named_model("fbi-7b")
    limit = 4.8e12 / step_bytes(model, 16, 1, 512)
    entry = baseline(name="h200", model="fbi-7b", context=512, path="bf16",
                     tokens_per_second=times * limit)  # fmt: skip
    result = compare("fbi-7b", model, [], batches=[1], contexts=[512],
                     files=[write(tmp_path / "own.json", [entry])])  # fmt: skip
    said = f"h200-bf16 at 1x512 (batch x context) is at {times:.3g} times the limit of its own DRAM"
    print_tables(result)
    assert (said in " ".join(capsys.readouterr().out.split())) == named
    assert (said in html_page(result, {}, [])) == named


def test_prefill_has_tables_of_its_own(result, prefill, capsys, monkeypatch):
    monkeypatch.setattr("signacc.console.out.width", 100)
    print_tables(result, (), prefill)
    text = " ".join(capsys.readouterr().out.split())
    assert "fbi-43m, batch 1, context 128: prefill machine tokens/s first token J/token" in text
    # 128 tokens at 2,560 a second; 512 at one in 1,000 seconds.
    assert "reader 2,560 m 50 ms d - a - a - b" in text
    assert "reader 0.001 m 512 ks d" in text
    assert "absent: tiny at 1x128, 4x128" in text.split("prefill", 1)[1]
    assert "time in which the prompts of the whole batch are read" in text


def test_a_narrow_terminal_keeps_the_names_of_machines_whole(result, capsys, monkeypatch):
    monkeypatch.setattr("signacc.console.out.width", 80)
    print_tables(result)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:1] == ["frugal"] for line in lines)
    assert not any("weights/J" in line and "machine" in line for line in lines)
    assert any("EDP and weights/J: in a terminal of 100 columns" in line for line in lines)
