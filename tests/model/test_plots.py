import pytest

from golden.errors import InputError
from model.plots import PANELS, plot_runs


def rows(count, flips=True):
    return [
        {"tokens": 10 * i, "loss": 3 - i, "grad_norm": 1.0, "flip_flop": 0.1 if flips else None,
         "lr": 1e-3}
        for i in range(1, count)
    ]  # fmt: skip


def test_every_panel_and_run_is_in_the_file(tmp_path):
    pytest.importorskip("matplotlib")
    path = plot_runs({"FBI-LLM": [rows(5)], "twin": [rows(5, flips=False)]}, tmp_path / "a.svg")
    text = path.read_text()
    assert "<svg" in text
    for label in (*PANELS.values(), "FBI-LLM", "twin"):
        assert f"<!-- {label} -->" in text  # matplotlib names each text it draws
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_runs_of_a_name_have_its_colour_and_are_named_once(tmp_path):
    pytest.importorskip("matplotlib")
    runs = {"column": [rows(5), rows(4), rows(6)], "row": [rows(5)]}
    text = plot_runs(runs, tmp_path / "a.svg").read_text()
    assert text.count("<!-- column, 3 runs -->") == 1
    assert text.count("<!-- row -->") == 1
    blue, orange, green = "#1f77b4", "#ff7f0e", "#2ca02c"
    assert text.count(f"stroke: {blue}") == 3 * len(PANELS) + 1  # and in the legend
    assert text.count(f"stroke: {orange}") == len(PANELS) + 1
    assert green not in text


def test_names_of_folders_are_shown_letter_by_letter(tmp_path):
    """matplotlib hides labels that begin with _, and reads $ as the begin of a formula."""
    pytest.importorskip("matplotlib")
    text = plot_runs(
        {"_run": [rows(5)], r"lr$\frac$": [rows(5)]}, tmp_path / "a.svg"
    ).read_text(encoding="utf-8")
    assert "<!-- \u2009_run -->" in text
    assert r"<!-- lr$\frac$ -->" in text


def test_nothing_to_draw_is_said(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="at least one line of metrics"):
        plot_runs({"a": [[]], "b": []}, tmp_path / "a.svg")


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.backends.backend_svg", None)
    with pytest.raises(InputError, match="plots need matplotlib"):
        plot_runs({"a": [rows(3)]}, tmp_path / "a.svg")
