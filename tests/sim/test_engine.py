"""Engine timing: a case by hand, and closed form against event by event.

That it equals the RTL is shown in tests/cross.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import PRESETS, ConfigError, EngineConfig
from sim.engine import _stalled, _unstalled, simulate, vector_cycles
from sim.stalls import NO_STALLS, StallPattern

SMALL = EngineConfig(name="small", k_par=2, n_par=2, k_max=8, n_max=8, levels_per_stage=1)


@st.composite
def engines(draw) -> EngineConfig:
    k_par = draw(st.sampled_from([1, 2, 3, 4, 8, 16]))
    n_par = draw(st.sampled_from([1, 2, 4, 6, 8]))
    return EngineConfig(
        name="drawn",
        k_par=k_par,
        n_par=n_par,
        act_par=draw(st.sampled_from([d for d in range(1, k_par + 1) if k_par % d == 0])),
        out_par=draw(st.sampled_from([d for d in range(1, n_par + 1) if n_par % d == 0])),
        k_max=draw(st.integers(16, 60)),
        n_max=60,
        levels_per_stage=draw(st.integers(1, 4)),
    )


def test_one_small_vector_by_hand():
    """K = N = 2 on a 2 x 2 engine with one activation and one result a cycle.

    The command is offered in cycle 0, visible in 1 and taken then; two chunks follow in 2 and 3.
    Six cycles after the last the summary is there: the quantizer takes it in 9 and steps in 10 and
    11. Three cycles after that, in 14, the sequencer takes the vector, and in 15 its only beat.
    One tree register, one for the read, one for the accumulator: the hold register is full in 18.
    It gives a result in 18 and in 19; each is at the port six cycles later.
    """
    timing = simulate(SMALL, [(2, 2)])
    (vector,) = timing.vectors
    assert SMALL.array_latency == 3
    assert (vector.command, vector.quantize) == (1, 9)
    assert (vector.first_beat, vector.last_beat) == (15, 15)
    assert vector.last_result == 19 + 6
    assert timing.cycles == 26
    assert timing.beats == 1
    assert timing.utilisation == 1 / 26


def test_second_vector_by_hand():
    """The same vector again: everything but the array runs ahead.

    Its command is taken in 4, after the first vector's last chunk in 3; its chunks in 5 and 6. The
    quantizer is idle again in 12 = 9 + 2 steps + 1, which is when the summary comes, too. So the
    sequencer could take it in 12 + 2 + 3 = 17; its only beat, the last of its tile, is in 18, but
    waits for the hold register, free from 20 on.
    """
    second = simulate(SMALL, [(2, 2)] * 2).vectors[1]
    assert (second.command, second.quantize) == (4, 12)
    assert (second.first_beat, second.last_beat) == (20, 20)
    assert second.last_result == 20 + 3 + 1 + 6


@settings(derandomize=True, deadline=None, max_examples=300)
@given(engines(), st.data())
def test_closed_form_equals_event_by_event(config, data):
    shapes = data.draw(
        st.lists(
            st.tuples(st.integers(1, config.k_max), st.integers(1, config.n_max)),
            min_size=1,
            max_size=7,
        )
    )
    assert _unstalled(config, shapes) == _stalled(config, shapes, NO_STALLS)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(engines(), st.integers(0, 99), st.floats(0.01, 0.9))
def test_stalls_never_help(config, seed, probability):
    shapes = [(7, 9), (16, 3), (1, 20)]
    stalled = simulate(config, shapes, StallPattern(seed, probability))
    assert stalled.cycles >= simulate(config, shapes).cycles
    assert stalled.beats == sum(config.beats(k, n) for k, n in shapes)


def test_weight_stalls_cost_what_they_last():
    """With the array as the bottleneck, the cycles lost are the cycles in which no weight came."""
    config = PRESETS["kv260"]
    shapes = [(4096, 4096)]
    free = simulate(config, shapes)
    pattern = StallPattern(4, {"weight": 0.25})
    stalled = simulate(config, shapes, pattern)
    first, last = stalled.vectors[0].first_beat, stalled.vectors[0].last_beat
    gate = pattern.gate("weight")
    # The register slice holds two beats ahead, so up to two cycles at either end may differ.
    closed = sum(not gate.is_open(cycle) for cycle in range(first, last))
    assert abs(stalled.cycles - free.cycles - closed) <= 2 * 2


@pytest.mark.parametrize("name", ["kv260", "kv260_a8"])
def test_long_layers_fill_the_array(name):
    """Between the first and the last beat of a 7B-shaped layer no cycle is lost."""
    config = PRESETS[name]
    for k, n in ((4096, 4096), (4096, 11008), (11008, 4096)):
        (vector,) = simulate(config, [(k, n)]).vectors
        assert vector.last_beat - vector.first_beat + 1 == config.beats(k, n)


def test_no_vectors():
    timing = simulate(SMALL, [])
    assert (timing.cycles, timing.beats, timing.utilisation) == (0, 0, 0.0)


def test_layer_that_does_not_fit():
    with pytest.raises(ConfigError, match="K must be from 1 to 8 on preset small, not 9"):
        vector_cycles(SMALL, [(2, 2), (9, 1)])


def test_many_short_vectors_take_a_steady_time():
    """After the pipeline has filled, equal vectors come at equal distances."""
    ends = [v.last_result for v in simulate(PRESETS["tiny"], [(5, 3)] * 40).vectors]
    assert len(set(np.diff(ends[5:]))) == 1
