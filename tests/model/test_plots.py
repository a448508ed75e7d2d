import pytest
from click.testing import CliRunner

from golden.errors import InputError
from model.metrics import COLUMNS
from model.plots import PANELS, main, plot_runs


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


def test_high_losses_of_the_start_do_not_flatten_those_that_follow(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    shown = []
    monkeypatch.setattr(Figure, "subplots", lambda figure, *a, __=Figure.subplots: (
        shown.append(__(figure, *a)), shown[-1])[1])  # fmt: skip
    losses = [9.0, *(3 - 0.01 * i for i in range(1, 99)), 2.5, float("nan")]
    late = [{**rows(2)[0], "tokens": 20 * (i + 1), "loss": x} for i, x in enumerate(losses)]
    high = [{**rows(2)[0], "tokens": 500, "loss": 3.5}]  # a spike later on is in the picture
    plot_runs({"a": [late], "b": [high]}, tmp_path / "a.svg")
    low, top = shown[0].flat[0].get_ylim()
    lowest, highest = 3 - 0.98, 3.5
    assert low == pytest.approx(lowest - 0.05 * (highest - lowest))
    assert top == pytest.approx(highest + 0.05 * (highest - lowest))
    plot_runs({"a": [rows(2)]}, tmp_path / "a.svg")  # one point alone
    low, top = shown[1].flat[0].get_ylim()
    assert low < rows(2)[0]["loss"] < top


def test_the_same_runs_give_the_same_file(tmp_path):
    pytest.importorskip("matplotlib")
    first, again = (plot_runs({"a": [rows(5)]}, tmp_path / name) for name in ("a.svg", "b.svg"))
    assert first.read_bytes() == again.read_bytes()


def test_nothing_to_draw_is_said(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="at least one line of metrics"):
        plot_runs({"a": [[]], "b": []}, tmp_path / "a.svg")


@pytest.mark.parametrize("name", ["a.png", "a", "a.svg.pdf"])
def test_only_svg_files_are_written(tmp_path, name):
    """An SVG under another name opens nowhere: it was written as ``loss.png`` without a word."""
    with pytest.raises(InputError, match=r"ends in \.svg, not .*" + name):
        plot_runs({"a": [rows(3)]}, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.backends.backend_svg", None)
    with pytest.raises(InputError, match="plots need matplotlib"):
        plot_runs({"a": [rows(3)]}, tmp_path / "a.svg")


def metrics_file(path):
    lines = [[i, 10 * i, 3.0 - i, 1e-3, 1.0, "", 5.0, 0.1, i] for i in range(1, 4)]
    assert len(lines[0]) == len(COLUMNS)
    path.write_text("\n".join(",".join(map(str, line)) for line in [COLUMNS, *lines]) + "\n")


def test_command_draws_folders_and_files(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "fbi").mkdir()
    metrics_file(tmp_path / "fbi/metrics.csv")
    metrics_file(tmp_path / "other.csv")
    out = tmp_path / "a.svg"
    ours, twins = f"FBI-LLM={tmp_path / 'fbi'}", f"twin={tmp_path / 'other.csv'}"
    result = CliRunner().invoke(main, [ours, "--out", str(out)])
    assert (result.exit_code, result.output) == (0, f"{out}\n")
    one = out.read_text()
    assert CliRunner().invoke(main, [ours, twins, "--out", str(out)]).exit_code == 0
    assert "<!-- twin -->" in out.read_text()
    assert "<!-- twin -->" not in one


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (["fbi"], "a run must be given as NAME=RUN, not 'fbi'"),
        (["=x"], "NAME=RUN"),
        (["fbi="], "NAME=RUN"),
        (["fbi=nowhere"], "there is none in nowhere"),
    ],
)
def test_command_refuses_in_a_sentence(tmp_path, runs, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*runs, "--out", "a.svg"])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not any(tmp_path.iterdir())
