"""float16 as integers, and error-free sums, held against exact rationals."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import fp16
from golden.reference import fp16_value

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=300)

PATTERNS = np.arange(1 << 16).astype(np.uint16)
FINITE = PATTERNS[np.isfinite(PATTERNS.view(np.float16))]

# Exponents far from the ends of float64, where TwoSum is exact.
floats = st.builds(
    lambda mantissa, exponent: float(np.ldexp(float(mantissa), exponent)),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.integers(-150, 60),
)


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


def test_constants():
    assert np.isnan(np.array(fp16.CANONICAL_NAN, np.uint16).view(np.float16))
    assert Fraction(2) ** fp16.LSB_EXP == fp16_value(1)
