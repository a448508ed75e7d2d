"""float16 as integers, and the one rounding, held against exact rationals."""

from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golden import fp16
from golden.reference import fp16_value, round_to_fp16

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=300)
UNIT = Fraction(1, 2**48)

PATTERNS = np.arange(1 << 16).astype(np.uint16)
FINITE = PATTERNS[np.isfinite(PATTERNS.view(np.float16))]

# Exponents far from the ends of float64, where TwoSum is exact.
floats = st.builds(
    lambda mantissa, exponent: float(np.ldexp(float(mantissa), exponent)),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.integers(-150, 60),
)


def split(value: Fraction) -> tuple[float, float]:
    """Return a value as (its rounding to float64, the rest); the rest must be a float64."""
    high = float(value)  # Fraction to float rounds to nearest even
    low = float(value - Fraction(high))
    assert Fraction(high) + Fraction(low) == value
    return high, low


def round_odd(value: Fraction) -> float:
    """Return the float64 that rounding to odd makes of a value (far from under- and overflow)."""
    if value == 0:
        return 0.0
    exponent = 0
    magnitude = abs(value)
    while magnitude < 2**52:
        magnitude, exponent = magnitude * 2, exponent - 1
    while magnitude >= 2**53:
        magnitude, exponent = magnitude / 2, exponent + 1
    kept = magnitude.numerator // magnitude.denominator
    if kept != magnitude:
        kept |= 1
    return float(np.ldexp(float(kept), exponent)) * (1 if value > 0 else -1)


def test_decode_is_exact_for_every_finite_pattern():
    mantissa, exponent = fp16.decode(FINITE.view(np.float16))
    assert mantissa.dtype == exponent.dtype == np.int64
    assert np.abs(mantissa).max() == 2047
    assert (exponent.min(), exponent.max()) == (1, 30)
    exact = [int(m) * Fraction(2) ** (int(e) - 25) for m, e in zip(mantissa, exponent, strict=True)]
    assert exact == [fp16_value(bits) for bits in FINITE.tolist()]


def test_decode_of_the_rest_stays_in_range():
    mantissa, exponent = fp16.decode(PATTERNS.view(np.float16))
    assert np.abs(mantissa).max() < 2048
    assert exponent.min() == 1
    assert exponent.max() == 31


@given(a=floats, b=floats)
@REPEATABLE
def test_two_sum_is_exact(a, b):
    s, e = fp16.two_sum(np.array([a]), np.array([b]))
    assert s[0] == a + b
    assert Fraction(float(s[0])) + Fraction(float(e[0])) == Fraction(a) + Fraction(b)


@given(a=floats, b=floats)
@example(a=1.0, b=2.0**-100)
@example(a=1.0, b=-(2.0**-100))
@example(a=-1.0, b=-(2.0**-100))
@example(a=1.0 + 2.0**-52, b=2.0**-100)
@example(a=1.0, b=-1.0)
@REPEATABLE
def test_add_round_odd(a, b):
    result = fp16.add_round_odd(np.array([a]), np.array([b]))
    assert result[0] == round_odd(Fraction(a) + Fraction(b))


def exact_sum(a: Fraction, b: Fraction) -> tuple[int, int]:
    """Return (what round_sum_to_fp16 makes of a + b, what it must make of it) as bit patterns."""
    high, low = split(b)
    assert Fraction(float(a)) == a
    result = fp16.round_sum_to_fp16(np.array([float(a)]), np.array([high]), np.array([low]))
    assert result.dtype == np.float16
    return int(result.view(np.uint16)[0]), round_to_fp16(a + b)


# a = Z * 2**E as an engine makes it: |Z| below 2**39, -48 <= E <= 27; scaled: 11 bits more.
sums = st.builds(
    lambda z, e: z * Fraction(2) ** e, st.integers(-(2**50), 2**50), st.integers(-48, 27)
)


@given(a=sums, b=st.integers(-(2**96), 2**96))
@REPEATABLE
def test_any_sum_is_rounded_once(a, b):
    got, want = exact_sum(a, b * UNIT)
    assert got == want


# b is the rest of a float16 and must stay a sum of products: below 2**48.
small_sums = st.one_of(
    st.builds(
        lambda z, e: z * Fraction(2) ** e, st.integers(-(2**50), 2**50), st.integers(-48, -4)
    ),
    st.builds(lambda z, e: z * Fraction(2) ** e, st.integers(-(2**19), 2**19), st.integers(-4, 27)),
)


@given(
    a=small_sums,
    below=st.integers(0, 0x7BFF),
    sign=st.sampled_from([-1, 1]),
    delta=st.integers(-3, 3),
    reach=st.sampled_from([0, 20, 40]),
)
@example(a=Fraction(0), below=0x7BFF, sign=1, delta=0, reach=0)
@example(a=Fraction(0), below=0x7BFF, sign=1, delta=-1, reach=0)
@example(a=Fraction(0), below=0, sign=-1, delta=1, reach=0)
@settings(REPEATABLE, max_examples=600)
def test_sums_at_and_beside_a_tie(a, below, sign, delta, reach):
    """b is chosen so that a + b is a midpoint of float16, or a few units of 2**-48 beside it."""
    above = fp16_value(below + 1) if below < 0x7BFF else Fraction(65536)
    middle = (fp16_value(below) + above) / 2
    target = sign * middle + delta * 2**reach * UNIT
    b = target - a
    assert (b / UNIT).denominator == 1
    got, want = exact_sum(a, b)
    assert got == want
    if delta == 0:
        assert want & 0x7FFF == below + (below & 1)


@given(a=small_sums, delta=st.integers(-5, 5))
@REPEATABLE
def test_cancellation_leaves_what_is_left(a, delta):
    got, want = exact_sum(a, -a + delta * UNIT)
    assert got == want
    if delta == 0:
        assert got == 0  # +0, whatever the signs were
    else:
        assert got == (0x8000 if delta < 0 else 0)  # |sum| < 2**-25 rounds to a signed zero


def test_negative_zeros_sum_to_plus_zero():
    zero = np.array([-0.0])
    assert fp16.round_sum_to_fp16(zero, np.array([0.0]), np.array([0.0])).view(np.uint16)[0] == 0


def test_it_broadcasts():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    high = np.array([[0.5], [-3.0]])
    result = fp16.round_sum_to_fp16(a, high, np.zeros((2, 1)))
    assert result.tolist() == [[1.5, 2.5], [0.0, 1.0]]


def test_constants():
    assert np.isnan(np.array(fp16.CANONICAL_NAN, np.uint16).view(np.float16))
    assert Fraction(2) ** fp16.LSB_EXP == fp16_value(1)
