"""The rules of single numbers, and their wording."""

import pytest

from sim.checks import check_integer, check_number, is_integer, is_number, shown
from sim.errors import InputError


@pytest.mark.parametrize("value", [True, None, "1", [], 1 + 0j, float("nan"), float("inf")])
def test_neither_number_nor_integer(value):
    assert not is_number(value)
    assert not is_integer(value)
    with pytest.raises(InputError, match="x must be an integer of at least 0, not "):
        check_integer("x", value, 0)
    with pytest.raises(InputError, match="x must be a finite number of at least 0, not "):
        check_number("x", value)


def test_an_integer_beyond_every_float_is_no_number():
    assert is_integer(10**400)
    assert not is_number(10**400)
    assert is_number(10**300)
    with pytest.raises(InputError, match=r"x must be a finite .* not 10{59}\.\.\. \(401 char"):
        check_number("x", 10**400)


def test_limits():
    check_integer("x", 3, 3)
    check_integer("x", 3, 0, 3)
    check_number("x", 0)
    check_number("x", 1e-300, above_zero=True)
    with pytest.raises(InputError, match="x must be an integer of at least 3, not 2"):
        check_integer("x", 2, 3)
    with pytest.raises(InputError, match="x must be an integer from 0 to 3, not 4"):
        check_integer("x", 4, 0, 3)
    with pytest.raises(InputError, match=r"an integer from 0 to 3, not 2\.0"):
        check_integer("x", 2.0, 0, 3)
    with pytest.raises(InputError, match="x must be a finite number above 0, not 0"):
        check_number("x", 0, above_zero=True)
    with pytest.raises(InputError, match="of at least 0, not -1"):
        check_number("x", -1)


def test_long_values_are_cut():
    assert shown("a" * 78) == repr("a" * 78)
    assert shown("a" * 79) == "'" + "a" * 59 + "... (81 characters)"
