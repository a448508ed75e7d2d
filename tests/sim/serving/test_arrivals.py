"""Arrival processes: their rate, their spread, their seed."""

import numpy as np
import pytest

from sim.errors import InputError
from sim.serving.arrivals import Workload
from sim.serving.lengths import Lengths
from sim.serving.requests import PS

LENGTHS = {"prompt": Lengths(kind="geometric", mean=9), "output": Lengths(mean=4)}


@pytest.mark.parametrize(
    ("source", "cv"),
    [
        (Workload(**LENGTHS), 1.0),
        (Workload(process="deterministic", **LENGTHS), 0.0),
        (Workload(process="gamma", cv=3.0, **LENGTHS), 3.0),
        (Workload(process="gamma", cv=0.5, **LENGTHS), 0.5),
    ],
)
def test_rate_and_spread_of_gaps(source, cv):
    drawn = source.requests(200.0, 1000.0, 3)
    gaps = np.diff(drawn.arrival) / PS
    assert len(drawn) == pytest.approx(200_000, rel=0.02)
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=0.06)
    assert drawn.arrival.max() < 1000 * PS


def test_gaps_of_a_poisson_process_are_exponential():
    gaps = np.diff(Workload(**LENGTHS).requests(10.0, 10_000.0, 1).arrival) / PS * 10
    for x in (0.1, 0.5, 1.0, 3.0):
        assert (gaps > x).mean() == pytest.approx(np.exp(-x), abs=0.006)


def test_the_seed_decides():
    one, again, other = (Workload(**LENGTHS).requests(50.0, 10.0, seed) for seed in (1, 1, 2))
    for name in ("arrival", "prompt", "output"):
        assert (getattr(one, name) == getattr(again, name)).all()
    assert len(one) != len(other) or (one.arrival != other.arrival).any()


def test_at_once():
    stock = Workload(**LENGTHS).at_once(30, 1)
    assert len(stock) == 30
    assert not stock.arrival.any()


@pytest.mark.parametrize(
    ("rate", "span", "message"),
    [
        (0, 1.0, "rate must be above 0 .* not 0"),
        (-3.0, 1.0, "not -3.0"),
        (float("nan"), 1.0, "not nan"),
        (1.0, 0.0, "duration must be above 0"),
        (1.0, float("inf"), "duration must be above 0 and at most 1e"),
        (1e6, 1e3, "a run can have 20000000 requests, not 1e"),
    ],
)
def test_refused_runs(rate, span, message):
    with pytest.raises(InputError, match=message):
        Workload(**LENGTHS).requests(rate, span, 0)


def test_refused_processes():
    with pytest.raises(InputError, match="one of poisson, deterministic, gamma, not 'weibull'"):
        Workload(process="weibull", **LENGTHS)
    for cv in (0, 1e-200, 101):
        with pytest.raises(InputError, match=f"cv of arrivals must be from 1e-06 to 100, not {cv}"):
            Workload(process="gamma", cv=cv, **LENGTHS)
