"""Capacity and load points."""

import math

import numpy as np
import pytest

from sim.errors import InputError
from sim.serving.arrivals import Workload
from sim.serving.fleet import Fleet
from sim.serving.lengths import Lengths
from sim.serving.requests import PS
from sim.serving.scheduler import Scheduler
from sim.serving.steps import pass_ps
from sim.serving.study import _astray, _ci95, capacity, check_loads, measured_capacity, point
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


@pytest.mark.parametrize(("rate", "said"), [(8.9, True), (9.0, False), (11.0, False), (11.1, True)])
def test_a_rate_more_than_a_tenth_off_the_one_asked_for_is_said(rate, said):
    assert _astray(rate, 10.0) == [
        f"{rate:.3g} requests a second arrived in the measured time, not the 10 asked for: "
        "take more requests"
    ] * said


def astray(fleet, source):
    notes = point(fleet, source, 20.0, requests=1000)["notes"]
    return [note for note in notes if "asked for" in note]


def test_bursts_that_came_at_another_rate_are_said():
    """A thousand gaps that deviate by a hundred times their mean are a few bursts, or none."""
    lengths = {"prompt": Lengths.parse("4"), "output": Lengths.parse("2")}
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=3, token_budget=6))
    assert not astray(fleet, Workload(process="gamma", cv=1.0, **lengths))
    assert len(astray(fleet, Workload(process="gamma", cv=100.0, **lengths))) == 1


def test_rejected_requests_came_as_well():
    """Half of them are longer than the model has positions."""
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=3, token_budget=6))

    class Half:
        def requests(self, rate, span_s, seed):
            drawn = SOURCE.requests(rate, span_s, seed)
            drawn.prompt[::2] = 1000
            return drawn

    found = point(fleet, Half(), 20.0, requests=1000)
    assert found["rate"] < 0.6 * 20.0
    assert not [note for note in found["notes"] if "asked for" in note]


def test_an_interval_of_a_capacity_by_hand():
    """Stretches of two completions that take 2, 4, 2, 4 ... ps: 3 in the mean, by 1.026 (n - 1)."""
    done = np.cumsum([0] + [1, 1, 2, 2] * 10)
    deviation = math.sqrt(20 * 0.5**2 / 19)  # of the time of one completion, 1 and 2 in turn
    half = 2.093 * deviation / math.sqrt(20)
    assert _ci95(done, 30.0) == pytest.approx(30.0 * half / 1.5, rel=1e-9)
    assert _ci95(np.arange(21), 30.0) == 0.0
    assert _ci95(np.arange(20), 30.0) is None


def test_the_interval_of_a_capacity_is_of_what_differs_between_seeds():
    """Its mean over seeds is their standard deviation times Student's t; seeds 0 to 31."""
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=4, token_budget=8))
    source = Workload(prompt=Lengths(kind="geometric", mean=8, high=40),
                      output=Lengths(kind="geometric", mean=6, high=40))
    found = [measured_capacity(fleet, source, seed) for seed in range(32)]
    rates = np.array([each.rate for each in found])
    assert rates[0] == capacity(fleet, source)
    inside = sum(abs(each.rate - rates.mean()) < each.ci95 for each in found)
    assert inside >= 27  # of 32: with 95 % each, fewer are one case in 217
    expected = 2.093 * rates.std(ddof=1)
    assert np.mean([each.ci95 for each in found]) == pytest.approx(expected, rel=0.3)


def test_capacity_of_equal_requests_has_no_interval_but_a_point():
    fleet = Fleet(machine=machine(), scheduler=Scheduler(max_batch=1, token_budget=8))
    assert measured_capacity(fleet, SOURCE).ci95 == 0.0


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
        ([float("nan")], "not nan"), ([1.1e9], "at most 1e9, not 1100000000.0"),
    ):
        with pytest.raises(InputError, match=message):
            check_loads("loads", values)
    check_loads("rates", [1e9])  # as many as a run may have
    with pytest.raises(InputError, match="rate must be above 0"):
        point(fleet, SOURCE, -1.0, duration_s=1.0)
