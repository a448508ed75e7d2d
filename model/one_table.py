"""One table of teacher, twin and FBI-LLM, made of the records of their measurements.

    python -m model.one_table flagship/eval/eval.json ratio.json perplexity.json zero-shot-*.json

Records are told by what they hold, in any order: ``eval.json`` of `model.measure`, what
`model.loss_files`, ``benchmarks/perplexity.py`` and ``benchmarks/zero_shot.py`` write. Golden
arithmetic is often measured on fewer windows or items than float: its cells are the change
against float on the same ones, never a figure of another sample. Of two records of one cell the one
with more items counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from golden.errors import InputError

from .errors import told

MODELS = ("teacher", "twin", "FBI float", "FBI A16", "FBI A8")
RATIO = "FBI float / twin, 95 % interval"
_COLUMN = {"fbi": "FBI float", "float": "FBI float", "A16": "FBI A16", "A8": "FBI A8"}
_PERPLEXITY = {"teacher": "perplexity_per_student_token"}
_SAMPLED = "held_out_sampled"


@dataclass(frozen=True)
class _Cell:
    """A cell, its note, and of how many items or windows it is; the cell of most stays."""

    text: str
    note: str = ""
    items: float = math.inf


@dataclass
class OneTable:
    """Cells by row and column; `add` takes a record, `markdown` gives the table.

    Attributes
    ----------
    window : tokens of a window of the perplexities, once a record has told it
    """

    window: int | None = None
    _cells: dict[str, dict[str, _Cell]] = field(default_factory=dict)
    _tasks: dict[str, str] = field(default_factory=dict)

    def add(self, record: dict[str, Any], where: str) -> None:
        """Take a record; raises InputError that names `where` if it is of no known kind.

        Also if it is of other windows or metrics than one before, or gives a cell another value.
        """
        try:
            results = record.get("results", record)
            if "accuracy" in results:
                self._zero_shot(results, where)
            elif "texts" in results and "models" in results:
                self._ratios(results, where)
            elif "texts" in results and "windows" in results:
                self._golden(results, where)
            elif "window" in results and "dtype" in results:
                self._evaluation(results, where)
            else:
                raise InputError(f"{where} must be a record of measure, loss_files, perplexity or "
                                 f"zero_shot; it is of another kind")  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where} must be a record of a measurement: {error!r}") from None

    def _put(self, row: str, column: str, cell: _Cell, where: str) -> None:
        cells = self._cells.setdefault(row, {})
        old = cells.get(column)
        if old is not None and old.items == cell.items and old.text != cell.text:
            raise InputError(f"{where} gives {row} of {column} as {cell.text}, another record as "
                             f"{old.text}: of one model alone")  # fmt: skip
        if old is None or cell.items > old.items:
            cells[column] = cell

    def _see_window(self, window: int, where: str) -> None:
        if self.window not in (None, window):
            raise InputError(f"{where} must be of windows of {self.window} tokens, not {window}")
        self.window = window

    def _evaluation(self, results: dict[str, Any], where: str) -> None:
        self._see_window(results["window"], where)
        for text, part in results.items():
            if not isinstance(part, dict):
                continue
            for name in ("teacher", "twin", "fbi"):
                if name in part:
                    value = part[name][_PERPLEXITY.get(name, "perplexity")]
                    self._put(text, _COLUMN.get(name, name), _Cell(f"{value:.2f}"), where)
            if "fbi_over_twin" in part:
                self._ratio(text, part["fbi_over_twin"], where)

    def _ratio(self, text: str, part: dict[str, Any], where: str) -> None:
        low, high = part["ci95"]
        self._put(text, RATIO, _Cell(f"{part['ratio']:.3f} ({low:.3f}–{high:.3f})"), where)

    def _ratios(self, results: dict[str, Any], where: str) -> None:
        if results["models"] != ["fbi", "twin"]:
            raise InputError(f"{where} must be of fbi and twin, in that order, not of "
                             f"{' and '.join(map(str, results['models']))}")  # fmt: skip
        self._see_window(results["window"], where)
        for text, part in results["texts"].items():
            self._ratio(text, part, where)

    def _golden(self, results: dict[str, Any], where: str) -> None:
        self._see_window(results["window"], where)
        windows = results["windows"]
        note = f"change against float on the first {windows} windows of the text"
        for text, rows in results["texts"].items():
            for name in ("A16", "A8"):
                change = rows[name]["perplexity"] / rows["float"]["perplexity"] - 1
                cell = _Cell(f"{100 * change:+.3f} %", note, windows)
                self._put(text, _COLUMN[name], cell, where)

    def _zero_shot(self, results: dict[str, Any], where: str) -> None:
        limit = results["limit"]
        for task, metric in results["metric"].items():
            if self._tasks.setdefault(task, metric) != metric:
                raise InputError(
                    f"{where} must give {task} as {self._tasks[task]}, as another record does, "
                    f"not as {metric}"
                )
            for name, tasks in results["accuracy"].items():
                share, error = (100 * tasks[task][key] for key in (metric, f"{metric}_stderr"))
                note = "" if limit is None else f"the first {limit} items of a task"
                text = f"{share:.1f} ± {error:.1f}"
                if name in ("A16", "A8") and "float" in results["accuracy"]:
                    note = "change in points against float on " + (note or "all items")
                    text = f"{share - 100 * results['accuracy']['float'][task][metric]:+.1f}"
                cell = _Cell(text, note, math.inf if limit is None else limit)
                self._put(task, _COLUMN.get(name, name), cell, where)

    def markdown(self) -> str:
        """Return the table and its notes, marked as measured; InputError if nothing is there."""
        if not self._cells:
            raise InputError("a table needs records; there is none")
        notes: list[str] = []
        texts = sorted((row for row in self._cells if row not in self._tasks),
                       key=lambda row: (row == _SAMPLED, row != "wiki", row))  # fmt: skip
        lines = [f"| measured | {' | '.join((*MODELS, RATIO))} |", "|---" * 7 + "|"]
        for row in (*texts, *self._tasks):
            label = f"{row}, {self._tasks[row]}, %" if row in self._tasks else (
                f"{'sampled' if row == _SAMPLED else row}, perplexity")  # fmt: skip
            shown = []
            for column in (*MODELS, RATIO):
                cell = self._cells[row].get(column, _Cell("–"))
                if cell.note and cell.note not in notes:
                    notes.append(cell.note)
                shown.append(cell.text + (f" [{notes.index(cell.note) + 1}]" if cell.note else ""))
            lines.append(f"| {label} | {' | '.join(shown)} |")
        if self.window is not None:
            lines += ["", f"Perplexity of a student token, windows of {self.window:,} tokens; "
                      "accuracy ± one standard error."]  # fmt: skip
        if notes:
            lines += ["", *(f"{n}. [{n}]: {note}." for n, note in enumerate(notes, start=1))]
        return "\n".join(lines) + "\n"


def read_table(files: Iterable[Path]) -> OneTable:
    """Return the table of records in JSON files; InputError if one cannot be read or used."""
    table = OneTable()
    for path in files:
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"a record must be there: {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} must be JSON: {error}") from None
        if not isinstance(record, dict):
            raise InputError(f"{path} must hold a JSON object, not {type(record).__name__}")
        table.add(record, str(path))
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@told()
def main(records: tuple[Path, ...]) -> None:
    """Print one table of RECORDS as Markdown."""
    click.echo(read_table(records).markdown(), nl=False)


if __name__ == "__main__":
    main()
