"""Curves of training runs, as SVG files.

    python -m model.plots FBI-LLM=flagship/fbi twin=flagship/twin --out loss.svg
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from golden.errors import InputError

from .errors import told
from .metrics import read_metrics

PANELS = {
    "loss": "loss, nats a token",
    "grad_norm": "gradient norm before clipping",
    "flip_flop": "flip-flop ratio",
    "lr": "learning rate",
}
"""Columns of ``metrics.csv`` that are drawn, and what their axes say."""

START = 0.05
"""Share of a plot's tokens whose losses, high as they are, may lie above the loss's axis."""

Row = Mapping[str, float | int | None]


def _plain(name: str) -> str:
    """Return a name as matplotlib shows it letter by letter: no formulas, nothing hidden."""
    return ("\u2009" if name.startswith("_") else "") + name.replace("$", r"\$")


def _range_of_loss(runs: Iterable[Sequence[Row]]) -> tuple[float, float] | None:
    """Return the limits of the loss's axis: all that is not of the first `START` of the tokens."""
    points = [
        (row["tokens"], row["loss"]) for rows in runs for row in rows if row["loss"] is not None
    ]
    begin = START * max((tokens for tokens, _ in points), default=0)
    late = [loss for tokens, loss in points if tokens >= begin and math.isfinite(loss)]
    if not late or min(late) == max(late):
        return None
    margin = 0.05 * (max(late) - min(late))
    return min(late) - margin, max(late) + margin


def plot_runs(runs: Mapping[str, Sequence[Sequence[Row]]], path: Path) -> Path:
    """Draw the panels of one or several runs over student tokens into one SVG file.

    The loss's axis ends where losses after the first `START` of the tokens do.

    Parameters
    ----------
    runs : for each name to show one or more runs, drawn in one colour; a run is the lines of its
        ``metrics.csv`` (`model.metrics.read_metrics`)
    path : the file, whose name ends in ``.svg``

    Raises
    ------
    InputError
        If matplotlib is not installed, there is nothing to draw, or `path` has another ending.
    """
    path = Path(path)
    if path.suffix.lower() != ".svg":  # an SVG named otherwise opens nowhere
        raise InputError(f"curves are drawn as SVG, into a file that ends in .svg, not {path}")
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("plots need matplotlib: pip install matplotlib") from None
    if not any(rows for group in runs.values() for rows in group):
        raise InputError("plots need at least one line of metrics; there is none")
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, (column, label) in zip(axes.flat, PANELS.items(), strict=True):
        for number, (name, group) in enumerate(runs.items()):
            shown = _plain(f"{name}, {len(group)} runs" if len(group) > 1 else name)
            for rows in group:
                points = [(r["tokens"], r[column]) for r in rows if r[column] is not None]
                if points:
                    axis.plot(*zip(*points, strict=True), f"C{number}", label=shown, linewidth=1)
                    shown = None  # a colour is named once
        axis.set_xlabel("student tokens")
        axis.set_ylabel(label)
        if column == "grad_norm":  # one bad start must not flatten the others
            axis.set_yscale("log")
        if column == "loss":  # nor the first steps all that comes after
            axis.set_ylim(_range_of_loss(rows for group in runs.values() for rows in group))
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize="small")
    temporary = path.with_name(path.name + ".part")
    # without date and random ids, so that the same runs give the same file
    with rc_context({"svg.hashsalt": "signacc"}):
        FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})
    temporary.replace(path)
    return path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="NAME=RUN...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file, NAME.svg.")
@told()
def main(runs: tuple[str, ...], out: Path) -> None:
    """Draw runs in one plot.

    A RUN is a run folder or its metrics.csv; those of one NAME are drawn in one colour.
    """
    shown: dict[str, list[list[dict[str, float | int | None]]]] = {}
    for run in runs:
        name, equals, path = run.partition("=")
        if not (name and equals and path):
            raise InputError(f"a run must be given as NAME=RUN, not {run!r}")
        shown.setdefault(name, []).append(read_metrics(Path(path)))
    click.echo(plot_runs(shown, out))


if __name__ == "__main__":
    main()
