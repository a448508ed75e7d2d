"""Plots of estimates and sweeps, as PNG images. matplotlib loads only where one is drawn."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from golden.errors import InputError
from signacc.report import si
from sim.energy import ENERGY_PARTS

if TYPE_CHECKING:
    from sim.system import Estimate, Phase

_COLOURS = {"array": "#1b6ca8", "memory": "#d1495b", "vector": "#edae49", "link": "#66a182"}
_PART_COLOURS = dict(
    zip(
        ENERGY_PARTS,
        ("#1b6ca8", "#7fb3d5", "#edae49", "#8f7fb5", "#d1495b", "#66a182", "#9aa0a6"),
        strict=True,
    )
)


def check_matplotlib() -> None:
    """Raise InputError if matplotlib is not installed, or cannot start."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("plots need matplotlib: pip install matplotlib") from None
    except ValueError as error:  # such as of $MPLBACKEND
        raise InputError(f"plots need matplotlib, which does not start: {error}") from None


def new_figure(**options: Any) -> tuple[Any, Any]:
    """Return a figure that needs no display, and its ``subplots``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", **options)
    FigureCanvasAgg(figure)
    return figure, figure.subplots


def plain(name: str) -> str:
    """Return a name as matplotlib shows it letter by letter: no formulas, nothing hidden.

    Bytes of a file's name that are no text become question marks.
    """
    text = name.encode(errors="replace").decode().replace("$", r"\$")
    return ("\u2009" if text.startswith("_") else "") + text


@contextmanager
def _boxes_for_letters() -> Iterator[None]:
    """Let a letter that the font lacks be a box in the image, and no warning on the terminal."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"(?s).*Glyph \d+ .* missing from", UserWarning)
        yield


def image_bytes(figure: Any, form: str, **options: Any) -> bytes:
    """Return a figure as an image in matplotlib's format `form`."""
    image = io.BytesIO()
    with _boxes_for_letters():
        figure.savefig(image, format=form, **options)
    return image.getvalue()


def png_bytes(figure: Any) -> bytes:
    """Return a figure as a PNG image."""
    return image_bytes(figure, "png", dpi=150)


def estimate_plots(model: str, result: Estimate) -> dict[str, bytes]:
    """Return images by file name: the roofline of the main phase, time and energy of all."""
    return {
        "roofline.png": png_bytes(roofline(model, result)),
        "breakdown.png": breakdown(model, result),
    }


def _title(model: str, result: Estimate) -> str:
    system = result.system
    chips = f", {system.chips} chips" if system.chips > 1 else ""
    title = f"{model} on {system.name} with {system.memory.name}{chips}, batch {result.batch}"
    return plain(title)


def roofline(model: str, result: Estimate) -> Any:
    """Return a figure with the operators of the main phase under the roofs of one chip.

    x: operations a byte of memory; y: operations a second. An operation is half of a
    multiply-accumulate or sign-accumulate, or an elementwise operation of the vector unit.
    """
    system = result.system
    peak = system.memory.peak_gb_s * 1e9
    bandwidth = system.memory.bandwidth_bytes_s.nominal
    if system.memory_ports is not None:  # all traffic goes through them
        bandwidth = min(bandwidth, system.memory_ports.gb_s * 1e9)
    array = 2.0 * system.engine.lanes * system.engines * system.clock_hz
    vector = 2.0 * system.vector_lanes * system.clock_hz
    points = []
    for entry in result.operators:
        counts, moved = entry.counts, sum(entry.bytes_by_category.values())
        work = 2 * counts["sign_accumulates"] * system.engines + 2 * counts["macs"]
        work += counts["vector_ops"]
        if work and moved:
            seconds = entry.time_s.nominal
            points.append((work / moved, work / seconds, seconds, entry))
    figure, subplots = new_figure(figsize=(8, 5.4))
    axes = subplots()
    low = min(x for x, *_ in points) / 4
    high = max([4 * array / peak, *(4 * x for x, *_ in points)])
    for rate, style, label in ((peak, ":", "memory, peak"), (bandwidth, "-", "memory, modelled")):
        top = max(array, vector) / rate
        axes.plot([low, top], [low * rate, top * rate], style, color=_COLOURS["memory"],
                  label=f"{label}: {rate / 1e9:.3g} GB/s")
    for rate, unit in ((array, "array"), (vector, "vector")):
        axes.plot([rate / bandwidth, high], [rate, rate], "-", color=_COLOURS[unit],
                  label=f"{unit}: {si(rate, 'op/s')}")
    longest = max(seconds for _, _, seconds, _ in points)
    for x, y, seconds, entry in sorted(points, key=lambda point: -point[2]):  # small ones on top
        axes.scatter(x, y, s=20 + 250 * seconds / longest, color=_COLOURS[entry.bound_by],
                     alpha=0.8, edgecolors="white", linewidths=0.8, zorder=3)
    rates = [y for _, y, *_ in points]
    axes.set(xscale="log", yscale="log", xlim=(low, high),
             ylim=(min(rates) / 6, 2 * max(array, vector, *rates)),
             xlabel="operations per byte of memory", ylabel="operations per second",
             title=f"{_title(model, result)}: {result.main.name}")
    _name_points(axes, [(x, y, entry.operator.name) for x, y, _, entry in points])
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=7, loc="lower right", title="area: time; colour: bound by; modelled",
                title_fontsize=7)
    return figure


def _name_points(axes: Any, points: list[tuple[float, float, str]]) -> None:
    """Write a name beside every point, further down where another name stands already."""
    with _boxes_for_letters():
        axes.figure.draw_without_rendering()  # only then are places on the paper known
    line, glyph = 9.0, 4.6  # points (1/72 inch) of a line and, at most, of a letter of size 7
    taken: list[tuple[float, float, float]] = []
    to_points = 72 / axes.figure.dpi
    for x, y, name in sorted(points, key=lambda point: (-point[1], point[0])):
        left, height = axes.transData.transform((x, y)) * to_points
        low, right = height - 4, left + 10 + glyph * len(name)
        for from_x, to_x, at in sorted(taken, key=lambda name: -name[2]):
            if from_x < right and left < to_x and abs(at - low) < line:
                low = at - line
        taken.append((left, right, low))
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(10, low - height),
                      fontsize=7)


def breakdown(model: str, result: Estimate) -> bytes:
    """Draw time by operator and energy by part, a column for each phase; bars of range on top."""
    figure, subplots = new_figure(figsize=(9.6, 5.4))
    left, right = subplots(1, 2, width_ratios=(1.6, 1))
    names = [f"{phase.name}\n{phase.tokens:,} token{'s' * (phase.tokens > 1)}"
             for phase in result.phases]
    _operators(left, result.phases, names)
    for column, phase in enumerate(result.phases):
        bottom = 0.0
        scale = 1 / phase.tokens
        for part in ENERGY_PARTS:
            height = phase.energy_parts_j[part].nominal * scale
            right.bar(column, height, 0.6, bottom=bottom, color=_PART_COLOURS[part],
                      label=part.replace("_", " ") if column == 0 else None)
            bottom += height
        energy = phase.energy_j * scale
        right.errorbar(
            column, energy.nominal, color="black", capsize=5,
            yerr=[[energy.nominal - energy.low], [energy.high - energy.nominal]],
        )
    right.set(title="energy per token, with range", ylabel="J", xticks=range(len(names)),
              xticklabels=names)
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles[::-1], labels[::-1], fontsize=7, loc="upper left",
                 bbox_to_anchor=(1, 1), frameon=False)  # beside the bars: it would hide a range
    figure.suptitle(f"{_title(model, result)} (modelled)")
    return png_bytes(figure)


def _operators(axes: Any, phases: tuple[Phase, ...], names: list[str]) -> None:
    """Draw each operator's time per token as a bar, coloured by what bounds it."""
    order = [entry.operator.name for entry in phases[-1].operators]
    height = 0.8 / len(phases)
    for column, phase in enumerate(phases):
        mine = {entry.operator.name: entry for entry in phase.operators}
        for row, name in enumerate(order):
            if name in mine:
                entry = mine[name]
                axes.barh(
                    row + (column - (len(phases) - 1) / 2) * height,
                    entry.time_s.nominal / phase.tokens * 1e3, height * 0.9,
                    color=_COLOURS[entry.bound_by],
                    hatch="" if column == len(phases) - 1 else "///", edgecolor="white",
                )
    used = {entry.bound_by for phase in phases for entry in phase.operators}
    for bound, colour in _COLOURS.items():
        if bound in used:
            axes.barh(0, 0, color=colour, label=f"bound by {bound}")
    if len(phases) > 1:
        axes.barh(0, 0, color="#bbbbbb", hatch="///", edgecolor="white", label="prefill")
    axes.set(title="time per token", xlabel="ms", yticks=range(len(order)), ylim=(-0.6, None))
    axes.set_yticklabels(order, fontsize=7)
    axes.invert_yaxis()
    axes.legend(fontsize=7, loc="upper right")


def _plain_numbers(axis: Any) -> None:
    """Label a logarithmic axis with 0.06 instead of 6 x 10^-2, where matplotlib would label."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_tick_params(which="both", length=3, pad=3.5)  # labels of both kinds on one line
    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(2, 0.4)))


def pareto_plot(
    report: dict[str, Any], feasible: list[dict[str, Any]], front: list[dict[str, Any]]
) -> bytes:
    """Draw designs over the first two objectives, those on the fronts outlined, joined per model.

    With more than two objectives the front is that of all of them, so its points need not be the
    outline of the two that are drawn.
    """
    from sim.explore.limits import metric

    x, y = report["objectives"][:2]
    figure, subplots = new_figure(figsize=(8, 5.4))
    axes = subplots()
    models = list(dict.fromkeys(record["design"]["model"] for record in feasible))
    palette = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#8f7fb5", "#9aa0a6")
    for index, model in enumerate(models):
        colour = palette[index % len(palette)]
        small = min(30.0, max(8.0, 3000 / max(1, len(feasible))))
        for records, size, alpha in ((feasible, small, 0.25), (front, 60, 1.0)):
            mine = [r["metrics"] for r in records if r["design"]["model"] == model]
            axes.scatter(
                [m[x] for m in mine], [m[y] for m in mine], s=size, color=colour, alpha=alpha,
                linewidths=0.8 if alpha == 1 else 0, edgecolors="black" if alpha == 1 else "none",
                zorder=3 if alpha == 1 else 2, label=plain(model) if alpha < 1 else None,
            )
        if len(report["objectives"]) == 2:
            axes.plot([m[x] for m in mine], [m[y] for m in mine], color=colour, linewidth=0.8)
    limits = ", ".join(report["constraints"]) or "no constraints"
    axes.set(xscale="log", yscale="log", xlabel=f"{x} ({metric(x).unit})",
             ylabel=f"{y} ({metric(y).unit})",
             title=f"space {plain(report['space'])}: {report['feasible']:,} of "
                   f"{report['designs']:,} designs, {len(front)} on the front\n{limits}")
    for axis in (axes.xaxis, axes.yaxis):
        _plain_numbers(axis)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    legend = axes.legend(
        fontsize=7, title="outlined: front of each model; modelled", title_fontsize=7
    )
    for handle in legend.legend_handles:
        handle.set_alpha(1)
        handle.set_sizes([30])
    return png_bytes(figure)
