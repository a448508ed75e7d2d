"""JSON and tables: every figure has a mark, absent figures are null or a dash."""

import json

from signacc.compare.figures import METRICS
from signacc.compare.report import LETTERS, SCHEMA, print_tables, to_json


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


def test_every_figure_has_a_mark(result):
    data = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert data["schema"] == SCHEMA
    found = list(figures(data))
    assert len(found) > 20
    for path, figure in found:
        assert figure["mark"] in data["marks"], path
        assert figure["low"] <= figure["nominal"] <= figure["high"]
    assert set(METRICS) | {"gain"} == set(data["definitions"])


def test_unknown_figures_are_null(result):
    data = to_json(result)
    silent = next(e for e in data["entries"] if e["machine"] == "silent")
    assert silent["joule_per_token"] is None
    assert silent["energy_delay_js"] is None
    assert silent["tokens_per_second"]["mark"] == "published"


def test_tables_say_marks_absences_and_other_models(result, capsys, monkeypatch):
    monkeypatch.setattr("signacc.console.out.width", 100)
    print_tables(result)
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "fbi-43m, batch 1, context 128",
        "5,000 m",
        "absent: frugal at 4x128",
        "not compared, another model: peer, someone-else: 5,000 p tokens/s, no energy",
        "energy, kv260, context 128: the winner changes between batch 1 (baseline) and 4",
    ):
        assert part in text
    assert all(f"{letter} {name}" in text for name, letter in LETTERS.items())
