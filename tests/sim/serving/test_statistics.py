"""Percentiles and confidence intervals."""

import math

import numpy as np
import pytest

from sim.serving.statistics import BATCHES, gap_percentiles, half_width, spread
from sim.serving.steps import EDGES, gap_bin


def test_percentiles_are_ranks():
    values = np.arange(1, 1001, dtype=float)
    np.random.default_rng(1).shuffle(values)
    found = spread(values, np.arange(1000) % BATCHES)
    assert [found[f"p{p}"] for p in (50, 90, 95, 99)] == [500, 900, 950, 990]
    assert found["mean"] == 500.5
    assert found["p90_ci95"] is not None
    assert found["p99_ci95"] is None  # 50 a batch are too few


def test_half_width_by_hand():
    assert half_width([1.0, 3.0] * 10) == pytest.approx(2.093 * math.sqrt(20 / 19) / math.sqrt(20))
    assert half_width([2.0] * 20) == 0
    assert half_width([1.0] * 19 + [math.nan]) is None


def test_intervals_cover_the_mean():
    """Of 400 means of 20 batches, 95 % lie within their half-width: 380, +- 4 deviations of 4.4."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        found = spread(rng.exponential(size=2000), np.arange(2000) % BATCHES)
        hits += abs(found["mean"] - 1) < found["mean_ci95"]
    assert 362 <= hits <= 398


def test_nothing():
    assert spread(np.zeros(0), np.zeros(0, dtype=int)) == {"count": 0}
    assert gap_percentiles({}) == {"count": 0}


def test_half_of_the_gaps_do_not_exceed_the_median():
    found = gap_percentiles({100: 50, 300: 45, 500: 5})
    edges = [EDGES[bin] / 1e12 for bin in (100, 300, 300, 500)]
    assert [found[f"p{percent}"] for percent in (50, 90, 95, 99)] == edges


def test_gaps():
    rng = np.random.default_rng(3)
    gaps = np.sort((rng.lognormal(20, 1, size=5000)).astype(np.int64))
    histogram = {}
    for gap in gaps.tolist():
        histogram[gap_bin(gap)] = histogram.get(gap_bin(gap), 0) + 1
    found = gap_percentiles(histogram)
    assert found["count"] == 5000
    for percent in (50, 90, 95, 99):
        true = gaps[percent * 50 - 1] / 1e12
        assert true < found[f"p{percent}"] <= true * 1.0101
    assert sorted(set(EDGES)) == EDGES
