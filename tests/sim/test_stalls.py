"""Stall patterns: reproducible, of the stated density, and refused when they make no sense."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.stalls import NO_STALLS, PORTS, StallPattern


def open_cycles(pattern: StallPattern, port: str, count: int) -> list[bool]:
    gate = pattern.gate(port)
    return [gate.is_open(cycle) for cycle in range(count)]


def test_same_seed_same_pattern_in_any_order_of_asking():
    forward = open_cycles(StallPattern(3, 0.4), "act", 10_000)
    gate = StallPattern(3, 0.4).gate("act")
    assert [gate.is_open(cycle) for cycle in reversed(range(10_000))] == forward[::-1]


def test_seeds_and_ports_differ():
    patterns = [
        open_cycles(StallPattern(seed, 0.5), port, 200) for seed in (1, 2) for port in PORTS
    ]
    assert len({tuple(p) for p in patterns}) == len(patterns)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_density(probability):
    count = 20_000
    closed = open_cycles(StallPattern(7, probability), "weight", count).count(False)
    deviation = (count * probability * (1 - probability)) ** 0.5
    assert abs(closed - count * probability) < 5 * deviation


def test_next_open_is_the_first_open_cycle():
    gate = StallPattern(5, 0.7).gate("result")
    for cycle in range(300):
        found = gate.next_open(cycle)
        assert found >= cycle
        assert gate.is_open(found)
        assert not any(gate.is_open(c) for c in range(cycle, found))


def test_by_port():
    pattern = StallPattern(0, {"weight": 0.5})
    assert not pattern.never
    assert all(open_cycles(pattern, "act", 500))
    assert not all(open_cycles(pattern, "weight", 500))


def test_never():
    assert NO_STALLS.never
    assert StallPattern(9, 0).never
    assert StallPattern(9, {"cmd": 0.0}).never
    assert not StallPattern(9, 0.01).never


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.0), "stall seed must be a non-negative integer, not -1"),
        ((1.5, 0.0), "stall seed must be a non-negative integer, not 1.5"),
        ((0, 1.0), "from 0 to 0.99, not 1.0"),
        ((0, -0.1), "from 0 to 0.99, not -0.1"),
        ((0, float("nan")), "from 0 to 0.99, not nan"),
        ((0, {"weights": 0.1}), "one of cmd, act, coef, weight, result, scale, not 'weights'"),
        ((0, {"act": 2}), "from 0 to 0.99, not 2 for act"),
        ((0, {"act": "x"}), "from 0 to 0.99, not 'x' for act"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        StallPattern(*arguments)
