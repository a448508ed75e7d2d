"""Lengths of prompts and outputs."""

import numpy as np
import pytest

from sim.errors import InputError
from sim.serving.lengths import Lengths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", Lengths(mean=512)),
        (" 7 ", Lengths(mean=7)),
        ("geometric:mean=64,high=512", Lengths(kind="geometric", mean=64.0, high=512)),
        ("lognormal:mean=300, cv=1.5, low=4, high=900",
         Lengths(kind="lognormal", mean=300.0, cv=1.5, low=4, high=900)),
        ("fixed:mean=8", Lengths(mean=8.0)),
    ],
)
def test_texts(text, expected):
    assert Lengths.parse(text) == expected


@pytest.mark.parametrize(
    ("lengths", "mean", "deviation"),
    [
        (Lengths(mean=40), 40, 0),
        (Lengths(kind="geometric", mean=40), 40, (40 * 39) ** 0.5),
        (Lengths(kind="lognormal", mean=400, cv=0.5), 400, 200),
        (Lengths(kind="lognormal", mean=400, cv=2.0), 400, 800),
    ],
)
def test_moments(lengths, mean, deviation):
    drawn = lengths.draw(200_000, np.random.default_rng(1))
    assert drawn.dtype == np.int64
    assert drawn.min() >= 1
    assert drawn.mean() == pytest.approx(mean, rel=0.01)
    assert drawn.std() == pytest.approx(deviation, rel=0.05)


def test_limits_are_kept():
    drawn = Lengths(kind="geometric", mean=50, low=20, high=60).draw(1000, np.random.default_rng(2))
    assert (drawn.min(), drawn.max()) == (20, 60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "mean of lengths must be a number from 1 to 1048576, not 0"),
        ("many", "must read like 512, .* not 'many'"),
        ("-5", "must read like 512, .* not '-5'"),
        ("uniform:mean=5", "one of fixed, geometric, lognormal, not 'uniform'"),
        ("geometric:high=5", "need a mean"),
        ("geometric:mean=x", "mean of lengths must be a number, not 'x'"),
        ("geometric:mean=nan", "not nan"),
        ("geometric:mean=5,low=2.5", "low of lengths must be a number, not '2.5'"),
        ("geometric:mean=5,mean=6", "each once .* not 'mean=6'"),
        ("geometric:mean=5,sigma=6", "not 'sigma=6'"),
        ("lognormal:mean=5,cv=-1", "cv of lengths .* not -1"),
        ("geometric:mean=5,low=9,high=8", "low of lengths must be at most high = 8, not 9"),
        ("fixed:mean=5.5", "a fixed length must be an integer, not 5.5"),
        ("geometric:mean=5,low=0", "low of lengths must be an integer from 1"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(InputError, match=message):
        Lengths.parse(text)
