"""A comparison as JSON and as tables on the terminal."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from rich import box
from rich.table import Table

from signacc.console import out, say
from signacc.report import quantity, si

from .comparison import ASPECTS, Comparison, Verdict
from .figures import MARKS, METRICS, Entry, Figure
from .machines import facts_of
from .sensitivity import Flip

SCHEMA = "signacc-compare-1"
"""Value of a report's ``schema`` key."""

DEFINITIONS = {
    "tokens_per_second": "tokens a second of the whole batch, decoded or read (prefill)",
    "joule_per_token": "energy of such a token: chip or board with its DRAM, host excluded, J",
    "time_to_first_token_s": "prefill: batch * context / tokens_per_second, s; all prompts at once",
    "tokens_per_second_per_watt": "1 / joule_per_token",
    "energy_delay_js": "joule_per_token * batch / tokens_per_second, J s",
    "weights_per_joule": "(weights of linears + weights of the head) / joule_per_token",
    "limit_share": "tokens_per_second / (batch * peak bytes a second of DRAM / least bytes of a "
    "step: weights and head once, keys and values); of a machine whose peak is not on record, the "
    "bytes a second of a copy measured in the same run",
    "linear_cycles": "cycles of the FBI-linears of a decode step, or of a prefill",
    "gain": "speed: tokens_per_second over that of the fastest baseline of the point; energy: "
    "joule_per_token of the most frugal baseline of the point over ours",
}
"""Formulas of the figures, by name."""

LETTERS = {
    "measured": "m", "rtl-exact": "x", "modelled": "~", "published": "p",
    "unverified": "?", "derived": "d",
}
"""Marks as one character, for narrow tables."""
_RANGES = {None: "", True: " (inside its range: not settled)", False: " (outside its range)"}
_COLUMNS = {
    "tokens_per_second": "tokens/s", "time_to_first_token_s": "first token",
    "joule_per_token": "J/token", "tokens_per_second_per_watt": "tok/s/W",
    "energy_delay_js": "EDP", "weights_per_joule": "weights/J", "limit_share": "limit",
    "linear_cycles": "cycles",
}  # fmt: skip
_WHOLE = (*_COLUMNS.values(), "winner")
_WIDE = ("energy_delay_js", "weights_per_joule")
_WIDE_FROM = 100  # columns of a terminal that has room for them beside the machines' names
_WINNERS = {"ours": "ours", "baseline": "baseline", "open": "open"}


def _contents(result: Comparison) -> dict[str, object]:
    return {
        "entries": [entry.to_dict() for entry in result.entries],
        "absent": [entry.to_dict() for entry in result.absent],
        "verdicts": [verdict.to_dict() for verdict in result.verdicts],
        "crossovers": [crossover.to_dict() for crossover in result.crossovers()],
        "other_models": [other.to_dict() for other in result.others],
    }


def to_json(
    result: Comparison, flips: Iterable[Flip] = (), prefill: Comparison | None = None
) -> dict[str, object]:
    """Return the comparison as a dictionary that ``json.dumps`` takes.

    Unknown figures are null, and ``missing`` of their entry says why. `prefill` stands under its
    own key, or is null.
    """
    from importlib.metadata import version

    costs = {name: facts_of(name) for name in result.machines}
    return {
        "schema": SCHEMA,
        "model": result.name,
        "shape": result.model.to_dict(),
        "batches": list(result.batches),
        "contexts": list(result.contexts),
        **_contents(result),
        "sensitivity": [entry.to_dict() for entry in flips],
        "prefill": None if prefill is None else _contents(prefill),
        "costs": {
            name: {"cost": facts.cost, "source": facts.cost_source, "mark": facts.cost_mark}
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


def _shown(figure: Figure) -> str:
    """Return a figure's nominal value and mark, its interval on a second line if it has one."""
    text = f"{quantity(figure.value.nominal)} {LETTERS[figure.mark]}"
    return "\n".join(part for part in (text, range_text(figure)) if part)


def _nominal(figure: Figure, unit: str) -> str:
    return f"{si(figure.value.nominal, unit).rstrip()} {LETTERS[figure.mark]}"


def _percent(figure: Figure) -> str:
    return f"{figure.value.nominal:.0%} {LETTERS[figure.mark]}"


_FORMS = {
    "tokens_per_second": _shown,
    "joule_per_token": _shown,
    "time_to_first_token_s": lambda figure: _nominal(figure, "s"),
    "tokens_per_second_per_watt": lambda figure: _shown(figure).split("\n")[0],
    "energy_delay_js": lambda figure: _nominal(figure, "Js"),
    "weights_per_joule": lambda figure: _nominal(figure, ""),
    "limit_share": _percent,
    "linear_cycles": lambda figure: _nominal(figure, ""),
}
"""How a table shows a figure, by its name."""


def print_tables(
    result: Comparison, flips: Iterable[Flip] = (), prefill: Comparison | None = None
) -> None:
    """Print a table of machines for every point, the verdicts, and what is absent and why."""
    _decoding(result, flips)
    if prefill is not None:
        for batch, context in prefill.points:
            _point_table(prefill, batch, context)
        _verdict_table(prefill)
        _absences(prefill)
        say("first token: time in which the prompts of the whole batch are read")
    _others(result, prefill)
    copied = {e.machine for e in result.entries if e.roof and e.roof.mark == "measured"}
    if copied:
        say(f"limit of {', '.join(sorted(copied))}: by a copy measured in the same run, m")
    for text, machines in _costs(result).items():
        say(f"cost of {', '.join(machines)}: {text}")
    marks = ", ".join(f"{short} {name}" for name, short in LETTERS.items())
    say(f"marks: {marks}; below a figure: its interval, low to high")
    if out.width < _WIDE_FROM:
        say(f"EDP and weights/J: in a terminal of {_WIDE_FROM} columns, --json, --html")
    say(
        "EDP: J/token times the time of a step; limit: share of the bandwidth limit of its own "
        "DRAM;\ncycles: of the FBI-linears of a step or prefill"
    )


def _decoding(result: Comparison, flips: Iterable[Flip]) -> None:
    for batch, context in result.points:
        _point_table(result, batch, context)
    _verdict_table(result)
    say("winner open: the interval of the gain holds 1")
    for crossover in result.crossovers():
        low, high = crossover.batches
        say(
            f"{crossover.aspect}, {crossover.machine}, context {crossover.context}: the winner "
            f"changes between batch {low} ({crossover.before}) and {high}"
        )
    for flip in flips:
        say(
            f"{flip.aspect}, {flip.machine}, {flip.batch}x{flip.context}: the verdict turns with "
            f"{flip.constant} times {quantity(flip.factor)} ~{_RANGES[flip.inside]}"
        )
    for text in impossible(result):
        say(text)
    _absences(result)


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(
            column, justify="right" if index else "left", overflow="fold", no_wrap=column in _WHOLE
        )
    return table


def _point_table(result: Comparison, batch: int, context: int) -> None:
    title = "decoding" if result.phase == "decode" else "prefill"
    wide = out.width >= _WIDE_FROM
    names = [name for name in METRICS[result.phase] if wide or name not in _WIDE]
    table = _table(
        f"{result.name}, batch {batch}, context {context}: {title}",
        ("machine", *(_COLUMNS[name] for name in names)),
    )
    notes: dict[str, str] = {}
    for entry in result.at(batch, context):
        table.add_row(
            entry.machine,
            *(_figure(entry, name, notes) for name in names),
        )
    if table.row_count:
        out.print(table)
    else:
        say(f"{table.title}: no machine has figures")
    if notes:
        reasons = "; ".join(f"{letter}: {reason}" for reason, letter in notes.items())
        say(f"no figure, {reasons}")


def _figure(entry: Entry, name: str, notes: dict[str, str]) -> str:
    """Return a cell; where there is no figure, a dash and the letter of the reason in `notes`."""
    figure = getattr(entry, name)
    if figure is not None:
        return _FORMS[name](figure)
    reason = entry.reason(name)
    return f"- {notes.setdefault(reason, chr(ord('a') + len(notes)))}"


def gain_text(verdict: Verdict) -> str:
    """Return a gain with its interval, like ``0.09 (0.06-0.1)``."""
    gain = verdict.gain
    return f"{quantity(gain.nominal)} ({quantity(gain.low)}-{quantity(gain.high)})"


def _verdict_table(result: Comparison) -> None:
    if not result.verdicts:
        what = "no baseline" if result.phase == "decode" else "no prefill baseline"
        say(f"{what} of {result.name} at these points: nothing to compare with")
        return
    where = "" if result.phase == "decode" else "prefill: "
    table = _table(
        f"{where}gain over the best baseline of each point (above 1: ours is better); modelled",
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


def impossible(result: Comparison) -> list[str]:
    """Return a sentence for every machine and point beyond the limit of its own DRAM."""
    return [
        f"{entry.machine} at {points_text([entry.point])} (batch x context) is at "
        f"{quantity(entry.limit_share.value.nominal)} times the limit of its own DRAM: its figure, "
        "its path or that peak is wrong, unless its caches hold what it reads"
        for entry in result.entries
        if entry.limit_share is not None and entry.limit_share.value.nominal > 1
    ]


def _absences(result: Comparison) -> None:
    for machine, reason, points in absences(result):
        say(f"absent: {machine} at {points_text(points)} (batch x context): {reason}")


def _costs(result: Comparison) -> dict[str, list[str]]:
    """Return machines by the text of their cost."""
    found: dict[str, list[str]] = {}
    for name in result.machines:
        facts = facts_of(name)
        if facts is not None and facts.cost is not None:
            text = f"{facts.cost} {LETTERS[facts.cost_mark]} ({facts.cost_source})"
            found.setdefault(text, []).append(name)
    return found


def _others(result: Comparison, prefill: Comparison | None) -> None:
    shown = [("decode", other) for other in result.others]
    shown += [("prefill", other) for other in (() if prefill is None else prefill.others)]
    if not shown:
        return
    table = _table(
        "not compared: published figures of other models, or of no stated context (sources and "
        "notes: --json, --html)",
        ("machine", "model", "phase", "batch", "tokens/s", "J/token"),
    )
    for phase, other in shown:
        energy = other.joule_per_token
        table.add_row(
            other.machine, other.model, phase, str(other.batch), _shown(other.tokens_per_second),
            "not stated" if energy is None else _shown(energy),
        )
    out.print(table)
