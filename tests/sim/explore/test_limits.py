"""Constraints and objectives as text."""

import pytest

from sim.errors import InputError
from sim.explore import Limit, parse_limits, parse_objectives


def test_limits_are_read():
    assert parse_limits("lut<=1e5, tokens_per_second_low ≥ 5") == (
        Limit("lut", True, 1e5), Limit("tokens_per_second_low", False, 5.0),
    )
    assert parse_limits(" ") == ()


@pytest.mark.parametrize(
    ("limit", "figures", "holds"),
    [
        ("watts<=5", {"watts": 5.0}, True),
        ("watts<=5", {"watts": 5.1}, False),
        ("lanes>=5", {"lanes": 5}, True),
        ("lanes>=5", {"lanes": 4}, False),
        ("lut<=5", {"lut": None}, False),
        ("lut>=0", {}, False),
    ],
)
def test_a_limit_holds_with_equality_and_not_without_a_figure(limit, figures, holds):
    assert parse_limits(limit)[0].holds(figures) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lut<100", "NAME<=NUMBER"),
        ("lut<=", "NAME<=NUMBER"),
        ("luts<=5", "not 'luts'"),
        ("lut_low<=5", "not 'lut_low'"),
        ("lut<=five", "finite number, not 'five'"),
        ("lut<=nan", "finite number, not 'nan'"),
        ("lut<=5,,watts<=3", "NAME<=NUMBER"),
    ],
)
def test_bad_limits_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_limits(text)


@pytest.mark.parametrize(
    ("text", "message"), [("", "not ''"), ("speed", "'speed'"), ("watts,watts", "named once")]
)
def test_bad_objectives_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_objectives(text)
