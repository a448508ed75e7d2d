"""Layer lists, random layers, and what is taken from the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from golden.errors import InputError
from golden.linear import fbi_linear
from signacc.cosim.capture import parse_layers
from signacc.cosim.job import random_job


@pytest.mark.parametrize(
    ("text", "layers"),
    [("all", [0, 1, 2, 3]), ("0", [0]), ("3,1", [1, 3]), ("1-3", [1, 2, 3]), ("0, 2-3", [0, 2, 3])],
)
def test_layers(text, layers):
    assert parse_layers(text, 4) == layers


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1-2-3", "1.5", "²", "0,,1"])
def test_layers_of_another_form(text):
    with pytest.raises(InputError, match="layers must be 'all' or numbers"):
        parse_layers(text, 4)


@pytest.mark.parametrize("text", ["4", "2-1", "0-4"])
def test_layers_out_of_range(text):
    with pytest.raises(InputError, match="layers must be from 0 to 3"):
        parse_layers(text, 4)


def test_random_job_is_reproducible_and_finite():
    first, second = random_job(2, 30, 9, 5), random_job(2, 30, 9, 5)
    for name in ("signs", "scale_in", "shift_in", "x"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.m, first.k, first.n) == (2, 30, 9)
    y = fbi_linear(first.x, first.signs, first.scale_in, first.shift_in)
    assert np.isfinite(y).all()
    assert not np.array_equal(first.x, random_job(2, 30, 9, 6).x)
