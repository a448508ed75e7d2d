"""Predictions beside what was published: errors, and their medians."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from ..errors import InputError
from ..interval import Interval
from .design import Design, load_designs
from .figures import Figure, load_figures
from .predict import QUANTITIES, RATES, predict

AIM = 0.15
"""Errors above this are misses, and are explained."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A published figure and its prediction."""

    design: Design
    figure: Figure
    predicted: Interval

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted.nominal / self.figure.value - 1

    @property
    def missed(self) -> bool:
        """Whether the error is beyond the aim."""
        return abs(self.error) > AIM

    @property
    def inside(self) -> bool:
        """Whether the published value lies in the predicted range."""
        return self.predicted.low <= self.figure.value <= self.predicted.high

    def to_json(self) -> dict[str, object]:
        """Return the row for machines."""
        figure = self.figure
        return {
            "design": figure.design,
            "family": self.design.family,
            "run": figure.run,
            "quantity": figure.quantity,
            "unit": QUANTITIES[figure.quantity],
            "predicted": self.predicted.to_dict(),
            "published": figure.value,
            "method": figure.method,
            "read": figure.read,
            "source": figure.source,
            "error": self.error,
            "inside_range": self.inside,
            "why": figure.why,
        }


@dataclass(frozen=True)
class Summary:
    """Median of absolute errors: over figures, and over families (the median of each first)."""

    figures: int
    families: int
    misses: int
    inside: int
    median_error: float
    median_family_error: float


def compare(
    designs: Iterable[Design] | None = None, figures: Iterable[Figure] | None = None
) -> tuple[Row, ...]:
    """Return a row for each figure, in the order of the figures; the shipped ones if not given.

    Raises
    ------
    InputError
        If a figure is of a design, run or quantity that is not there.
    """
    known = {design.name: design for design in (load_designs() if designs is None else designs)}
    figures = load_figures() if figures is None else tuple(figures)
    needed = dict.fromkeys(figure.design for figure in figures)
    for name in needed:
        if name not in known:
            raise InputError(f"a figure's design must be one of {', '.join(known)}, not {name!r}")
    predictions = {name: predict(known[name]) for name in needed}
    rows = []
    for figure in figures:
        found = predictions[figure.design]
        key = (figure.run, figure.quantity)
        if key not in found:
            legal = ", ".join(f"{run} {quantity}" for run, quantity in found)
            raise InputError(
                f"a figure of {figure.design} must be of {legal}, not {' '.join(key)}"
            )
        rows.append(Row(design=known[figure.design], figure=figure, predicted=found[key]))
    return tuple(rows)


def summary(rows: Iterable[Row], *, rates: bool | None = None) -> Summary:
    """Return the medians of speed (`rates`), of power and energy (not `rates`), or of all (None).

    Raises
    ------
    InputError
        If there is no such row.
    """
    chosen = [row for row in rows if rates in (None, row.figure.quantity in RATES)]
    if not chosen:
        raise InputError("a summary needs at least one row of its kind, not none")
    families: dict[str, list[float]] = {}
    for row in chosen:
        families.setdefault(row.design.family, []).append(abs(row.error))
    return Summary(
        figures=len(chosen),
        families=len(families),
        misses=sum(row.missed for row in chosen),
        inside=sum(row.inside for row in chosen),
        median_error=median(abs(row.error) for row in chosen),
        median_family_error=median(median(errors) for errors in families.values()),
    )
