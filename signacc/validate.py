"""signacc validate: predictions for machines that others built, beside what they published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
from rich import box
from rich.table import Table

from golden.errors import InputError
from sim.interval import Interval
from sim.validation import (
    AIM,
    QUANTITIES,
    RATES,
    Design,
    Row,
    Summary,
    boards,
    compare,
    design_from_file,
    load_designs,
    predict,
    summary,
)

from .console import out, say
from .report import quantity

SCHEMA = "signacc-validation-1"

KINDS = {
    "speed": (True, True),
    "power and energy": (False, True),
    "power and energy without tools' estimates": (False, False),
    "all": (None, True),
}
"""Kinds of figures that have medians: rates or not (None: both), with design tools' estimates."""


def run_command(files: tuple[str, ...], as_json: bool, markdown: bool) -> None:
    """Predict, print; `files` are designs without published figures."""
    if as_json and markdown:
        raise InputError("give --json or --markdown, not both")
    if files:
        if markdown:
            raise InputError("--markdown prints the shipped designs, not files")
        designs = [design_from_file(path) for path in files]
        found = [(design, predict(design)) for design in designs]
        if as_json:
            click.echo(json.dumps({"schema": SCHEMA, "designs": [own(*each) for each in found]}))
        else:
            own_table(found)
        return
    rows = compare()
    if as_json:
        click.echo(json.dumps(report(rows)))
    elif markdown:
        click.echo(markdown_tables(rows))
    else:
        tables(rows)


# ---- machines ----------------------------------------------------------------------------


def own(design: Design, predictions: dict[tuple[str, str], Interval]) -> dict[str, Any]:
    """Return a design of a user and its predictions for ``json.dumps``."""
    return design_json(design) | {
        "predictions": [
            {"run": run, "quantity": name, "unit": QUANTITIES[name], "predicted": value.to_dict()}
            for (run, name), value in predictions.items()
        ]
    }


def design_json(design: Design) -> dict[str, Any]:
    """Return a design, its parameters' sources included."""
    return {
        "name": design.name,
        "family": design.family,
        "title": design.title,
        "reference": design.reference,
        "notes": design.notes,
        "parameters": [
            {"path": p.path, "value": p.value(design.section.data), "mark": p.mark,
             "source": p.source}
            | ({} if p.low is None else {"low": p.low, "high": p.high})
            for p in design.parameters
        ],
    }


def report(rows: Iterable[Row]) -> dict[str, Any]:
    """Return all rows, their medians and the designs' parameters for ``json.dumps``."""
    rows = tuple(rows)
    return {
        "schema": SCHEMA,
        "aim": AIM,
        "rows": [row.to_json() for row in rows],
        "summary": {
            kind.replace("'", "").replace(" ", "_"): vars(found)
            for kind, found in summaries(rows).items()
        },
        "designs": [design_json(design) for design in load_designs()],
    }


def summaries(rows: Iterable[Row]) -> dict[str, Summary]:
    """Return the medians of every kind of figure."""
    rows = tuple(rows)
    return {
        kind: summary(
            [row for row in rows if tools or row.figure.method != "estimated"], rates=rates
        )
        for kind, (rates, tools) in KINDS.items()
    }


# ---- people ------------------------------------------------------------------------------


def interval_text(value: Interval) -> str:
    """Return ``low / nominal / high`` with three digits each."""
    return " / ".join(quantity(each) for each in (value.low, value.nominal, value.high))


def cells(row: Row) -> list[str]:
    """Return a row's cells: design, run, unit, predicted, published, how, error, in range."""
    figure = row.figure
    return [
        figure.design, figure.run, QUANTITIES[figure.quantity], interval_text(row.predicted),
        quantity(figure.value), f"{figure.method}, {figure.read}", f"{row.error:+.1%}",
        "yes" if row.inside else "no",
    ]


COLUMNS = ("design", "run", "unit", "predicted low / nominal / high", "published", "how, read",
           "error", "in range")
_NARROW = ("design, run", "predicted", "published", "how, read", "error", "in\nrange")
_RIGHT = ("predicted", "predicted low / nominal / high", "published", "error")
_WIDE_FROM = 120  # columns of a terminal in which every figure has one line


def _table(columns: Iterable[str], **texts: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **texts)
    for column in columns:
        table.add_column(column, justify="right" if column in _RIGHT else "left", no_wrap=True)
    return table


def _two_lines(value: Interval) -> str:
    """Return the nominal value, and below it the range."""
    return f"{quantity(value.nominal)}\n{quantity(value.low)}-{quantity(value.high)}"


def tables(rows: Iterable[Row]) -> None:
    """Print the comparison, its medians, and why misses miss."""
    rows, wide = tuple(rows), out.width >= _WIDE_FROM
    table = _table(
        COLUMNS if wide else _NARROW,
        title="predicted from published parameters, nothing tuned to a design",
        caption="modelled" if wide else "modelled; below a prediction: its range, low to high",
    )
    for row in rows:
        if wide:
            table.add_row(*cells(row))
            continue
        figure = row.figure
        design, run, unit, _, published, _, error, inside = cells(row)
        table.add_row(f"{design}\n {run}, {unit}", _two_lines(row.predicted), published,
                      f"{figure.method},\n{figure.read}", error, inside)
    out.print(table)
    for line in summary_lines(rows):
        say(line)
    out.print("")
    for row in rows:
        if row.missed:
            say(f"{heading(row)}: {row.figure.why}")


def own_table(found: Iterable[tuple[Design, dict[tuple[str, str], Interval]]]) -> None:
    """Print predictions of a user's designs."""
    table = _table(COLUMNS[:4], caption="modelled")
    for design, predictions in found:
        for (run, name), value in predictions.items():
            table.add_row(design.name, run, QUANTITIES[name], interval_text(value))
    out.print(table)


def summary_lines(rows: Iterable[Row]) -> list[str]:
    """Return a sentence for each kind of figure."""
    return [
        f"{kind}: median error {found.median_error:.1%} over {found.figures} figures, "
        f"{found.median_family_error:.1%} over {found.families} groups of authors; "
        f"{found.misses} beyond {AIM:.0%}, {found.inside} inside the predicted range"
        for kind, found in summaries(rows).items()
    ]


def heading(row: Row) -> str:
    """Return how a list of misses names a row."""
    figure = row.figure
    kind = "" if figure.quantity in RATES else f", {QUANTITIES[figure.quantity]}"
    return f"{figure.design}, {figure.run}{kind} ({row.error:+.0%})"


def markdown_tables(rows: Iterable[Row]) -> str:
    """Return the generated part of docs/validation.md."""
    rows = tuple(rows)
    lines = [_line(COLUMNS), "|" + "---|" * len(COLUMNS)]
    lines += [_line([f"`{first}`", *rest]) for first, *rest in map(cells, rows)]
    lines += [""] + [f"- {line}." for line in summary_lines(rows)]
    lines += ["", "### Misses", ""]
    lines += [f"- **{heading(row)}.** {row.figure.why}" for row in rows if row.missed]
    lines += ["", "### Boards", "", *_board_lines(), "", "### Parameters", ""]
    for design in load_designs():
        lines += _parameter_lines(design)
    return "\n".join(lines).rstrip()


def _parameter_lines(design: Design) -> list[str]:
    lines = [f"**`{design.name}`**: {design.title}. {design.reference}.", ""]
    if design.notes:
        lines += [design.notes, ""]
    lines += ["| parameter | mark | source |", "|---|---|---|"]
    for p in design.parameters:
        span = "" if p.low is None else f"; {p.low:g} to {p.high:g}"
        value = p.value(design.section.data)
        shown = "" if isinstance(value, dict | list) else f" {value}"
        lines.append(f"| `{p.path}`{shown} | {p.mark}{span} | {p.source} |")
    return [*lines, ""]


def _board_lines() -> list[str]:
    lines = ["| board | peak GB/s | technology | static W | source |", "|---|---|---|---|---|"]
    for name, board in boards().items():
        peaks = {d.system.memory.peak_gb_s for d in load_designs() if d.board == name}
        watts = board["static_power_w"]
        lines.append(
            _line(
                [
                    f"`{name}`", " or ".join(f"{peak:g}" for peak in sorted(peaks)),
                    board["technology"],
                    f"{watts['low']:g} / {watts['nominal']:g} / {watts['high']:g}",
                    f"{board['description']}. Power: {board['static_power_source']}",
                ]
            )
        )
    return lines


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"
