"""What a run is reported as, against the run itself."""

import numpy as np
import pytest

from sim.errors import InputError
from sim.serving.arrivals import Workload
from sim.serving.cost import Prices
from sim.serving.fleet import Fleet, serve
from sim.serving.lengths import Lengths
from sim.serving.measure import Window, _notes, _saturated, measured
from sim.serving.requests import PS, Requests
from sim.serving.scheduler import Scheduler

from .machines import machine
from .reference import reference

SCHEDULER = Scheduler(max_batch=3, token_budget=6)
SOURCE = Workload(prompt=Lengths(kind="geometric", mean=6, high=30),
                  output=Lengths(kind="geometric", mean=5, high=40))


@pytest.fixture(scope="module")
def run():
    fleet = Fleet(machine=machine(), scheduler=SCHEDULER)
    window = Window.of(1.0, 20.0)
    requests = SOURCE.requests(40.0, window.end / PS, 3)
    served = serve(fleet, requests, marks=window.marks)
    prices = Prices(accelerator_usd=500.0, years=2.0, usd_per_kwh=0.2)
    return fleet, window, requests, measured(fleet, served, window, prices)


def test_figures_are_those_of_the_reference(run):
    fleet, window, requests, found = run
    first, finish, iterations, gaps = reference(
        machine(), SCHEDULER, fleet.cache.blocks, requests
    )
    arrival = requests.arrival
    inside = (arrival >= window.begin) & (arrival < window.end)
    whole = (np.array(finish) - arrival)[inside] / PS
    assert found["arrivals"] == inside.sum()
    assert found["end_to_end_s"]["mean"] == pytest.approx(whole.mean())
    assert found["end_to_end_s"]["p99"] == np.sort(whole)[-(-99 * len(whole) // 100) - 1]
    assert found["ttft_s"]["p50"] == np.sort((np.array(first) - arrival)[inside])[
        -(-len(whole) // 2) - 1
    ] / PS
    several = inside & (requests.output > 1)
    each = (np.array(finish) - first)[several] / (requests.output[several] - 1) / PS
    assert found["tpot_s"]["mean"] == pytest.approx(each.mean())
    began = [(a, b, w, n) for a, b, w, n in iterations if window.begin <= a < window.end]
    assert found["output_tokens_per_second"] == pytest.approx(sum(w.outputs for *_, w, _ in began)
                                                               / 20)
    busy = sum(
        max(0, min(b, window.end) - max(a, window.begin)) for a, b, _, _ in iterations
    )
    assert found["utilisation"] == pytest.approx(busy / (20 * PS), rel=1e-12)
    taken = sum(b - a for a, b, _, _ in began)
    assert found["mean_batch"] == pytest.approx(sum((b - a) * n for a, b, _, n in began) / taken)
    left = [window.begin <= time < window.end for time in finish]
    assert found["completed_per_second"] == sum(left) / 20
    assert found["gap_s"]["count"] <= len(gaps)


def test_energy_and_cost(run):
    fleet, window, requests, found = run
    _, _, iterations, _ = reference(machine(), SCHEDULER, fleet.cache.blocks, requests)
    began = [w for a, _, w, _ in iterations if window.begin <= a < window.end]
    energy = sum(machine().pass_energy(w)[1] for w in began) + 20 * machine().system.power_w.nominal
    tokens = sum(w.outputs for w in began)
    assert found["joules_per_token"]["nominal"] == pytest.approx(energy / tokens)
    assert found["tokens_per_joule"]["nominal"] == pytest.approx(tokens / energy)
    assert found["watts"]["nominal"] == pytest.approx(energy / 20)
    usd = 500 * 20 / (2 * 365.25 * 86400) + energy / 3.6e6 * 0.2
    assert found["usd_per_million_tokens"]["nominal"] == pytest.approx(usd / tokens * 1e6)
    for name in ("joules_per_token", "tokens_per_joule", "usd_per_million_tokens", "watts"):
        assert found[name]["low"] <= found[name]["nominal"] <= found[name]["high"]


def test_littles_law_of_the_window(run):
    """The mean number inside is the rate times the mean latency, but for what crosses the ends."""
    _, _, _, found = run
    assert found["saturated"] is None
    assert found["present"]["mean"] == pytest.approx(
        found["rate"] * found["end_to_end_s"]["mean"], rel=0.02
    )


def test_a_window_has_its_begin_and_not_its_end():
    """A request that arrives as it ends is of the next one."""
    fleet, window = Fleet(machine=machine(), scheduler=SCHEDULER), Window.of(1.0, 5.0)
    times = [window.begin - 1, window.begin, window.end - 1, window.end, window.end + 1]
    each = np.ones(len(times), dtype=np.int64)
    requests = Requests(np.array(times), each, each)
    found = measured(fleet, serve(fleet, requests, marks=window.marks), window)
    assert found["arrivals"] == 2
    assert found["rate"] == pytest.approx(2 / 5)
    assert found["end_to_end_s"]["count"] == found["ttft_s"]["count"] == 2


def test_idle_power_counts():
    fleet = Fleet(machine=machine(), scheduler=SCHEDULER, accelerators=3)
    window = Window.of(1.0, 5.0)
    served = serve(fleet, SOURCE.requests(40.0, 0.5, 1), marks=window.marks)
    found = measured(fleet, served, window, Prices(accelerator_usd=1.0))
    assert found["arrivals"] == 0
    assert found["watts"]["nominal"] == pytest.approx(3 * machine().system.power_w.nominal)
    for name in ("joules_per_token", "tokens_per_joule", "usd_per_million_tokens"):
        assert found[name] is None
    assert found["end_to_end_s"] == {"count": 0}


def test_overload_is_said():
    fleet = Fleet(machine=machine(), scheduler=SCHEDULER)
    window = Window.of(1.0, 5.0)
    served = serve(fleet, SOURCE.requests(400.0, 6.0, 1), marks=window.marks)
    found = measured(fleet, served, window)
    assert found["saturated"].startswith("the requests inside grew by")
    assert found["utilisation"] == pytest.approx(1)
    assert any("less than three times" in note for note in found["notes"])
    known = measured(fleet, served, window, load=1.25)
    assert known["saturated"] == "requests arrive at 1.25 times the rate that can be served"
    just = measured(fleet, served, window, load=1.0)["saturated"]
    assert just == "requests arrive at 1 times the rate that can be served"
    assert measured(fleet, served, window, load=0.99)["saturated"] == found["saturated"]


@pytest.mark.parametrize(("end", "said"), [(25, False), (26, True)])
def test_a_run_is_saturated_when_more_than_a_twentieth_of_what_arrived_stays(end, said):
    found = {"present": {"begin": 20, "end": end}, "arrivals": 100}
    assert (_saturated(found, None) is not None) is said


@pytest.mark.parametrize(("begin_s", "said"), [(2.9, True), (3.0, False)])
def test_a_warm_up_of_less_than_three_latencies_is_said(begin_s, said):
    window = Window(round(begin_s * PS), 10 * PS)
    notes = _notes({"end_to_end_s": {"p99": 1.0}}, window)
    assert bool(notes) is said
    assert all("less than three times" in note for note in notes)


def test_windows():
    window = Window.of(0.5, 1.0)
    assert window.marks[0] == PS // 2
    assert window.marks[-1] == window.end == 3 * PS // 2
    assert len(window.marks) == 21
    for warm_up, seconds in ((0.0, 1.0), (1.0, 1e-12)):
        with pytest.raises(InputError, match="must be at least 1e-9 s"):
            Window.of(warm_up, seconds)


def test_what_happens_after_the_window_does_not_count():
    """A fleet that is behind works on for long after the window."""
    fleet = Fleet(machine=machine(), scheduler=SCHEDULER)
    window = Window.of(0.1, 1.0)
    requests = SOURCE.requests(400.0, window.end / PS, 1)
    found = measured(fleet, serve(fleet, requests, marks=window.marks), window)
    _, _, iterations, _ = reference(machine(), SCHEDULER, fleet.cache.blocks, requests)
    inside = [w.outputs for a, _, w, _ in iterations if window.begin <= a < window.end]
    after = [w.outputs for a, _, w, _ in iterations if a >= window.end]
    assert sum(after) > sum(inside) / 2  # else nothing is shown
    assert found["output_tokens_per_second"] == pytest.approx(sum(inside))
    assert found["iterations"] == len(inside)
