"""Factors that turn a verdict, against closed forms and by putting them back in."""

import math
from dataclasses import replace

import pytest

from golden.config import named_model
from signacc.compare.comparison import ENERGY, SPEED
from signacc.compare.estimates import our_entry
from signacc.compare.figures import Figure
from signacc.compare.sensitivity import (
    WIDEST,
    Flip,
    flips,
    knobs,
    sensitivity,
    turning_factor,
)
from sim.interval import Interval
from sim.system import estimate, named_system

from .conftest import MODEL


@pytest.mark.parametrize(
    ("gain", "factor"),
    [
        (lambda f: 4 * f, 1 / 4),
        (lambda f: f / 7, 7),
        (lambda f: 3 / f, 3),
        (lambda f: 2.0, None),
        (lambda f: min(0.9, f), None),
        (lambda f: 1.5 - abs(math.log(f / 1.2)), 1.2 * math.exp(-0.5)),  # of two
    ],
)
def test_bisection_finds_the_nearest_root(gain, factor):
    assert turning_factor(gain) == (factor if factor is None else pytest.approx(factor, rel=2e-3))


def test_a_baseline_s_own_figure_turns_the_verdict_at_the_gain(result):
    """Speed: the baseline must get slower by just the gain; energy: the other way round."""
    for aspect in (SPEED, ENERGY):
        verdict = result.verdict(aspect, "kv260", 1, 128)
        best = result.best(aspect, 1, 128)
        found = flips(result.model, named_system("kv260"), aspect, best)
        (own,) = [flip for flip in found if flip.side == "baseline"] or [None]
        expected = verdict.gain.nominal if aspect == SPEED else 1 / verdict.gain.nominal
        if 1 / 100 < expected < 100:
            assert own.factor == pytest.approx(expected, rel=2e-3)
        else:
            assert own is None


def test_each_factor_turns_the_verdict_and_a_little_less_does_not(result):
    """At batch 4 the gpu needs 0.05 J: set it to twice ours, so that ours wins by 2."""
    system, model = named_system("kv260"), named_model(MODEL)

    def joules(changed):
        return estimate(model, changed, context=128).energy_per_token_j.nominal

    mine = joules(system)
    best = result.best(ENERGY, 1, 128)
    figure = best.joule_per_token
    best = replace(best, joule_per_token=replace(figure, value=figure.value * (2 * mine / 1e-6)))
    found = [flip for flip in flips(model, system, ENERGY, best) if flip.side == "ours"]
    assert {flip.constant for flip in found} >= {"static power", "DRAM energy per bit"}
    by_name = {knob.name: knob for knob in knobs(ENERGY, system)}
    for flip in found:
        apply, log = by_name[flip.constant].apply, math.log(flip.factor)
        assert joules(apply(system, math.exp(log * 1.01))) > 2 * mine
        assert joules(apply(system, math.exp(log * 0.97))) < 2 * mine


def test_every_knob_moves_its_figure():
    system = named_system("kv260")
    for knob in knobs(ENERGY, system):
        assert knob.low <= 1 <= knob.high
        assert knob.apply(system, 3.0) != system
        assert knob.apply(system, 1.0) == system


@pytest.mark.parametrize(
    ("factor", "lanes"),
    [(1 / WIDEST, 1), (0.05, 1), (0.17, 1), (0.2, 2), (1.0, 8), (1.2, 10), (WIDEST, 800)],
)
def test_a_machine_of_few_vector_lanes_keeps_one(factor, lanes):
    """Of 8 lanes a hundredth is none, which is no machine: the nearest whole number, or 1."""
    system = named_system("ulx3s")
    assert system.vector_lanes == 8
    (knob,) = [knob for knob in knobs(SPEED, system) if knob.name == "vector lanes"]
    assert knob.apply(system, factor).vector_lanes == lanes


def test_what_neither_memory_nor_clock_turns_alone_both_turn_together():
    """A machine whose engine takes what its memory gives, slower than the baseline by 1.4."""
    model, system = named_model("fbi-7b"), named_system("asic7")
    mine = our_entry(model, system, batch=1, context=128)
    speed = mine.tokens_per_second.value.nominal * 1.4
    other = replace(mine, tokens_per_second=Figure(Interval.exactly(speed), "measured"))
    found = {flip.constant: flip.factor for flip in flips(model, system, SPEED, other)}
    assert found["DRAM bandwidth and clock"] == pytest.approx(1.4, rel=0.01)
    assert not {"DRAM bandwidth", "clock", "vector lanes"} & found.keys()


def test_at_most_three_a_verdict_and_both_sides_are_heard(result):
    found = sensitivity(result)
    for aspect in (SPEED, ENERGY):
        mine = [flip for flip in found if flip.aspect == aspect]
        assert len(mine) <= 3
        logs = [abs(math.log(flip.factor)) for flip in mine]
        assert logs == sorted(logs)
    assert "baseline" in {flip.side for flip in found}


@pytest.mark.parametrize(
    ("factor", "low", "high", "inside"),
    [(1.5, 0.5, 2, True), (2.5, 0.5, 2, False), (2.5, 1, 1, None), (0.5, 0.5, 2, True),
     (2, 0.5, 2, True), (0.4, 0.5, 2, False)],
)
def test_whether_the_range_reaches_the_factor(factor, low, high, inside):
    flip = Flip(SPEED, "a", "b", 1, 1, "c", "ours", factor, low, high)
    assert flip.inside is inside


@pytest.mark.parametrize("root", [1.1, 1.3, 1.7, 2.3, 3.1, 5.9, 11.0, 47.0])
def test_the_verdict_is_another_at_the_factor(root):
    """Not just before it: people put it back in."""
    for gain in (lambda f: f / root, lambda f: root / f, lambda f: f * root):
        assert (gain(turning_factor(gain)) > 1) != (gain(1.0) > 1)


def test_the_nearest_factor_stands_first_up_or_down():
    """At a gain of 2 the baseline's own figure must halve; static power must more than double."""
    system, model = named_system("kv260"), named_model(MODEL)
    ours = our_entry(model, system, batch=1, context=128)
    double = Figure(ours.joule_per_token.value * 2, "measured")
    baseline = replace(ours, machine="gpu", ours=False, joule_per_token=double)
    found = flips(model, system, ENERGY, baseline)
    (own,) = [flip.factor for flip in found if flip.side == "baseline"]
    assert own == pytest.approx(1 / 2, rel=2e-3)
    factors = [flip.factor for flip in found]
    assert min(factors) < 1 < max(factors)
    assert factors != sorted(factors)  # else nothing is shown
    distances = [abs(math.log(factor)) for factor in factors]
    assert distances == sorted(distances)


def test_constants_that_move_together_have_the_widest_range_of_them():
    technology = named_system("kv260").technology
    values = [technology.fp16_mul.value, technology.fp16_add.value]
    low = [value.low / value.nominal for value in values]
    high = [value.high / value.nominal for value in values]
    assert low[0] != low[1]
    assert high[0] != high[1]  # else nothing is shown
    by_name = {knob.name: knob for knob in knobs(ENERGY, named_system("kv260"))}
    knob = by_name["energy of 16-bit float operations"]
    assert (knob.low, knob.high) == (min(low), max(high))
