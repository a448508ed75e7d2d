"""Energy and cost, by hand."""

import numpy as np
import pytest

from sim.errors import InputError
from sim.interval import Interval
from sim.serving.cost import Prices, dynamic_energy_j
from sim.serving.fleet import Fleet, serve
from sim.serving.scheduler import Scheduler

from .machines import machine, random_requests
from .reference import reference


def test_energy_is_that_of_every_pass():
    requests = random_requests(np.random.default_rng(1), 40, 1.0)
    scheduler = Scheduler(max_batch=3, token_budget=6)
    fleet = Fleet(machine=machine(), scheduler=scheduler)
    (tally,) = serve(fleet, requests).tallies
    _, _, iterations, _ = reference(machine(), scheduler, fleet.cache.blocks, requests)
    passes = [machine().pass_energy(work) for _, _, work, _ in iterations]
    found = dynamic_energy_j(machine(), tally)
    for case, bound in enumerate(("low", "nominal", "high")):
        assert getattr(found, bound) == pytest.approx(sum(p[case] for p in passes), rel=1e-9)


def test_usd():
    prices = Prices(accelerator_usd=2 * 365.25 * 24, years=2, usd_per_kwh=0.5)
    usd = prices.usd(3, 7200.0, Interval(3.6e6, 7.2e6, 3.6e7))
    assert usd.to_dict() == pytest.approx({"low": 6.5, "nominal": 7.0, "high": 11.0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"accelerator_usd": -1}, "accelerator_usd must be from 0 to 1e.12, not -1"),
        ({"accelerator_usd": float("nan")}, "not nan"),
        ({"accelerator_usd": 1, "years": 0}, "years must be above 0 and at most 1e.12, not 0"),
        ({"accelerator_usd": 1, "usd_per_kwh": -0.1}, "usd_per_kwh must be .* not -0.1"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(InputError, match=message):
        Prices(**values)
