"""Curves of training runs, as SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from golden.errors import InputError

PANELS = {
    "loss": "loss, nats a token",
    "grad_norm": "gradient norm before clipping",
    "flip_flop": "flip-flop ratio",
    "lr": "learning rate",
}
"""Columns of ``metrics.csv`` that are drawn, and what their axes say."""

Row = Mapping[str, float | int | None]


def _plain(name: str) -> str:
    """Return a name as matplotlib shows it letter by letter: no formulas, nothing hidden."""
    return ("\u2009" if name.startswith("_") else "") + name.replace("$", r"\$")


def plot_runs(runs: Mapping[str, Sequence[Sequence[Row]]], path: Path) -> Path:
    """Draw the panels of one or several runs over student tokens into one SVG file.

    Parameters
    ----------
    runs : for each name to show one or more runs, drawn in one colour; a run is the lines of its
        ``metrics.csv`` (`model.metrics.read_metrics`)

    Raises
    ------
    InputError
        If matplotlib is not installed, or there is nothing to draw.
    """
    try:
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
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize="small")
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    # without date and random ids, so that the same runs give the same file
    FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None})
    temporary.replace(path)
    return path
