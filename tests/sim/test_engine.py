"""Engine timing: cases by hand, and the short way against event by event.

That it equals the RTL is shown in tests/cross.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import PRESETS, ConfigError, EngineConfig
from sim.engine import simulate, vector_cycles
from sim.stalls import StallPattern

from ..structures import structures

SMALL = EngineConfig(name="small", k_par=2, n_par=2, k_max=8, n_max=8, levels_per_stage=1)
TABLES = replace(SMALL, structure="tables", group=2)


@st.composite
def engines(draw) -> EngineConfig:
    kind = draw(structures())
    k_par = kind["group"] * draw(st.sampled_from([1, 2, 3, 4]))
    n_par = draw(st.sampled_from([1, 2, 4, 6, 8]))
    return EngineConfig(
        name="drawn",
        k_par=k_par,
        n_par=n_par,
        m_par=draw(st.integers(1, 4)),
        **kind,
        act_par=draw(st.sampled_from([d for d in range(1, k_par + 1) if k_par % d == 0])),
        out_par=draw(st.sampled_from([d for d in range(1, n_par + 1) if n_par % d == 0])),
        k_max=draw(st.integers(24, 60)),
        n_max=draw(st.integers(20, 60)),
        levels_per_stage=draw(st.integers(1, 4)),
    )


def commands(config, data, most: int) -> list[tuple[int, int, int]]:
    """Draw a sequence of one to `most` commands."""
    shape = st.tuples(
        st.integers(1, config.k_max), st.integers(1, config.n_max), st.integers(1, config.m_par)
    )
    return data.draw(st.lists(shape, min_size=1, max_size=most))


# ---- by hand ----------------------------------------------------------------------------------


def test_one_small_vector_by_hand():
    """K = N = 2 on a 2 x 2 engine with one activation and one result a cycle.

    The command is offered in cycle 0, visible in 1 and taken then; two chunks follow in 2 and 3.
    FRONT_END_LATENCY, 7 cycles after the last, the quantizer takes the vector in 10 and steps in
    11 and 12. QUANTIZE_LATENCY, 7 cycles after that, in 19, the sequencer takes it, and in 20 its
    only beat. Its sums wait for the window: the reducer takes the vector in 10, too, and reads 11
    places below the product's unit and 100 from it on, and adds eight bins of one lane in two
    cycles each: 129 with two more. So the window is there from 140 on, and the drain lets a sum in
    in 140 and in 141; each is at the port 13 cycles later: two of reading, CONVERT_LATENCY of 11.
    """
    timing = simulate(SMALL, [(2, 2)])
    (vector,) = timing.vectors
    assert SMALL.reduce_cycles == 129
    assert (vector.k, vector.n, vector.m) == (2, 2, 1)
    assert (vector.command, vector.quantize) == (1, 10)
    assert (vector.first_beat, vector.last_beat) == (20, 20)
    assert vector.last_result == 141 + 13
    assert timing.cycles == 155
    assert timing.beats == 1
    assert timing.utilisation == 1 / 155


def test_more_vectors_by_hand():
    """The same vector again and again: the reducer is what takes longest.

    The second command is taken in 4, after the first vector's last chunk in 3; its chunks in 5 and
    6. The quantizer is idle again in 13 = 10 + 2 steps + 1, which is when the summary comes, too.
    So the sequencer could take it in 13 + 2 + 7 = 22; its only beat, the last of its tile, could
    be in 23, but waits for the hold register: the first vector's last sum left it in 141. The
    reducer takes the second vector in 140: its window is there from 270 on.

    The third command finds both banks of bins in use until the first window comes in 139, so it
    comes in 140; its chunks in 141 and 142, the quantizer in 149. The beat waits for the hold
    register until 271. The reducer takes the vector in 270.
    """
    _, second, third = simulate(SMALL, [(2, 2)] * 3).vectors
    assert (second.command, second.quantize) == (4, 13)
    assert (second.first_beat, second.last_beat) == (142, 142)
    assert second.last_result == 270 + 1 + 13
    assert (third.command, third.quantize) == (140, 149)
    assert (third.first_beat, third.last_beat) == (272, 272)
    assert third.last_result == 270 + 130 + 1 + 13


def test_two_vectors_of_one_command_by_hand():
    """As above, but one command: its second vector begins in 4 without being asked for.

    The quantizer takes the vectors in 10 and 13, and the sequencer both in 15 + 7 = 22. One beat in
    23. The second window is there from 270 on; then four sums.
    """
    timing = simulate(replace(SMALL, m_par=2), [(2, 2, 2)])
    (vector,) = timing.vectors
    assert vector.m == 2
    assert (vector.command, vector.quantize) == (1, 13)
    assert (vector.first_beat, vector.last_beat) == (23, 23)
    assert vector.last_result == 270 + 3 + 13
    assert timing.beats == 1


def test_a_longer_vector_by_hand():
    """K = 400: the window is there long before the sums.

    Chunks in 2 to 401, the quantizer from 408 with steps up to 808, the sequencer in 815, beats in
    816 to 1015. Two cycles of memory, the cluster's copy, one tree register and the hold register:
    the tile is ready in 1020, its second sum enters in 1021. Shared sums take one register more;
    the tree has one operand, and one register all the same.
    """
    config = replace(SMALL, k_max=400)
    (vector,) = simulate(config, [(400, 2)]).vectors
    assert (vector.first_beat, vector.last_beat) == (816, 1015)
    assert vector.last_result == 1021 + 13
    (vector,) = simulate(replace(config, structure="shared", group=2), [(400, 2)]).vectors
    assert (vector.first_beat, vector.last_result) == (816, 1021 + 1 + 13)


def test_longer_tables_by_hand():
    """As above, with tables of two entries.

    The maker takes the vector in 815 and computes entries in 816 and 817; two cycles of memory and
    one of adding: a beat may be in 820, and the next ones for the same sums 5 cycles apart. The
    last in 820 + 199 * 5 = 1815. Registers for weights, copy, look-up, two for the tree (the least
    with tables) and one for the sum, one cycle in the queue: ready in 1822. From the drain letting
    a sum in to its result it is a cycle more than above: a register behind the memory of sums.
    """
    (vector,) = simulate(replace(TABLES, k_max=400), [(400, 2)]).vectors
    assert (vector.first_beat, vector.last_beat) == (820, 1815)
    assert vector.last_result == 1823 + 14


def test_tables_by_hand():
    """One word, one tile: up to the quantizer as above.

    The table maker takes the vector in 19 and computes the two entries in 20 and 21. Two cycles of
    memory and one of adding: a beat may be in 24. The window is there from 140 on.
    """
    (vector,) = simulate(TABLES, [(2, 2)]).vectors
    assert vector.quantize == 10
    assert (vector.first_beat, vector.last_beat) == (24, 24)
    assert vector.last_result == 141 + 14


def test_tables_that_wait_for_partial_sums_by_hand():
    """Two words, one tile.

    Four chunks in 2 to 5, the quantizer from 12 with steps in 13 to 16, the table maker in 23.
    Entries of the first word in 24 and 25, of the second in 26 and 27. The first beat in
    25 + 3 = 28. Tables would allow the second in 30, but the partial sum is there
    PARTIAL_SUM_DISTANCE = 5 cycles after the first beat, in 33. The window from 12 + 130 on.
    """
    (vector,) = simulate(TABLES, [(4, 2)]).vectors
    assert (vector.first_beat, vector.last_beat) == (28, 33)
    assert vector.last_result == 142 + 1 + 14


def test_tables_with_two_tiles_by_hand():
    """The tiles of the second word follow each other; each is 5 cycles after its first beat.

    The beats of the first word in 28 and 29, of the second in 33 and 34. Three sums from 142 on.
    """
    (vector,) = simulate(TABLES, [(4, 3)]).vectors
    assert (vector.first_beat, vector.last_beat) == (28, 34)
    assert vector.last_result == 144 + 14


def test_more_vectors_on_tables_by_hand():
    """The same vector twice.

    The quantizer is through with the second in 13 + 2 + 7 = 22, which is when the table maker is
    free: entries in 23 and 24, in the other bank, so a beat may be in 27; a new layer waits for no
    partial sums. Its window is there from 270 on.

    If the queue has room for one tile only, the beat waits until the first tile's last sum entered
    the drain, in 141.
    """
    _, second = simulate(TABLES, [(2, 2)] * 2).vectors
    assert (second.quantize, second.first_beat) == (13, 27)
    assert second.last_result == 270 + 1 + 14
    _, second = simulate(replace(TABLES, n_max=2), [(2, 2)] * 2).vectors
    assert (second.quantize, second.first_beat) == (13, 142)
    assert second.last_result == 270 + 1 + 14


def test_long_tables_by_hand():
    """Eight entries for four inputs, three words, one tile: the array waits for its tables.

    Chunks of four in 2 to 4, two levels more in the front end: the quantizer from 4 + 9 = 13 with
    steps in 14 to 16, the table maker in 23. Entries in 24 to 31, 32 to 39 and 40 to 47; each table
    is ready after two cycles of memory and two of adding, 4 cycles after its last entry. Bins of
    four lanes take 3 cycles more each: the window from 13 + 129 + 24 + 1 on.
    """
    config = replace(TABLES, k_par=4, group=4, act_par=4, k_max=12)
    (vector,) = simulate(config, [(12, 2)]).vectors
    assert vector.quantize == 13
    assert (vector.first_beat, vector.last_beat) == (35, 51)
    assert vector.last_result == 167 + 1 + 14


# ---- any engine -------------------------------------------------------------------------------


UNLIKELY = StallPattern(1, 1e-15)
"""Every port may stall, but none does."""
LONG = 50_000
"""Cycles that no test here exceeds."""


def test_the_unlikely_does_not_happen():
    assert not UNLIKELY.never
    for port in ("cmd", "act", "coef", "weight", "result"):
        gate = UNLIKELY.gate(port)
        assert all(gate.is_open(cycle) for cycle in range(LONG))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(engines(), st.data())
def test_stalls_that_never_come_change_nothing(config, data):
    """Ports that cannot stall are skipped in whole stretches; others are followed item by item."""
    shapes = commands(config, data, 6)
    free = simulate(config, shapes)
    assert free.cycles < LONG
    assert simulate(config, shapes, UNLIKELY) == free


@settings(derandomize=True, deadline=None, max_examples=60)
@given(engines(), st.integers(0, 99), st.floats(0.01, 0.9), st.data())
def test_stalls_never_help(config, seed, probability, data):
    shapes = commands(config, data, 3)
    free, stalled = simulate(config, shapes), simulate(
        config, shapes, StallPattern(seed, probability)
    )
    assert stalled.cycles >= free.cycles
    for one, other in zip(free.vectors, stalled.vectors, strict=True):
        for event in ("command", "quantize", "first_beat", "last_beat", "last_result"):
            assert getattr(other, event) >= getattr(one, event)
    assert stalled.beats == free.beats == sum(config.beats(k, n) for k, n, _ in shapes)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(engines(), st.data())
def test_what_comes_later_changes_nothing_before(config, data):
    shapes = commands(config, data, 5)
    timing = simulate(config, shapes)
    for count in range(len(shapes) + 1):
        assert simulate(config, shapes[:count]).vectors == timing.vectors[:count]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(engines(), st.data())
def test_a_larger_layer_never_takes_less(config, data):
    ((k, n, m),) = commands(config, data, 1)
    cycles = vector_cycles(config, [(k, n, m)])
    for larger in ((k + 1, n, m), (k, n + 1, m), (k, n, m + 1)):
        if larger[0] <= config.k_max and larger[1] <= config.n_max and larger[2] <= config.m_par:
            assert vector_cycles(config, [larger]) >= cycles


def test_one_vector_needs_not_be_said():
    assert simulate(TABLES, [(5, 7), (8, 8, 1)]) == simulate(TABLES, [(5, 7, 1), (8, 8)])


def test_vectors_share_beats():
    """Four vectors of one command cost the beats of one, four commands four times as many."""
    config = replace(PRESETS["tiny"], m_par=4)
    together, apart = simulate(config, [(256, 256, 4)]), simulate(config, [(256, 256)] * 4)
    assert 4 * together.beats == apart.beats == 4 * 32 * 64
    assert together.cycles < apart.cycles


@pytest.mark.parametrize(("tiles", "step"), [(40, 40), (8, 32), (1, 32)])
def test_tables_are_made_while_others_are_used(tiles, step):
    """The larger of 32 entries and the number of tiles is what a word takes, and no cycle more."""
    config = EngineConfig(
        name="test", k_par=12, n_par=2, structure="tables", group=6, k_max=240, n_max=80,
        act_par=12, out_par=2,
    )  # fmt: skip
    (vector,) = simulate(config, [(240, 2 * tiles)]).vectors
    assert vector.last_beat - vector.first_beat == 19 * step + tiles - 1


@pytest.mark.parametrize(
    ("structure", "group"), [("direct", 1), ("triple", 1), ("shared", 2), ("tables", 4)]
)
def test_weight_stalls_cost_what_they_last(structure, group):
    """With the array as the bottleneck, the cycles lost are the cycles in which no weight came."""
    config = EngineConfig(
        name="test", k_par=32, n_par=32, structure=structure, group=group, k_max=4096, n_max=4096,
        act_par=4, out_par=4,
    )  # fmt: skip
    shapes = [(4096, 4096)]
    (free,) = simulate(config, shapes).vectors
    pattern = StallPattern(4, {"weight": 0.25})
    (stalled,) = simulate(config, shapes, pattern).vectors
    gate = pattern.gate("weight")
    closed = sum(not gate.is_open(c) for c in range(stalled.first_beat, stalled.last_beat))
    # The port's register holds a beat ahead, so up to two cycles at either end may differ.
    assert closed > 4000
    assert abs(stalled.last_beat - free.last_beat - closed) <= 2 * 2


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
    with pytest.raises(ConfigError, match="K must be from 1 to 8 on engine small, not 9"):
        vector_cycles(SMALL, [(2, 2), (9, 1)])
    with pytest.raises(ConfigError, match="M must be from 1 to 1 on engine small, not 2"):
        vector_cycles(SMALL, [(2, 2, 2)])


def test_many_short_vectors_take_a_steady_time():
    """After the pipeline has filled, equal vectors come at equal distances."""
    ends = [v.last_result for v in simulate(PRESETS["tiny"], [(5, 3)] * 40).vectors]
    assert len(set(np.diff(ends[5:]))) == 1


def test_weights_of_its_own_never_stall():
    config = EngineConfig(
        name="test", k_par=4, n_par=4, k_max=64, n_max=64, weights="memory", weight_words=256
    )
    shapes = [(64, 64), (5, 9)]
    stalled = simulate(config, shapes, StallPattern(1, {"weight": 0.9}))
    assert stalled == simulate(config, shapes)
    streamed = replace(config, weights="stream", weight_words=0)
    assert simulate(streamed, shapes) == simulate(config, shapes)
