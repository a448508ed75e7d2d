"""The front against its definition, point by point."""

import random

import pytest

from sim.explore import pareto_front


def dominates(a, b, maximise):
    better = [x > y if up else x < y for x, y, up in zip(a, b, maximise, strict=True)]
    worse = [x < y if up else x > y for x, y, up in zip(a, b, maximise, strict=True)]
    return any(better) and not any(worse)


@pytest.mark.parametrize("seed", range(12))
def test_front_is_what_nothing_dominates(seed):
    rng = random.Random(seed)
    maximise = [rng.random() < 0.5 for _ in range(rng.randint(1, 3))]
    points = [[rng.randint(0, 9) for _ in maximise] for _ in range(80)]
    front = pareto_front(points, maximise)
    expected = {
        i for i, p in enumerate(points) if not any(dominates(q, p, maximise) for q in points)
    }
    assert set(front) == expected
    assert len(front) == len(expected)
    firsts = [points[i][0] for i in front]
    assert firsts == sorted(firsts, reverse=maximise[0])


def test_no_points_no_front():
    assert pareto_front([], [True, False]) == []
