"""Against queueing theory: mean waits of single servers, by Pollaczek and Khinchine.

Whether theory lies in a confidence interval is left to chance once in so many runs: the intervals
here are those of 99.9 %, and the seeds are fixed.
"""

import numpy as np
import pytest

from sim.serving.arrivals import Workload
from sim.serving.fleet import Fleet, serve
from sim.serving.lengths import Lengths
from sim.serving.measure import Window
from sim.serving.requests import PS
from sim.serving.scheduler import Scheduler
from sim.serving.statistics import STUDENT_95, spread
from sim.serving.steps import pass_ps
from sim.workload import Pass

from .machines import machine

WIDER = 3.883 / STUDENT_95
"""From 95 % to 99.9 % with 19 degrees of freedom."""
ALONE = Scheduler(max_batch=1, token_budget=64)


def mean_wait(drawn_from, rate, service, *, accelerators=1, router="round-robin", seed=1,
              count=40_000):
    """Return the mean wait of requests, s, and its half-width; `service` in ps, by length."""
    window = Window.of(0.2 * count / rate, count / rate)
    requests = drawn_from.requests(rate, window.end / PS, seed)
    served = serve(
        Fleet(machine=machine(), scheduler=ALONE, accelerators=accelerators, router=router),
        requests, seed=seed,
    )
    each = np.array([service[length] for length in requests.output.tolist()])
    wait = (served.finish - requests.arrival - each) / PS
    assert wait.min() == 0
    inside = requests.arrival >= window.begin
    batch = (requests.arrival[inside] - window.begin) // ((window.end - window.begin) // 20)
    found = spread(wait[inside], np.minimum(batch, 19))
    return found["mean"], found["mean_ci95"] * WIDER


def service_times(prompt, longest):
    """Return the time of a request that is alone, ps, by its output tokens."""
    time, result = pass_ps(machine(), Pass.of([(prompt, 0, 1)])), {}
    for output in range(1, longest + 1):
        result[output] = time
        time += pass_ps(machine(), Pass.decode(1, prompt + output))
    return result


@pytest.mark.parametrize("load", [0.3, 0.7, 0.85])
def test_equal_requests_wait_as_in_m_d_1(load):
    """M/D/1: ``W = rho * D / (2 * (1 - rho))``."""
    service = service_times(8, 4)
    length = service[4] / PS
    source = Workload(prompt=Lengths(mean=8), output=Lengths(mean=4))
    mean, half = mean_wait(source, load / length, service)
    assert half < 0.2 * mean
    assert abs(mean - load * length / (2 * (1 - load))) < half


@pytest.mark.parametrize("load", [0.5, 0.75])
def test_geometric_outputs_wait_as_in_m_g_1(load):
    """M/G/1: ``W = rate * E[S^2] / (2 * (1 - rho))``; geometric outputs are nearly M/M/1."""
    service = service_times(1, 200)
    weights = np.array([0.9 ** (n - 1) * 0.1 for n in range(1, 201)])
    weights[-1] += 0.9**200  # longer ones are cut to 200
    times = np.array(list(service.values())) / PS
    first, second = (weights * times).sum(), (weights * times**2).sum()
    assert second / first**2 == pytest.approx(2, abs=0.15)  # 2 of M/M/1
    source = Workload(prompt=Lengths(mean=1),
                      output=Lengths(kind="geometric", mean=10, high=200))
    rate = load / first
    mean, half = mean_wait(source, rate, service)
    assert half < 0.2 * mean
    assert abs(mean - rate * second / (2 * (1 - load))) < half


def test_random_routing_makes_every_accelerator_a_queue_of_its_own():
    """A Poisson stream split at random is as many Poisson streams: M/D/1 each."""
    service = service_times(8, 4)
    length, load = service[4] / PS, 0.6
    source = Workload(prompt=Lengths(mean=8), output=Lengths(mean=4))
    mean, half = mean_wait(source, 5 * load / length, service, accelerators=5, router="random")
    assert abs(mean - load * length / (2 * (1 - load))) < half


def test_better_routers_wait_less():
    """Least outstanding, then two choices, round robin, random (known for such services)."""
    service = service_times(1, 200)
    source = Workload(prompt=Lengths(mean=1),
                      output=Lengths(kind="geometric", mean=10, high=200))
    waits = [
        mean_wait(source, 10 * 0.8 / (service[10] / PS), service, accelerators=10,
                  router=router, count=15_000)[0]
        for router in ("least-outstanding", "two-choices", "round-robin", "random")
    ]
    assert waits == sorted(waits)
    assert waits[0] < 0.5 * waits[-1]


def test_without_chance_nobody_waits():
    """D/D/1 below its capacity."""
    service = service_times(8, 4)
    source = Workload(process="deterministic", prompt=Lengths(mean=8), output=Lengths(mean=4))
    requests = source.requests(0.99 * PS / service[4], 5.0, 0)
    served = serve(Fleet(machine=machine(), scheduler=ALONE), requests)
    assert set(served.finish - requests.arrival) == {service[4]}
