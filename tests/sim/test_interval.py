import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import InputError
from sim.interval import ZERO, Interval, total

bounds = st.floats(0, 1e12, allow_subnormal=False)
scalars = st.floats(0, 1e6, allow_subnormal=False)
intervals = st.lists(bounds, min_size=3, max_size=3).map(lambda b: Interval(*sorted(b)))


def ordered(interval):
    return 0 <= interval.low <= interval.nominal <= interval.high


@given(intervals, intervals)
def test_sum_and_product_keep_the_order_and_go_bound_by_bound(a, b):
    assert ordered(a + b)
    assert ordered(a * b)
    assert (a + b).low == a.low + b.low
    assert (a * b).high == a.high * b.high
    assert a + b == b + a
    assert a * b == b * a


@given(intervals, intervals, st.floats(0, 1), st.floats(0, 1))
def test_sum_and_product_enclose_those_of_any_members(a, b, s, t):
    x = min(a.low + s * (a.high - a.low), a.high)
    y = min(b.low + t * (b.high - b.low), b.high)
    assert (a + b).low <= x + y <= (a + b).high
    assert (a * b).low <= x * y <= (a * b).high


@given(intervals, scalars)
def test_scaling(a, factor):
    assert ordered(a * factor)
    assert a * factor == factor * a
    assert (a * factor).nominal == a.nominal * factor


@given(intervals, bounds)
def test_at_least(a, floor):
    raised = a.at_least(floor)
    assert ordered(raised)
    assert raised.low >= floor
    assert raised.high == max(a.high, floor)


@given(st.lists(st.floats(1e-9, 1e9), min_size=3, max_size=3))
def test_reciprocal_swaps_the_bounds(values):
    a = Interval(*sorted(values))
    assert ordered(a.reciprocal())
    assert a.reciprocal().low == 1 / a.high


@given(st.lists(bounds, min_size=3, max_size=3))
def test_out_of_order_is_refused(values):
    low, nominal, high = values
    if low <= nominal <= high:
        assert ordered(Interval(low, nominal, high))
    else:
        with pytest.raises(InputError, match="must hold low <= nominal <= high, not"):
            Interval(low, nominal, high)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((-1.0, 0.0, 1.0), "low of an interval must be a finite number of at least 0, not -1.0"),
        ((0.0, float("nan"), 1.0), "nominal of an interval must be a finite number"),
        ((0.0, 1.0, float("inf")), "high of an interval must be a finite number"),
        ((0.0, "1", 2.0), "nominal of an interval must be .* not '1'"),
        ((0.0, True, 2.0), "nominal of an interval must be .* not True"),
    ],
)
def test_a_bad_bound_is_named(args, message):
    with pytest.raises(InputError, match=message):
        Interval(*args)


def test_bad_operands():
    one = Interval.exactly(1.0)
    with pytest.raises(InputError, match="multiplied by a finite number of at least 0, not -2"):
        one * -2
    with pytest.raises(TypeError):
        one + 1
    with pytest.raises(TypeError):
        one * "2"
    with pytest.raises(InputError, match="reciprocal needs an interval above 0"):
        Interval(0, 1, 2).reciprocal()


def test_helpers():
    assert Interval.around(4, 0.5, 2) == Interval(2, 4, 8)
    assert total([]) == ZERO
    assert total([Interval(1, 2, 3), Interval(1, 1, 1)]) == Interval(2, 3, 4)
    assert Interval(1, 2, 3).to_dict() == {"low": 1, "nominal": 2, "high": 3}
