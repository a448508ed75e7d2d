"""Percentiles and confidence intervals of a measured stretch of a run."""

from __future__ import annotations

import math

import numpy as np

from .steps import EDGES

BATCHES = 20
"""Equal stretches of time that the measured part of a run is divided into."""

STUDENT_95 = 2.093
"""Two-sided 95 % point of Student's t with ``BATCHES - 1`` degrees of freedom."""

PERCENTILES = (50, 90, 95, 99)
"""What is told of a distribution."""

_ENOUGH = 5
"""Values beyond a percentile that a batch needs for a percentile of its own."""


def half_width(values: list[float]) -> float | None:
    """Return the half-width of the 95 % confidence interval of the mean of batches, by batch means.

    Law, Simulation Modeling and Analysis: batches long enough are nearly independent, so
    ``t * s / sqrt(BATCHES)``. None if a batch has no value.
    """
    if len(values) != BATCHES or any(math.isnan(value) for value in values):
        return None
    if min(values) == max(values):
        return 0.0  # no rounding of their mean
    return STUDENT_95 * float(np.std(values, ddof=1)) / math.sqrt(BATCHES)


def spread(values: np.ndarray, batch: np.ndarray) -> dict[str, object]:
    """Return mean and percentiles of values, each with the half-width of its confidence interval.

    Parameters
    ----------
    values
        One for each request, ``[n]``.
    batch
        The batch of each, 0 to ``BATCHES - 1``.

    A percentile is the smallest value that at least so many percent do not exceed. Its half-width
    is None where a batch has too few values to have such a percentile.
    """
    if not len(values):
        return {"count": 0}
    parts = [np.sort(values[batch == index]) for index in range(BATCHES)]
    result: dict[str, object] = {
        "count": len(values),
        "mean": float(values.mean()),
        "mean_ci95": half_width(
            [float(part.mean()) if len(part) >= _ENOUGH else math.nan for part in parts]
        ),
    }
    whole = np.sort(values)
    for percent in PERCENTILES:
        least = _ENOUGH * 100 / (100 - percent)
        result[f"p{percent}"] = _rank(whole, percent)
        result[f"p{percent}_ci95"] = half_width(
            [_rank(part, percent) if len(part) >= least else math.nan for part in parts]
        )
    return result


def _rank(ordered: np.ndarray, percent: int) -> float:
    return float(ordered[max(0, -(-percent * len(ordered) // 100) - 1)])


def gap_percentiles(gaps: dict[int, int]) -> dict[str, object]:
    """Return percentiles of a histogram of gaps between tokens, s: upper edges of their bins.

    They are above the true ones by less than the bins' ratio, 1 %.
    """
    count = sum(gaps.values())
    result: dict[str, object] = {"count": count}
    if not count:
        return result
    ordered = sorted(gaps.items())
    for percent in PERCENTILES:
        need, seen = -(-percent * count // 100), 0
        for index, amount in ordered:
            seen += amount
            if seen >= need:
                result[f"p{percent}"] = EDGES[min(index, len(EDGES) - 1)] / 1e12
                break
    return result
