import numpy as np
import pytest

from golden.linear import quantize
from hw.config import EngineConfig, named_preset
from signacc.activity.measure import (
    DATA,
    count_events,
    layer_activity,
    on_data,
    summed,
    traced_engine,
)
from signacc.cosim.job import random_job

JOB = random_job(3, 100, 20, seed=5)


@pytest.mark.parametrize("kind", DATA)
def test_data_keeps_the_shape_and_is_repeatable(kind):
    made, again = on_data(JOB, kind, 7), on_data(JOB, kind, 7)
    assert (made.m, made.k, made.n) == (3, 100, 20)
    for name in ("x", "signs", "scale_in", "shift_in"):
        ours, theirs = getattr(made, name), getattr(JOB, name)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert (ours == getattr(again, name)).all()


def test_what_each_kind_replaces():
    assert on_data(JOB, "real", 7) is JOB
    half = on_data(JOB, "random-activations", 7)
    assert (half.signs == JOB.signs).all()
    assert (half.scale_in == JOB.scale_in).all()
    assert (half.x != JOB.x).any()
    both = on_data(JOB, "random", 7)
    assert (both.signs != JOB.signs).any()
    with pytest.raises(ValueError, match=r"data must be one of real, .*, not 'noise'"):
        on_data(JOB, "noise", 7)


@pytest.mark.parametrize("act_bits", [8, 16])
def test_uniform_data_are_fair_coins(act_bits):
    job = on_data(random_job(8, 1000, 8, seed=1), "uniform", 7)
    q = quantize(job.x, job.scale_in, act_bits).q
    share = [(q >> bit & 1).mean() for bit in range(act_bits)]
    assert np.abs(np.array(share) - 0.5).max() < 0.03  # 5 standard deviations of 8,000 coins


def test_events_by_hand():
    # 100 inputs: 13 words of 8, 25 chunks of 4; 20 outputs: 3 tiles of 8, 5 chunks of 4
    config = EngineConfig(
        name="hand", k_par=8, n_par=8, act_bits=8, k_max=128, n_max=64, act_par=4, out_par=4
    )
    assert count_events(config, JOB) == {"beat": 3 * 39, "chunk": 75, "write": 39, "result": 15}


@pytest.mark.rtl
def test_a_traced_engine(request):
    if not request.config.getoption("--full"):
        pytest.skip("a minute of compilation: with --full; tests of a row are in test_row.py")
    config = named_preset("tiny")
    jobs = [on_data(random_job(2, 128, 32, seed), "uniform", seed) for seed in (1, 2)]
    runs = layer_activity(traced_engine(config), config, jobs)
    assert {"adders", "accumulators", "array_registers", "bins", "drain"} <= set(runs[0])
    both = summed(runs)
    for name, part in both.items():
        assert part.events == 2 * runs[0][name].events
        assert part.toggles == sum(run[name].toggles for run in runs)
    # Fair coins in, fair coins in the tree: within the filling of the pipeline and of the sample.
    assert 0.48 < both["adders"].per_bit < 0.53
    # The sign bits of an accumulator change less often.
    assert both["accumulators"].per_bit < both["adders"].per_bit
