"""Plots of a comparison. matplotlib loads only where one is drawn.

All are drawn in the light colours of the palette; an SVG is then made to follow the page's theme.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from signacc.plots import image_bytes, plain

from .comparison import ASPECTS, ENERGY, SPEED, Comparison
from .figures import Entry
from .palette import LIGHT, SERIES, follow_theme

_MARKERS = "osD^vPX<>*"
_LINES = ("-", "--", ":", "-.")
_PANELS = {
    "decode": {"tokens_per_second": "tokens/s", "joule_per_token": "J/token"},
    "prefill": {
        "tokens_per_second": "tokens/s", "time_to_first_token_s": "first token, s",
        "joule_per_token": "J/token",
    },
}
_BARS = {
    "decode": "Tokens a second and joules a token.",
    "prefill": "Tokens read a second, the time until all prompts are read, joules a token.",
}
_TITLES = {
    SPEED: "speed: tokens/s over the fastest baseline's",
    ENERGY: "energy: the most frugal baseline's J/token over ours",
}
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "signacc", "font.size": 9, "axes.titlesize": 9,
    "legend.fontsize": 8, "figure.facecolor": LIGHT["surface"], "axes.facecolor": LIGHT["surface"],
    "savefig.facecolor": LIGHT["surface"], "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["ink"], "text.color": LIGHT["ink"], "xtick.color": LIGHT["ink"],
    "ytick.color": LIGHT["ink"], "grid.color": LIGHT["grid"], "grid.linewidth": 0.6,
    "axes.grid": True, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "legend.edgecolor": LIGHT["grid"],
    "hatch.color": LIGHT["surface"], "hatch.linewidth": 0.8,
}  # fmt: skip


_HATCHES = ("////", "....", "xxxx", "----")

Looks = Mapping[str, tuple[str, str | None]]
"""Colour and hatch by machine; ours have no hatch."""


def looks_of(results: Sequence[Comparison]) -> Looks:
    """Return how each machine is drawn, in all plots of a report alike.

    Where machines are more than colours, those of baselines come again with another hatch. Machines
    that have no figure, and so are in no plot, come last.
    """
    ours = {system.name for result in results for system in result.systems}
    drawn = {entry.machine for result in results for entry in result.entries}
    everyone = dict.fromkeys(name for result in results for name in result.machines)
    names = sorted(everyone, key=lambda name: (name not in drawn, name not in ours))
    return {
        name: (
            LIGHT[SERIES[place % len(SERIES)]],
            None if name in ours else _HATCHES[place // len(SERIES) % len(_HATCHES)],
        )
        for place, name in enumerate(names)
    }


def _error(value: Any, scale: float = 1.0) -> list[list[float]]:
    return [[(value.nominal - value.low) * scale], [(value.high - value.nominal) * scale]]


def _point_name(batch: int, context: int) -> str:
    return f"{batch} × {context}"


def bars(result: Comparison, figure: Any, looks: Looks) -> str:
    """Draw tokens/s and J/token of every machine and point, with intervals; return a caption."""
    panels = _PANELS[result.phase]
    axes = figure.subplots(len(panels), 1, sharex=True)
    present = [m for m in result.machines if any(e.machine == m for e in result.entries)]
    width = 0.84 / max(1, len(present))
    for axis, (attribute, label) in zip(axes, panels.items(), strict=True):
        for entry in result.entries:
            amount = getattr(entry, attribute)
            if amount is None:
                continue
            slot = present.index(entry.machine) - (len(present) - 1) / 2
            axis.bar(
                result.points.index(entry.point) + slot * width, amount.value.nominal, width * 0.92,
                color=looks[entry.machine][0], hatch=looks[entry.machine][1],
                edgecolor=LIGHT["surface"], linewidth=0,
                yerr=_error(amount.value) if amount.value.low < amount.value.high else None,
                error_kw={"ecolor": LIGHT["ink"], "capsize": 2, "elinewidth": 0.9},
            )
        axis.set_yscale("log")
        axis.grid(visible=False, axis="x")
        axis.set_ylabel(label)
    axes[-1].set_xticks(range(len(result.points)), [_point_name(*p) for p in result.points])
    axes[-1].set_xlabel("batch × context")
    _machine_legend(looks, figure, present)
    return (
        f"{_BARS[result.phase]} Plain bars are modelled, hatched ones measured or "
        "published; lines on bars are intervals; a missing bar is a missing figure."
    )


def _machine_legend(looks: Looks, figure: Any, machines: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(facecolor=looks[m][0], edgecolor=LIGHT["surface"], linewidth=0, label=plain(m),
                  hatch=looks[m][1])
            for m in machines
        ],
        loc="outside upper center", ncols=min(4, len(machines)),
    )  # fmt: skip


def roofline(result: Comparison, figure: Any, looks: Looks) -> str:
    """Draw every entry under the roofs of its machine; return a caption."""
    axes = figure.subplots()
    shown = [entry for entry in result.entries if entry.roof is not None]
    intensities = [entry.roof.operations / entry.roof.bytes for entry in shown]
    low, high = min(intensities) / 3, max(intensities) * 8
    _roof_lines(looks, axes, shown, low, high)
    for entry in shown:
        roof, colour = entry.roof, looks[entry.machine][0]
        rate = entry.tokens_per_second.value * (roof.operations / entry.batch)
        axes.errorbar(
            roof.operations / roof.bytes, rate.nominal, yerr=_error(rate), color=colour,
            marker="o" if entry.ours else "s",
            markersize=5.5 + 1.2 * math.log2(entry.batch) ** 0.8, elinewidth=0.9, capsize=2,
            markeredgecolor=LIGHT["surface"], markeredgewidth=0.6, zorder=3,
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high),
             xlabel="operations per byte that a decode step must move",
             ylabel="operations per second")  # fmt: skip
    _machine_legend(looks, figure, list(dict.fromkeys(entry.machine for entry in shown)))
    return (
        "Every point under the roofs of its machine: peak of its DRAM, peak of its array or tensor "
        "cores (grey: shared by several), or what a copy and a product reach on it. "
        "Circles are modelled, squares measured or published; "
        "larger is a larger batch. "
        "A baseline without a known path and peak has no place here."
    )


def _roof_lines(
    looks: Looks, axes: Any, shown: Sequence[Entry], low: float, high: float
) -> None:
    """Draw each roof once: in its machine's colour, or in grey if several share it."""
    owners: dict[tuple[float, float | None], list[str]] = {}
    for entry in shown:
        roof = entry.roof
        names = owners.setdefault((roof.bytes_per_second, roof.operations_per_second), [])
        if entry.machine not in names:
            names.append(entry.machine)
    for (bandwidth, top), names in owners.items():
        ridge = high if top is None else min(high, max(low, top / bandwidth))
        xs = [low, ridge, high]
        colour = looks[names[0]][0] if len(names) == 1 else LIGHT["muted"]
        axes.plot(xs, [min(x * bandwidth, math.inf if top is None else top) for x in xs],
                  color=colour, linewidth=1.1)  # fmt: skip


def heat_map(result: Comparison, figure: Any, looks: Looks) -> str:
    """Draw the gain of every machine over batch and context; return a caption."""
    machines = _judged(result)
    grid = figure.subplots(len(machines), len(ASPECTS), squeeze=False)
    reach = max(abs(math.log10(v.gain.nominal)) for v in result.verdicts) or 1.0
    for row, machine in zip(grid, machines, strict=True):
        for axis, aspect in zip(row, ASPECTS, strict=True):
            _cells(result, axis, aspect, machine, reach)
            axis.set_title(plain(f"{machine}: {aspect}"))
    return (
        "Gain of each machine over the best baseline of the point, nominal; above 1 (violet) ours "
        "is better, below 1 (orange) the baseline. A cell with a question mark is open: the "
        "interval holds 1. Modelled."
    )


def _judged(result: Comparison) -> list[str]:
    return list(dict.fromkeys(verdict.machine for verdict in result.verdicts))


def _cells(result: Comparison, axis: Any, aspect: str, machine: str, reach: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    for column, context in enumerate(result.contexts):
        for row, batch in enumerate(result.batches):
            verdict = result.verdict(aspect, machine, batch, context)
            corner = (column - 0.5, row - 0.5)
            if verdict is None:
                axis.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor=LIGHT["grid"]))
                known = any(e.machine == machine and e.point == (batch, context)
                            for e in result.ours)  # fmt: skip
                axis.text(column, row, f"no {'baseline' if known else 'estimate'}", ha="center",
                          va="center", color=LIGHT["muted"], fontsize=7)  # fmt: skip
                continue
            share = 0.5 + 0.5 * math.log10(verdict.gain.nominal) / reach
            red, green, blue, _ = colormaps["PuOr"](0.04 + 0.92 * share)
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            axis.add_patch(Rectangle(corner, 1, 1, facecolor=to_hex((red, green, blue)),
                                     edgecolor=LIGHT["surface"]))  # fmt: skip
            mark = "?" if verdict.winner == "open" else ""
            axis.text(column, row, f"{verdict.gain.nominal:.2g}×{mark}", ha="center", va="center",
                      color="#ffffff" if dark else "#000000")  # fmt: skip
    axis.set(xlim=(-0.5, len(result.contexts) - 0.5), ylim=(len(result.batches) - 0.5, -0.5),
             xlabel="context", ylabel="batch")  # fmt: skip
    axis.set_xticks(range(len(result.contexts)), result.contexts)
    axis.set_yticks(range(len(result.batches)), result.batches)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def crossover(result: Comparison, figure: Any, looks: Looks) -> str:
    """Draw gain against batch, a line for each machine and context; return a caption."""
    axes = figure.subplots(1, 2)
    machines, contexts = _judged(result), len(result.contexts)
    series = len(machines) * contexts
    step = 1.6 ** (1 / series)  # all series of a batch together: less than a factor of 2
    for axis, aspect in zip(axes, ASPECTS, strict=True):
        for place, machine in enumerate(machines):
            for index, context in enumerate(result.contexts):
                line = [
                    (batch, verdict.gain)
                    for batch in result.batches
                    if (verdict := result.verdict(aspect, machine, batch, context))
                ]
                if line:
                    # Side by side, so that intervals do not hide each other.
                    shift = step ** (place * contexts + index - (series - 1) / 2)
                    axis.errorbar(
                        [batch * shift for batch, _ in line], [g.nominal for _, g in line],
                        yerr=[[g.nominal - g.low for _, g in line],
                              [g.high - g.nominal for _, g in line]],
                        color=looks[machine][0], marker=_MARKERS[index % len(_MARKERS)],
                        linestyle=_LINES[index % len(_LINES)], linewidth=1.1, markersize=4.5,
                        elinewidth=0.8, capsize=2, label=plain(f"{machine}, context {context}"),
                    )  # fmt: skip
        axis.axhline(1, color=LIGHT["ink"], linewidth=1.0)
        axis.set(xscale="log", yscale="log", xlabel="batch", title=_TITLES[aspect],
                 xlim=(min(result.batches) / 1.8, max(result.batches) * 1.8))
        axis.set_xticks(result.batches, result.batches)
        axis.minorticks_off()
    axes[0].set_ylabel("gain (above 1: ours is better)")
    handles, labels = max((axis.get_legend_handles_labels() for axis in axes), key=len)
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper center",
                  ncols=min(3, len(unique)))  # fmt: skip
    return (
        "Where the winner changes: a line that meets 1 crosses over between the two batches beside "
        "it. Points are the batches that have figures, those of a batch side by side; the lines "
        "between them only guide the eye. Modelled."
    )


def _size(name: str, result: Comparison) -> tuple[float, float]:
    if name == "heat_map":
        rows = len(_judged(result))
        return 7.2, rows * (0.9 + 0.42 * len(result.batches)) + 0.3
    wide = max(7.2, 0.9 * len(result.points))
    return {"bars": (wide, 5.6), "prefill": (wide, 7.6), "roofline": (7.2, 5.0)}.get(
        name, (8.4, 4.6)
    )


NAMES = ("bars", "roofline", "heat_map", "crossover", "prefill")
"""Plots of a report; those with nothing to show are left out."""


def _drawings(result: Comparison) -> dict[str, Callable[[Comparison, Any, Looks], str]]:
    drawings: dict[str, Callable[[Comparison, Any, Looks], str]] = {}
    if result.phase == "prefill":
        return {"prefill": bars} if result.entries else {}
    if result.entries:
        drawings["bars"] = bars
    if any(entry.roof is not None for entry in result.entries):
        drawings["roofline"] = roofline
    if result.verdicts:
        drawings |= {"heat_map": heat_map, "crossover": crossover}
    return drawings


def _drawn(
    results: Sequence[Comparison], form: str, **options: Any
) -> dict[str, tuple[bytes, str]]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    images, looks = {}, looks_of(results)
    with rc_context(_STYLE):
        for result in results:
            for name, draw in _drawings(result).items():
                figure = Figure(figsize=_size(name, result), layout="constrained")
                caption = draw(result, figure, looks)
                images[name] = (image_bytes(figure, form, **options), caption)
    return images


def png_images(*results: Comparison) -> dict[str, bytes]:
    """Return PNG images by name, of decoding and of prefill; an empty plot is left out.

    A machine has the same colour in all of them.
    """
    return {name: image for name, (image, _) in _drawn(results, "png", dpi=150).items()}


def svg_images(*results: Comparison) -> dict[str, tuple[str, str]]:
    """Return SVG elements for an HTML page, with captions, by name; else as :func:`png_images`.

    Their colours are CSS custom properties (``signacc.compare.palette``), ids begin with the name.
    """
    drawn = _drawn(results, "svg", metadata={"Date": None, "Creator": None})
    return {name: (_inline(name, image.decode()), text) for name, (image, text) in drawn.items()}


def _inline(name: str, svg: str) -> str:
    """Return the bare element: no prolog, no metadata, sizes left to the page, ids of its own."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    return follow_theme(svg).strip()
