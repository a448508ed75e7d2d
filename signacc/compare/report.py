"""A comparison as JSON and as tables on the terminal."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from rich import box
from rich.table import Table

from signacc.console import out
from signacc.report import quantity, si

from .comparison import ASPECTS, Comparison, Verdict
from .figures import MARKS, Figure
from .machines import facts_of
from .sensitivity import Flip

SCHEMA = "signacc-compare-1"
"""Value of a report's ``schema`` key."""

DEFINITIONS = {
    "tokens_per_second": "decoded tokens a second of the whole batch",
    "joule_per_token": "energy of a decoded token: chip or board with its DRAM, host excluded, J",
    "tokens_per_second_per_watt": "1 / joule_per_token",
    "energy_delay_js": "joule_per_token * batch / tokens_per_second, J s",
    "weights_per_joule": "(weights of linears + weights of the head) / joule_per_token",
    "limit_share": "tokens_per_second / (batch * peak bytes a second of DRAM / bytes of a step)",
    "linear_cycles": "cycles of the FBI-linears of a decode step",
    "gain": "speed: tokens_per_second over that of the fastest baseline of the point; energy: "
    "joule_per_token of the most frugal baseline of the point over ours",
}
"""Formulas of the figures, by name."""

LETTERS = {
    "measured": "m", "rtl-exact": "x", "modelled": "~", "published": "p", "derived": "d",
}
"""Marks as one character, for narrow tables."""
_RANGES = {None: "", True: " (inside its range: not settled)", False: " (outside its range)"}
_WHOLE = ("tokens/s", "J/token", "tok/s/W", "EDP", "weights/J", "limit", "cycles", "winner")
_WINNERS = {"ours": "ours", "baseline": "baseline", "open": "open"}


def to_json(result: Comparison, flips: Iterable[Flip] = ()) -> dict[str, object]:
    """Return the comparison as a dictionary that ``json.dumps`` takes; unknown figures are null."""
    from importlib.metadata import version

    costs = {name: facts_of(name) for name in result.machines}
    return {
        "schema": SCHEMA,
        "model": result.name,
        "shape": result.model.to_dict(),
        "batches": list(result.batches),
        "contexts": list(result.contexts),
        "entries": [entry.to_dict() for entry in result.entries],
        "absent": [entry.to_dict() for entry in result.absent],
        "verdicts": [verdict.to_dict() for verdict in result.verdicts],
        "crossovers": [crossover.to_dict() for crossover in result.crossovers()],
        "sensitivity": [entry.to_dict() for entry in flips],
        "other_models": [other.to_dict() for other in result.others],
        "costs": {
            name: {"cost": facts.cost, "source": facts.cost_source, "mark": "published"}
            for name, facts in costs.items()
            if facts is not None and facts.cost is not None
        },
        "definitions": dict(DEFINITIONS),
        "marks": dict(MARKS),
        "versions": {"signacc": version("signacc"), "python": platform.python_version()},
    }


def range_text(figure: Figure) -> str:
    """Return the interval of a figure, like ``8.9-13``; empty if it is a point."""
    low, high = quantity(figure.value.low), quantity(figure.value.high)
    return "" if low == high else f"{low}-{high}"


def _shown(figure: Figure | None) -> str:
    """Return a figure's nominal value and mark, its interval on a second line if it has one."""
    if figure is None:
        return "-"
    text = f"{quantity(figure.value.nominal)} {LETTERS[figure.mark]}"
    return "\n".join(part for part in (text, range_text(figure)) if part)


def _nominal(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return "-"
    return f"{si(figure.value.nominal, unit).rstrip()} {LETTERS[figure.mark]}"


def _percent(figure: Figure) -> str:
    return f"{figure.value.nominal:.0%} {LETTERS[figure.mark]}"


def print_tables(result: Comparison, flips: Iterable[Flip] = ()) -> None:
    """Print a table of machines for every point, the verdicts, and what is absent."""
    for batch, context in result.points:
        _point_table(result, batch, context)
    _verdict_table(result)
    out.print("  winner open: the interval of the gain holds 1")
    for crossover in result.crossovers():
        low, high = crossover.batches
        out.print(
            f"  {crossover.aspect}, {crossover.machine}, context {crossover.context}: the winner "
            f"changes between batch {low} ({crossover.before}) and {high}"
        )
    for flip in flips:
        out.print(
            f"  {flip.aspect}, {flip.machine}, {flip.batch}x{flip.context}: the verdict turns with "
            f"{flip.constant} times {quantity(flip.factor)} ~{_RANGES[flip.inside]}"
        )
    _absences(result)
    _others(result)
    for text, machines in _costs(result).items():
        out.print(f"  cost of {', '.join(machines)}: {text}")
    marks = ", ".join(f"{short} {name}" for name, short in LETTERS.items())
    out.print(f"  marks: {marks}; below a figure: its interval, low to high")
    out.print(
        "  EDP: J/token times the time of a step; limit: share of the bandwidth limit of its own "
        "DRAM;\n  cycles: of the FBI-linears of a step"
    )


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(
            column, justify="right" if index else "left", overflow="fold", no_wrap=column in _WHOLE
        )
    return table


def _point_table(result: Comparison, batch: int, context: int) -> None:
    table = _table(
        f"{result.name}, batch {batch}, context {context}: decoding",
        ("machine", "tokens/s", "J/token", "tok/s/W", "EDP", "weights/J", "limit", "cycles"),
    )
    for entry in result.at(batch, context):
        table.add_row(
            entry.machine,
            _shown(entry.tokens_per_second),
            _shown(entry.joule_per_token),
            _shown(entry.tokens_per_second_per_watt).split("\n")[0],
            _nominal(entry.energy_delay_js, "Js"),
            _nominal(entry.weights_per_joule, ""),
            "-" if entry.limit_share is None else _percent(entry.limit_share),
            _nominal(entry.linear_cycles, ""),
        )
    out.print(table)


def gain_text(verdict: Verdict) -> str:
    """Return a gain with its interval, like ``0.09 (0.06-0.1)``."""
    gain = verdict.gain
    return f"{quantity(gain.nominal)} ({quantity(gain.low)}-{quantity(gain.high)})"


def _verdict_table(result: Comparison) -> None:
    if not result.verdicts:
        out.print(f"  no baseline of {result.name} at these points: nothing to compare with")
        return
    table = _table(
        "gain over the best baseline of each point (above 1: ours is better); modelled",
        ("machine", "batch", "context", "aspect", "gain", "against", "winner"),
    )
    for aspect in ASPECTS:
        for verdict in result.verdicts:
            if verdict.aspect == aspect:
                table.add_row(
                    verdict.machine, str(verdict.batch), str(verdict.context), aspect,
                    f"{gain_text(verdict)} ~", verdict.against, _WINNERS[verdict.winner],
                )
    out.print(table)


def absences(result: Comparison) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Return machine, reason and points of what is absent, equal reasons together."""
    grouped: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for entry in result.absent:
        key = (entry.machine, entry.reason)
        grouped.setdefault(key, []).append((entry.batch, entry.context))
    return [(machine, reason, points) for (machine, reason), points in grouped.items()]


def points_text(points: list[tuple[int, int]]) -> str:
    """Return points as text, like ``1x128, 4x128`` (batch x context)."""
    return ", ".join(f"{batch}x{context}" for batch, context in points)


def _absences(result: Comparison) -> None:
    for machine, reason, points in absences(result):
        out.print(f"  absent: {machine} at {points_text(points)} (batch x context): {reason}")


def _costs(result: Comparison) -> dict[str, list[str]]:
    """Return machines by the text of their cost."""
    found: dict[str, list[str]] = {}
    for name in result.machines:
        facts = facts_of(name)
        if facts is not None and facts.cost is not None:
            text = f"{facts.cost} {LETTERS['published']} ({facts.cost_source})"
            found.setdefault(text, []).append(name)
    return found


def _others(result: Comparison) -> None:
    for other in result.others:
        energy = other.joule_per_token
        out.print(
            f"  not compared, another model: {other.machine}, {other.model}: "
            f"{_shown(other.tokens_per_second)} tokens/s, "
            f"{'no energy' if energy is None else _shown(energy) + ' J/token'} ({other.source})"
        )
