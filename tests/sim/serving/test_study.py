"""Capacity and load points."""

import pytest

from sim.errors import InputError
from sim.serving.arrivals import Workload
from sim.serving.fleet import Fleet
from sim.serving.lengths import Lengths
from sim.serving.requests import PS
from sim.serving.scheduler import Scheduler
from sim.serving.steps import pass_ps
from sim.serving.study import capacity, check_loads, point
from sim.workload import Pass

from .machines import machine

SOURCE = Workload(prompt=Lengths(mean=8), output=Lengths(mean=4))


def test_capacity_of_one_at_a_time_is_the_service_rate():
    alone = Fleet(machine=machine(), scheduler=Scheduler(max_batch=1, token_budget=8))
    work = [Pass.of([(8, 0, 1)]), *(Pass.decode(1, 8 + step) for step in (1, 2, 3))]
    service = sum(pass_ps(machine(), each) for each in work)
    assert capacity(alone, SOURCE) == pytest.approx(PS / service, rel=1e-9)
    five = Fleet(machine=machine(), scheduler=alone.scheduler, accelerators=5)
    assert capacity(five, SOURCE) == pytest.approx(5 * PS / service, rel=1e-9)


def test_a_fleet_serves_what_its_capacity_says():
    """Under overload completions come at the capacity; below it, all that arrive."""
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=4, token_budget=8),
                  accelerators=2)
    source = Workload(prompt=Lengths(kind="geometric", mean=8, high=40),
                      output=Lengths(kind="geometric", mean=6, high=40))
    limit = capacity(fleet, source)
    over = point(fleet, source, 1.3 * limit, requests=6000, limit=limit)
    assert over["completed_per_second"] == pytest.approx(limit, rel=0.02)
    assert over["saturated"]
    under = point(fleet, source, 0.8 * limit, requests=6000, limit=limit)
    assert under["completed_per_second"] == pytest.approx(0.8 * limit, rel=0.04)
    assert under["saturated"] is None
    assert under["utilisation"] < 0.95


def test_rejected_requests_cost_nothing():
    """A source of which two in five cannot be served has a capacity of five thirds in arrivals."""
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=2, token_budget=8))

    class Mixed:
        def at_once(self, count, seed):
            stock = SOURCE.at_once(5 * count // 3, seed)
            stock.prompt[::5] = stock.prompt[1::5] = 1000
            return stock

    assert capacity(fleet, Mixed()) == pytest.approx(capacity(fleet, SOURCE) * 5 / 3, rel=0.01)


def test_the_window_is_what_was_asked_for():
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=4, token_budget=8))
    found = point(fleet, SOURCE, 10.0, requests=200)
    assert (found["measured_s"], found["warm_up_s"]) == (20.0, 5.0)
    assert found["arrivals"] == pytest.approx(200, abs=60)
    found = point(fleet, SOURCE, 10.0, duration_s=4.0, warm_up_s=7.0)
    assert (found["measured_s"], found["warm_up_s"]) == (4.0, 7.0)


def test_refusals():
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=4, token_budget=8))
    long = Workload(prompt=Lengths(mean=5000), output=Lengths(mean=4))
    with pytest.raises(InputError, match=r"no request fits: .* the 512 positions of the model and "
                       r"the [0-9,]+ of the KV cache; the shortest of 1,000 .* takes 5,003$"):
        capacity(fleet, long)
    with pytest.raises(InputError, match=r"a run must take at most 1e\+06 s, not inf s: 1e-310 "):
        point(fleet, SOURCE, 1e-310, requests=100)
    for values, message in (
        ([], "must hold at least one"), ([0.0], "not 0.0"), ([-1], "not -1"),
        ([float("nan")], "not nan"),
    ):
        with pytest.raises(InputError, match=message):
            check_loads("loads", values)
    with pytest.raises(InputError, match="rate must be above 0"):
        point(fleet, SOURCE, -1.0, duration_s=1.0)
