"""The fast FBI-linear: equal to the plain reference to the bit, as near to float as promised."""

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import golden.linear
from golden.errors import InputError
from golden.linear import (
    ACT_FORMATS,
    K_LIMIT,
    PreparedLinear,
    accumulate,
    accumulate_groups,
    check_act_bits,
    check_act_format,
    fbi_linear,
    quantize,
    round_sum,
    shift_integers,
)
from golden.pack import pack_signs, pack_ternary
from golden.reference import (
    bf16_value,
    fbi_linear_vector,
    floor_log2,
    fp16_value,
    round_to_bf16,
    round_to_fp16,
)

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=200)
ALL_A = range(4, 25)
NAN, INF = 0x7E00, 0x7C00
BF16_NAN = 0x7FC0

EXTREMES = (
    0x0000, 0x8000,  # zeros
    0x0001, 0x8001, 0x03FF, 0x83FF,  # smallest and largest subnormal
    0x0400, 0x8400,  # smallest normal
    0x3C00, 0xBC00, 0x3BFF, 0x3C01,  # one and its neighbours
    0x7BFF, 0xFBFF,  # largest finite
)  # fmt: skip
SPECIAL = (0x7C00, 0xFC00, 0x7E00, 0xFE00, 0x7C01, 0xFFFF)

finite = st.one_of(
    st.sampled_from(EXTREMES),
    st.integers(0, 0x7BFF),
    st.integers(0x8000, 0xFBFF),
    st.integers(0x3400, 0x4400),  # of similar size: rounding and saturation
)
anything = st.one_of(finite, finite, finite, st.sampled_from(SPECIAL), st.integers(0, 0xFFFF))


def halves(patterns) -> np.ndarray:
    return np.array(patterns, dtype=np.uint16).view(np.float16)


def bits(values: np.ndarray) -> list:
    return np.ascontiguousarray(values).view(np.uint16).tolist()


def reference(x, signs, scale_in, shift_in, act_bits, scale_out=None) -> list[list[int]]:
    """All arguments as bit patterns and plain signs; the plain model's outputs, row by row."""
    return [
        fbi_linear_vector(row, signs, scale_in, shift_in, act_bits=act_bits, scale_out=scale_out)
        for row in x
    ]


def fast(x, signs, scale_in, shift_in, act_bits, scale_out=None) -> list[list[int]]:
    result = fbi_linear(
        halves(x),
        pack_signs(np.array(signs)),
        halves(scale_in),
        halves(shift_in),
        act_bits=act_bits,
        scale_out=None if scale_out is None else halves(scale_out),
    )
    assert result.dtype == np.float16
    return bits(result)


EITHER = st.booleans()


@st.composite
def problems(draw, element=finite, scaled=EITHER):
    k, n, m = draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 2))

    def vector(length):
        return draw(st.lists(element, min_size=length, max_size=length))

    def row():
        return draw(st.lists(st.sampled_from([-1, 1]), min_size=k, max_size=k))

    return {
        "x": [vector(k) for _ in range(m)],
        "signs": [row() for _ in range(n)],
        "scale_in": vector(k),
        "shift_in": vector(k),
        "act_bits": draw(st.integers(4, 24)),
        "scale_out": vector(n) if draw(scaled) else None,
    }


# ---- equal to the reference -------------------------------------------------------------------


@given(problems())
@settings(REPEATABLE, max_examples=600)
def test_finite_inputs_equal_the_reference(problem):
    assert fast(**problem) == reference(**problem)


@given(problems(element=anything))
@settings(REPEATABLE, max_examples=300)
def test_any_bit_pattern_equals_the_reference(problem):
    assert fast(**problem) == reference(**problem)


def test_every_finite_pattern_in_every_role():
    """All 63,488 finite patterns as x, as scale and as shift: one product at a time.

    Row i of x is zero but for element i, so that output i is that of a layer with K = 1.
    """
    patterns = np.flatnonzero(np.isfinite(np.arange(1 << 16).astype(np.uint16).view(np.float16)))
    random = np.random.default_rng(1)
    x, scale, shift = patterns, random.permutation(patterns), random.permutation(patterns)
    size = 256
    for start in range(0, len(patterns), size):
        part = slice(start, start + size)
        act_bits = ALL_A[start // size % len(ALL_A)]
        signs = np.resize([1, -1], (1, len(x[part])))
        y = fbi_linear(halves(np.diag(x[part])), pack_signs(signs), halves(scale[part]),
                       halves(shift[part]), act_bits=act_bits)  # fmt: skip
        triples = zip(x[part].tolist(), scale[part].tolist(), shift[part].tolist(), strict=True)
        want = [fbi_linear_vector([a], [[1 - i % 2 * 2]], [c], [b], act_bits=act_bits)
                for i, (a, c, b) in enumerate(triples)]  # fmt: skip
        assert bits(y) == want


@pytest.mark.parametrize("role", ["x", "scale_in", "shift_in"])
def test_every_pattern_that_is_not_finite_in_every_role(role):
    for sign in (0, 0x8000):
        for pattern in range(sign | 0x7C00, (sign | 0x7FFF) + 1):
            problem = {"x": [[0]], "scale_in": [0], "shift_in": [0]}
            problem[role] = [[pattern]] if role == "x" else [pattern]
            assert fast(signs=[[1]], act_bits=8, **problem) == [[NAN]]


@pytest.mark.parametrize("act_bits", ALL_A)
@pytest.mark.parametrize("spread", ["one binade", "all exponents"])
def test_longer_vectors_equal_the_reference(act_bits, spread):
    random = np.random.default_rng([act_bits, len(spread)])
    k, n = 61, 3
    low, high = (0x3800, 0x4000) if spread == "one binade" else (0, 0x7C00)

    def vector(*shape):
        return random.integers(low, high, shape) | random.integers(0, 2, shape) << 15

    problem = {
        "x": vector(1, k).tolist(),
        "signs": random.choice([-1, 1], (n, k)).tolist(),
        "scale_in": vector(k).tolist(),
        "shift_in": vector(k).tolist(),
        "act_bits": act_bits,
    }
    assert fast(**problem) == reference(**problem)


@given(problems(element=anything), st.randoms(use_true_random=False))
@REPEATABLE
def test_the_order_of_inputs_does_not_matter(problem, random):
    k = len(problem["scale_in"])
    order = random.sample(range(k), k)

    def permuted(values):
        return [values[j] for j in order]

    shuffled = problem | {
        "x": [permuted(row) for row in problem["x"]],
        "signs": [permuted(row) for row in problem["signs"]],
        "scale_in": permuted(problem["scale_in"]),
        "shift_in": permuted(problem["shift_in"]),
    }
    assert fast(**shuffled) == fast(**problem)


@pytest.mark.parametrize("act_bits", [4, 8, 16, 24])
def test_the_order_of_many_inputs_does_not_matter(act_bits):
    random = np.random.default_rng(act_bits)
    k = 5000
    x = halves(random.integers(0, 0x7C00, (3, k)))
    scale, shift = (halves(random.integers(0, 0x7C00, k) | 0x8000 * (np.arange(k) % 2))
                    for _ in range(2))
    signs = random.choice([-1, 1], (7, k))
    order = random.permutation(k)
    straight = fbi_linear(x, pack_signs(signs), scale, shift, act_bits=act_bits)
    permuted = fbi_linear(
        x[:, order], pack_signs(signs[:, order]), scale[order], shift[order], act_bits=act_bits
    )
    assert bits(straight) == bits(permuted)


@given(problems(element=anything))
@REPEATABLE
def test_rows_do_not_see_each_other(problem):
    alone = [fast(**(problem | {"x": [row]}))[0] for row in problem["x"]]
    assert fast(**problem) == alone


@given(problems(element=finite, scaled=st.just(False)))
@REPEATABLE
def test_padding_bits_and_zero_inputs_change_nothing(problem):
    padded = problem | {
        "x": [[*row, 0x0000, 0x8000] for row in problem["x"]],
        "signs": [[*row, 1, -1] for row in problem["signs"]],
        "scale_in": [*problem["scale_in"], 0x7BFF, 0x7BFF],
        "shift_in": [*problem["shift_in"], 0x7BFF, 0xFBFF],
    }
    assert fast(**padded) == fast(**problem)


# ---- the bound of docs/contract.md -------------------------------------------------------------


@given(problems(scaled=st.just(False)))
@settings(REPEATABLE, max_examples=400)
def test_the_distance_to_float_is_bounded(problem):
    act_bits = problem["act_bits"]
    row = problem["x"][0]
    xs, scales, shifts = (
        [fp16_value(b) for b in v] for v in (row, problem["scale_in"], problem["shift_in"])
    )
    products = [c * x for c, x in zip(scales, xs, strict=True)]
    beta_x = sum(b * x for b, x in zip(shifts, xs, strict=True))
    largest = max(abs(p) for p in products)
    result = quantize(halves([row]), halves(problem["scale_in"]), act_bits)
    exponent, q = int(result.exponent[0]), result.q[0].tolist()
    unit = Fraction(2) ** exponent
    limit = 2 ** (act_bits - 1) - 1

    # Step 3 and 4, product by product.
    assert exponent >= -48
    saturated = 0
    for p, integer in zip(products, q, strict=True):
        assert abs(integer) <= limit
        error = abs(integer * unit - p)
        if abs(p) / unit >= limit + Fraction(1, 2):
            saturated += 1
            assert abs(integer) == limit
            assert error < unit
        else:
            assert error <= unit / 2
    if exponent > -48:
        assert unit <= largest * Fraction(2) ** (2 - act_bits)
        assert max(abs(i) for i in q) >= 2 ** (act_bits - 2)  # at least half the range is used
    else:
        assert [i * unit for i in q] == products

    # The sum, against the exact formula, for each output.
    k = len(row)
    near = (k + saturated) * unit / 2 if exponent > -48 else 0
    far = (k + saturated) * Fraction(2) ** (1 - act_bits) * largest
    assert near <= far
    outputs = fast(**problem)[0]
    for signs, output in zip(problem["signs"], outputs, strict=True):
        exact = sum(s * p for s, p in zip(signs, products, strict=True)) + beta_x
        computed = sum(s * i for s, i in zip(signs, q, strict=True)) * unit + beta_x
        assert abs(computed - exact) <= near
        assert output == round_to_fp16(computed)
        value = fp16_value(output)
        if value is None:
            assert abs(exact) + near >= 65520
        else:
            step = Fraction(2) ** max(floor_log2(abs(computed)) - 10, -24) if computed else 0
            assert abs(value - exact) <= near + step / 2


def test_the_bound_is_nearly_reached():
    """Every product half a unit low, all signs alike: the bound is not a loose one."""
    # A = 4: P = 1, E = -2; 0.625 = 2.5 units -> 2, as far off as rounding allows.
    k = 1000
    x = np.array([[1.0] + [0.625] * (k - 1)], dtype=np.float16)
    result = quantize(x, np.ones(k, np.float16), 4)
    assert result.exponent.tolist() == [-2]
    error = x.astype(np.float64).sum() - result.q.sum() * 0.25
    assert error == (k - 1) / 2 * 0.25


# ---- hand-computed -----------------------------------------------------------------------------


def one(x, scale, shift, *, act_bits=24, signs=None) -> int:
    """Return the bits of the single output of one vector given as numbers."""
    signs = [1] * len(x) if signs is None else signs
    x, scale, shift = (np.array(v, dtype=np.float64).astype(np.float16) for v in (x, scale, shift))
    result = fbi_linear(x[None], pack_signs(np.array([signs])), scale, shift, act_bits=act_bits)
    return bits(result)[0][0]


def half(value) -> int:
    return int(np.float16(value).view(np.uint16))


S = 2.0**-24  # the smallest subnormal


def test_a_layer_by_hand():
    # alpha*x = (2, 1.5, -0.25); beta*x = 1 + 0 - 2 = -1; A = 8: E = 1 - 6 = -5, q = (64, 48, -8).
    x, scale, shift = [[4, 3, -1]], [0.5, 0.5, 0.25], [0.25, 0, 2]
    signs = np.array([[1, 1, 1], [1, -1, 1], [-1, -1, -1]])
    y = fbi_linear(
        np.float16(x), pack_signs(signs), np.float16(scale), np.float16(shift), act_bits=8
    )
    assert y.tolist() == [[3.25 - 1, 0.25 - 1, -3.25 - 1]]
    y = fbi_linear(
        np.float16(x), pack_signs(signs), np.float16(scale), np.float16(shift), act_bits=8,
        scale_out=np.float16([2, -4, 0]),
    )
    assert y.tolist() == [[6.5 - 1, -1 - 1, -1]]  # the shift term is not scaled


@pytest.mark.parametrize(
    ("product", "units"),
    # A = 4 and P = 1, so E = 0 - 2: four units to one. Halves go to the even integer.
    [(0.125, 0), (0.375, 2), (0.625, 2), (0.875, 4), (0.25, 1), (0.130, 1), (-0.375, -2),
     (-0.625, -2)],
)  # fmt: skip
def test_quantizer_rounds_ties_to_even(product, units):
    result = quantize(np.float16([[1, product]]), np.float16([1, 1]), 4)
    assert result.exponent.tolist() == [-2]
    assert result.q.tolist() == [[4, units]]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("x", "units"),
    # A = 4: 7.25 units -> 7; 7.5 is a tie that would go to 8 and saturates; 7.996 too.
    [(1.8125, 7), (1.875, 7), (1.9375, 7), (1.9990234375, 7)],
)
def test_quantizer_saturates_symmetrically(x, units, sign):
    result = quantize(np.float16([[sign * x]]), np.float16([1]), 4)
    assert result.exponent.tolist() == [-2]
    assert result.q.tolist() == [[sign * units]]
    assert one([sign * x], [1], [0], act_bits=4) == half(sign * 1.75)


@pytest.mark.parametrize("act_bits", ALL_A)
def test_the_largest_product_saturates_for_every_a_that_rounds_it_up(act_bits):
    # 2047 * 2047 = 0b1111111111_000000000001: up to A = 10 it rounds up to 2**(A-1).
    result = quantize(np.float16([[65504]]), np.float16([-65504]), act_bits)
    assert result.exponent.tolist() == [31 - (act_bits - 2)]
    exact = Fraction(65504**2) / Fraction(2) ** (31 - (act_bits - 2))
    want = min(round(exact), 2 ** (act_bits - 1) - 1)
    assert result.q.tolist() == [[-want]]
    assert (want == round(exact)) == (act_bits > 10)


@pytest.mark.parametrize(
    ("x", "exponent", "q"),
    # alpha = 2**-24, A = 4: products of 0, 1, 7, 8 and 9 units of 2**-48.
    [(0, -48, 0), (1, -48, 1), (7, -48, 7), (8, -47, 4), (9, -47, 4), (11, -47, 6), (16, -46, 4)],
)
def test_the_exponent_stops_at_minus_48(x, exponent, q):
    result = quantize(np.float16([[x * S]]), np.float16([S]), 4)
    assert result.exponent.tolist() == [exponent]
    assert result.q.tolist() == [[q]]


@pytest.mark.parametrize(
    ("x", "scale", "shift", "want"),
    [
        ([2048, 1], [1, 1], [0, 0], half(2048)),  # 2049 is a tie: 2048 is even
        ([2048, 3], [1, 1], [0, 0], half(2052)),  # 2051 is a tie: 2052 is even
        ([2048, 1, S], [1, 1, 0], [0, 0, S], half(2050)),  # 2049 + 2**-48 is none
        ([2048, 1, S], [1, 1, 0], [0, 0, -S], half(2048)),
        ([2048, 3, S], [1, 1, 0], [0, 0, -S], half(2050)),
        ([2048, 3, S], [-1, -1, 0], [0, 0, S], half(-2050)),
        ([65504, 16], [1, 1], [0, 0], INF),  # 65520 exactly
        ([65504, 16], [-1, -1], [0, 0], 0x8000 | INF),
        ([65504, 15.9921875], [1, 1], [0, 0], half(65504)),
        ([65504, 16, S], [1, 1, 0], [0, 0, -S], half(65504)),  # 65520 - 2**-48
        ([65504, 65504], [65504, 65504], [0, 0], INF),
        ([65504, 65504], [0, 0], [-65504, -65504], 0x8000 | INF),
        ([65504], [65504], [-65504], 0),  # overflows meet and cancel
        ([65504, 1], [65504, 0], [-65504, 1], half(1)),  # what is left of 2**32 is exact
        ([65504, S], [65504, 0], [-65504, -S], 0x8000),  # ... down to -2**-48, which is -0
        ([S], [0.5], [0], 0x0000),  # 2**-25 is a tie: zero is even
        ([S], [-0.5], [0], 0x8000),  # a non-zero value keeps its sign
        ([S, S], [0.5, 0], [0, S], 0x0001),  # 2**-25 + 2**-48
        ([S, 3 * S], [0, 0.5], [0, 0], 0x0002),  # 1.5 steps: even is 2
        ([S], [S], [0], 0x0000),
        ([-S], [S], [0], 0x8000),
        ([1], [-0.0], [0], 0x0000),  # exact zeros are +0
        ([-0.0], [1], [1], 0x0000),
        ([-0.0], [1], [-0.0], 0x0000),
        ([1, 1], [1, -1], [0, 0], 0x0000),
        ([-3, 1], [1, 3], [0, 0], 0x0000),
    ],
)  # fmt: skip
def test_the_one_rounding_by_hand(x, scale, shift, want):
    assert one(x, scale, shift) == want


def test_a_largest_product_hides_the_small_ones():
    # E = 31 - 6 = 25 at A = 8: 65504**2 = 127.87 units saturates to 127, and 1.0 is nothing.
    result = quantize(np.float16([[65504, 1]]), np.float16([65504, 1]), 8)
    assert result.exponent.tolist() == [25]
    assert result.q.tolist() == [[127, 0]]
    # beta*x takes 65504**2 away exactly: 127 * 2**25 - 65504**2 < -65520 is left.
    assert one([65504, 1], [65504, 1], [-65504, 0], act_bits=8) == 0x8000 | INF


@pytest.mark.parametrize(
    ("act_bits", "want"),
    # 65536 products of 2047 * 2**-19: exact at A = 24; at A = 4, 7.996 units of 2**-11 give 7.
    [(24, 255.875), (12, 255.875), (11, 1023 * 65536 / 2**18), (4, 224.0)],
)
def test_the_largest_k(act_bits, want):
    ones = np.ones(K_LIMIT)
    assert one(65504 * ones, S * ones, 0 * ones, act_bits=act_bits) == half(want)


@pytest.mark.parametrize("act_bits", ALL_A)
def test_accumulation_is_exact_at_the_extremes(act_bits):
    limit = 2 ** (act_bits - 1) - 1
    for pattern in ([limit], [-limit], [limit, limit - 127, -limit + 128, -128, 127]):
        row = np.resize(np.array(pattern, dtype=np.int32), (1, K_LIMIT))
        signs = np.stack([np.ones(K_LIMIT), -np.ones(K_LIMIT), np.sign(row[0])]).astype(np.float32)
        want = [int(np.dot(row[0].astype(np.int64), s.astype(np.int64))) for s in signs]
        assert accumulate(row, signs, act_bits).tolist() == [want]


def test_the_shift_sum_is_exact_at_the_largest_k():
    x = np.full((1, K_LIMIT), 65504, dtype=np.float16)
    shift = np.full(K_LIMIT, 65504, dtype=np.float16)
    x[0, -1], shift[-1] = S, -S
    exact = (K_LIMIT - 1) * Fraction(65504) ** 2 - Fraction(1, 2**48)
    assert shift_integers(x, shift) == [exact * 2**48]


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=40))
@REPEATABLE
def test_the_shift_sum_is_exact(pairs):
    x, shift = zip(*pairs, strict=True)
    exact = sum(fp16_value(a) * fp16_value(b) for a, b in pairs)
    assert shift_integers(halves([x]), halves(shift)) == [exact * 2**48]


# ---- not finite --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", SPECIAL)
def test_a_bad_activation_poisons_its_row_only(bad):
    x = [[0x3C00, 0x3C00], [0x0000, bad], [0x3C00, 0x0000]]
    y = fast(x, [[1, 1], [1, -1]], [0x0000, 0x0000], [0x3C00, 0x0000], 8)
    assert y == [[0x3C00, 0x3C00], [NAN, NAN], [0x3C00, 0x3C00]]


@pytest.mark.parametrize("bad", SPECIAL)
@pytest.mark.parametrize("role", ["scale_in", "shift_in"])
def test_a_bad_coefficient_poisons_everything_even_beside_a_zero(bad, role):
    problem = {
        "x": [[0, 0], [0x3C00, 0]],
        "signs": [[1, 1], [-1, 1]],
        "scale_in": [0x3C00, 0x3C00],
        "shift_in": [0x3C00, 0x3C00],
        "act_bits": 8,
    }
    problem[role] = [0x3C00, bad]
    assert fast(**problem) == [[NAN, NAN], [NAN, NAN]]


@pytest.mark.parametrize("bad", SPECIAL)
def test_a_bad_output_scale_poisons_its_column_only(bad):
    y = fast([[0x3C00], [0x0000]], [[1], [1], [-1]], [0x3C00], [0], 8, [0x3C00, bad, 0x3C00])
    assert y == [[0x3C00, NAN, 0xBC00], [0, NAN, 0]]


# ---- ternary weights, scales of outputs and groups, bfloat16 -----------------------------------

BF16_EXTREMES = (
    0x0000, 0x8000,
    0x0001, 0x8001, 0x007F, 0x807F,  # smallest and largest subnormal: 2**-133, nearly 2**-126
    0x0080, 0x8080,  # smallest normal
    0x3F80, 0xBF80, 0x3F7F, 0x3F81,  # one and its neighbours
    0x7F7F, 0xFF7F,  # largest finite
)  # fmt: skip
BF16_SPECIAL = (0x7F80, 0xFF80, 0x7FC0, 0xFFC0, 0x7F81, 0xFFFF)

bf16_finite = st.one_of(
    st.sampled_from(BF16_EXTREMES),
    st.integers(0, 0x7F7F),
    st.integers(0x8000, 0xFF7F),
    st.integers(0x3E80, 0x4080),  # of similar size
)
X_ELEMENTS = {"fp16": finite, "bf16": bf16_finite}
VALUE = {"fp16": fp16_value, "bf16": bf16_value}
ROUNDED = {"fp16": round_to_fp16, "bf16": round_to_bf16}


@st.composite
def family_problems(draw, x_element=None, element=finite, formats=ACT_FORMATS, most=9):
    """Any layer of the family: keyword arguments of `reference_family` and `fast_family`."""
    k, n, m = draw(st.integers(1, most)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    act_format = draw(st.sampled_from(formats))
    x_element = X_ELEMENTS[act_format] if x_element is None else x_element

    def vector(length, values):
        return draw(st.lists(values, min_size=length, max_size=length))

    weight = st.sampled_from(draw(st.sampled_from([(-1, 1), (-1, 0, 1)])))
    group_size = draw(st.one_of(st.none(), st.integers(1, k + 2)))
    if group_size is not None:
        scale_out = [vector(-(-k // group_size), element) for _ in range(n)]
    else:
        scale_out = vector(n, element) if draw(st.booleans()) else None
    return {
        "x": [vector(k, x_element) for _ in range(m)],
        "weights": [vector(k, weight) for _ in range(n)],
        "scale_in": vector(k, element),
        "shift_in": vector(k, element),
        "act_bits": draw(st.integers(4, 24)),
        "scale_out": scale_out,
        "group_size": group_size,
        "act_format": act_format,
    }


def reference_family(x, weights, scale_in, shift_in, **options) -> list[list[int]]:
    return [fbi_linear_vector(row, weights, scale_in, shift_in, **options) for row in x]


def fast_family(x, weights, scale_in, shift_in, *, act_format="fp16", scale_out=None, **options):
    patterns = np.array(x, dtype=np.uint16)
    signs, mask = pack_ternary(np.array(weights))
    if 0 not in np.array(weights):
        mask = None
    result = fbi_linear(
        patterns if act_format == "bf16" else patterns.view(np.float16),
        signs,
        halves(scale_in),
        halves(shift_in),
        mask=mask,
        scale_out=None if scale_out is None else halves(scale_out),
        act_format=act_format,
        **options,
    )
    assert result.dtype == (np.uint16 if act_format == "bf16" else np.float16)
    return bits(result)


@given(family_problems())
@settings(REPEATABLE, max_examples=900)
def test_the_family_equals_the_reference(problem):
    assert fast_family(**problem) == reference_family(**problem)


@given(family_problems(x_element=st.integers(0, 0xFFFF), element=anything))
@settings(REPEATABLE, max_examples=300)
def test_the_family_equals_the_reference_for_any_bit_pattern(problem):
    assert fast_family(**problem) == reference_family(**problem)


# Scales whose sums lie on and beside ties, cancel, or span everything that float16 has.
awkward = st.one_of(
    st.sampled_from([0x6800, 0xE800, 0x3C00, 0xBC00, 0x0001, 0x8001, 0x7BFF, 0xFBFF, 0x0000,
                     0x4C00, 0xCC00, 0x4BFF, 0x1000, 0x9000, 0x03FF, 0x6801, 0xE801, 0x6BFF]),
    st.integers(0x3BF8, 0x3C08),
)  # fmt: skip


@st.composite
def awkward_sums(draw):
    """Groups of one input each, x = 1: the output is a sum of scales and shifts, exactly."""
    k = draw(st.integers(1, 8))
    act_format = draw(st.sampled_from(ACT_FORMATS))

    def vector(values):
        return draw(st.lists(values, min_size=k, max_size=k))

    return {
        "x": [[0x3F80 if act_format == "bf16" else 0x3C00] * k],
        "weights": [vector(st.sampled_from([-1, 1, 1]))],
        "scale_in": [draw(st.sampled_from([0x3C00, 0x0001, 0x7800]))] * k,
        "shift_in": vector(st.one_of(st.just(0), awkward)),
        "act_bits": draw(st.sampled_from([4, 8, 24])),
        "scale_out": [vector(awkward)],
        "group_size": 1,
        "act_format": act_format,
    }


@given(awkward_sums())
@settings(REPEATABLE, max_examples=900)
def test_ties_and_cancellation_between_groups_equal_the_reference(problem):
    assert fast_family(**problem) == reference_family(**problem)


def sum_of(scales, shifts=(0,), *, act_format="fp16") -> int:
    """Return the pattern of ``sum scales + sum shifts`` as a layer with x = 1 rounds it."""
    k = max(len(scales), len(shifts))
    scales = [*scales, *[0.0] * (k - len(scales))]
    shifts = [*shifts, *[0.0] * (k - len(shifts))]
    one = 0x3F80 if act_format == "bf16" else 0x3C00
    problem = {
        "x": [[one] * k], "weights": [[1] * k], "scale_in": [0x3C00] * k,
        "shift_in": np.float16(shifts).view(np.uint16).tolist(), "act_bits": 16,
        "scale_out": [np.float16(scales).view(np.uint16).tolist()], "group_size": 1,
    }  # fmt: skip
    (output,) = fast_family(act_format=act_format, **problem)[0]
    assert [[output]] == reference_family(act_format=act_format, **problem)
    return output


@pytest.mark.parametrize(
    ("scales", "shifts", "want"),
    [
        ([2048, 1], [0], half(2048)),  # a tie
        ([2048, 3], [0], half(2052)),
        ([2048, 1, S], [0], half(2050)),  # a subnormal scale breaks it
        ([2048, 1, -S], [0], half(2048)),
        ([2048, 1], [S], half(2050)),  # the shift breaks it
        ([2048, 1, S], [-S], half(2048)),  # and takes it back
        ([65504, -65504, S], [0], 0x0001),  # all that is left is the smallest number
        ([65504, S, -65504], [-S], 0x0000),  # nothing at all: +0
        ([-65504, 65504, -S], [0], 0x8001),
        ([65504, 65504, -65504], [0], half(65504)),  # no overflow on the way
        ([65504, 65504], [-65504], half(65504)),
        ([65504, 15.9921875], [0], half(65504)),
        ([65504, 16], [0], INF),  # 65520
        ([65504, 16, -S], [0], half(65504)),  # just below
        ([-65504, -16], [S], half(-65504)),
        ([-65504, -16], [0], 0x8000 | INF),
    ],
)
def test_sums_of_groups_by_hand(scales, shifts, want):
    assert sum_of(scales, shifts) == want


def test_a_group_can_underflow_alone_and_count_together():
    # Products of 2**-24 (x) and 2**-24 (scale_in) are the unit 2**-48; times a = 2**-24: 2**-72.
    problem = {
        "x": [[0x0001, 0x0001, 0x3C00]], "weights": [[1, -1, 1]],
        "scale_in": [0x0001, 0x0001, 0x0000], "shift_in": [0, 0, 0], "act_bits": 4,
        "group_size": 1,
    }  # fmt: skip
    for a, want in (
        ([0x0001, 0x0000, 0], 0x0000),  # 2**-72 rounds to zero and keeps its sign
        ([0x8001, 0x0000, 0], 0x8000),
        ([0x0001, 0x0001, 0], 0x0000),  # an exact zero
        ([0x0001, 0x0002, 0], 0x8000),
    ):
        assert fast_family(**problem, scale_out=[a]) == [[want]]
        assert reference_family(**problem, scale_out=[a]) == [[want]]
    # With shift * x = 2**-25, a tie between 0 and the smallest subnormal, 2**-72 decides.
    problem |= {"shift_in": [0, 0, 0x0001], "x": [[0x0001, 0x0001, 0x3800]]}
    for a, want in (([0, 0, 0], 0), ([0x0001, 0, 0], 1), ([0, 0x0001, 0], 0)):
        assert fast_family(**problem, scale_out=[a]) == [[want]]
        assert reference_family(**problem, scale_out=[a]) == [[want]]


def test_what_float64_cannot_decide_is_summed_in_integers():
    """The bracket must not decide a tie that is broken 2**60 below: the slow path does."""
    with mock.patch.object(
        golden.linear, "_round_exactly", wraps=golden.linear._round_exactly
    ) as slow:
        # T = 65504 + 16 - 2**-72 or + 2**-72; at A = 24 with x's product at the unit.
        problem = {
            "x": [[0x3C00, 0x3C00, 0x0001]], "weights": [[0, 0, 1]],
            "scale_in": [0, 0, 0x0001], "shift_in": [0x7BFF, 0x4C00, 0], "act_bits": 4,
            "group_size": 2,
        }  # fmt: skip
        for a, want in ((0x0001, INF), (0x8001, 0x7BFF), (0x0000, INF)):
            assert fast_family(**problem, scale_out=[[0, a]]) == [[want]]
            assert reference_family(**problem, scale_out=[[0, a]]) == [[want]]
    assert slow.call_count == 2  # not for the exact tie


@given(
    st.sampled_from(ACT_FORMATS),
    st.lists(
        st.tuples(st.integers(-(2**53) + 1, 2**53 - 1), st.integers(0, 30)), min_size=1, max_size=8
    ),
    st.integers(0, 60),
    st.integers(0, 0x7F7F),
    st.sampled_from([-1, 1]),
    st.integers(-3, 3),
    st.sampled_from([0, 20, 40, 100]),
)
@settings(REPEATABLE, max_examples=600)
def test_sums_at_and_beside_a_tie(act_format, parts, exponent, below, sign, delta, reach):
    """The shift sum is chosen so that all together is next to a midpoint of the format."""
    value, unit_exp, last = (
        (bf16_value, -157, 0x7F7F) if act_format == "bf16" else (fp16_value, -48, 0x7BFF)
    )
    below = min(below, last)
    above = value(below + 1) if below < last else 2 * value(below) - value(below - 1)
    # In units of exact products, all of them integers here.
    middle = int(sign * (value(below) + above) / 2 / Fraction(2) ** unit_exp) + delta * 2**reach
    total = sum(z << e for z, e in parts) << exponent
    result = round_sum(
        [(np.array([[float(z)]]), e) for z, e in parts],
        np.array([exponent + unit_exp]), [middle - total], act_format,
    )  # fmt: skip
    assert result.tolist() == [[ROUNDED[act_format](Fraction(middle) * Fraction(2) ** unit_exp)]]
    if delta == 0:
        assert result[0, 0] & 0x7FFF == below + (below & 1)


@pytest.mark.parametrize("act_format", ACT_FORMATS)
@pytest.mark.parametrize("act_bits", [4, 16, 24])
def test_groups_of_a_real_layer_equal_the_reference(act_bits, act_format):
    random = np.random.default_rng([act_bits, len(act_format), 5])
    k, n, size = 300, 4, 128
    x = random.standard_normal((1, k)) * np.where(random.random(k) < 0.02, 30, 1)
    patterns = x.astype(np.float16).view(np.uint16)
    if act_format == "bf16":
        patterns = x.astype(np.float32).view(np.uint32) >> 16
    problem = {
        "x": patterns.tolist(),
        "weights": random.integers(-1, 2, (n, k)).tolist(),
        "scale_in": [0x3C00] * k,
        "shift_in": (random.standard_normal(k) * 0.01).astype(np.float16).view(np.uint16).tolist(),
        "act_bits": act_bits,
        "scale_out": np.abs(random.standard_normal((n, 3)) * 0.02).astype(np.float16)
        .view(np.uint16).tolist(),
        "group_size": size,
        "act_format": act_format,
    }  # fmt: skip
    assert fast_family(**problem) == reference_family(**problem)


def test_the_largest_groups_are_exact():
    """A = 24, K = 65536, the largest and the smallest scales side by side: all 80 bits of T."""
    k, size = K_LIMIT, K_LIMIT // 16
    limit = 2**23 - 1
    q = np.full((1, k), limit, dtype=np.int32)
    q[0, ::size] = -1
    weights = np.ones((2, k), dtype=np.float32)
    weights[1, ::3] = 0
    exponents = np.arange(16) * 2  # all parts of the sum
    scales = np.float16(np.where(exponents < 30, 2047 * 2.0 ** (exponents - 24), 65504.0))
    scales = np.stack([scales, -scales[::-1]])
    want = [
        sum(
            Fraction(float(scales[i, g]))
            * int(np.dot(q[0, part].astype(np.int64), weights[i, part].astype(np.int64)))
            for g in range(16)
            for part in [slice(g * size, (g + 1) * size)]
        )
        for i in range(2)
    ]
    parts = accumulate_groups(q, weights, scales, size, 24)
    assert len(parts) > 4
    got = [sum(int(p[0, i]) * Fraction(2) ** e for p, e in parts) for i in range(2)]
    assert got == want
    every = np.full((1, 1), 65504, dtype=np.float16).repeat(2, axis=0)
    parts = accumulate_groups(np.full((1, k), limit, np.int32), weights, every, k, 24)
    most = sum(int(p[0, 0]) * Fraction(2) ** (e + 24) for p, e in parts)
    assert most == 2047 * 2**29 * k * limit  # the bound of the contract, reached
    assert most < 2 ** (40 + 24 + 16 - 1)


@given(
    st.integers(0, 16),
    st.integers(4, 24),
    st.integers(0, 2**64),
    st.sampled_from(["any", "clamp", "cancel", "tie", "zero"]),
)
@settings(REPEATABLE, max_examples=600)
def test_83_bits_and_a_sticky_bit_are_enough_for_the_drain(log_k, act_bits, seed, kind):
    """The clamp and the rounding down of docs/contract.md, against the exact sum."""
    random = np.random.default_rng(seed)

    def integer(bits):
        """Return a signed integer of at most so many bits, often a short one."""
        size = int(random.integers(0, bits + 1))
        return int.from_bytes(random.bytes(16), "little") % 2**size * int(random.choice([-1, 1]))

    e = int(random.integers(0, 82 - act_bits))  # E + 48
    t, b = integer(39 + act_bits + log_k), integer(80 + log_k)  # units 2**(E-24), 2**-48
    if kind == "clamp":
        t = int(random.choice([-1, 1])) * ((1 << 81 + log_k + 24 >> e) + integer(8))
    elif kind != "any":  # B brings the sum next to zero, or to a tie of float16
        target = int(random.integers(0, 0x7C00)) if kind == "tie" else 0
        middle = (fp16_value(target) + (fp16_value(min(target + 1, 0x7BFF)))) / 2 * 2**48
        b = int(middle) - ((t << e) >> 24) + (0 if kind == "zero" else integer(3))
    assume(abs(t) < 1 << 39 + act_bits + log_k)
    assume(abs(b) < 1 << 80 + log_k)
    exact = Fraction((t << e) + (b << 24), 2**72)

    most = 1 << 81 + log_k  # 2**(33+L) in units of 2**-48
    scaled, sticky = (t << e) >> 24, (t << e) & (2**24 - 1) != 0
    if abs(scaled) >= most:
        scaled, sticky = (most if t > 0 else -most), False
    total = scaled + b
    assert -(1 << 82 + log_k) <= total < 1 << 82 + log_k
    narrow = Fraction(total, 2**48) + (Fraction(1, 2**49) if sticky else 0)
    assert round_to_fp16(narrow) == round_to_fp16(exact)


@given(family_problems(), st.randoms(use_true_random=False))
@REPEATABLE
def test_what_the_contract_ignores_changes_nothing(problem, random):
    """Sign bits under a 0 of the mask, padding bits of both, and a mask of ones."""
    weights = np.array(problem["weights"])
    k = weights.shape[1]
    signs, mask = pack_ternary(weights)
    junk = np.array(random.choices(range(256), k=signs.size), dtype=np.uint8).reshape(signs.shape)
    padding = np.zeros_like(signs)
    padding[:, -1] = 0xFF << (k - 1) % 8 + 1 & 0xFF
    coefficients = halves(problem["scale_in"]), halves(problem["shift_in"])
    scale_out = problem["scale_out"]
    options = {
        "scale_out": None if scale_out is None else halves(scale_out),
        "group_size": problem["group_size"],
        "act_bits": problem["act_bits"],
        "act_format": problem["act_format"],
    }
    x = np.array(problem["x"], dtype=np.uint16)
    x = x if problem["act_format"] == "bf16" else x.view(np.float16)
    noisy = fbi_linear(
        x, signs | (junk & ~mask) | (junk & padding), *coefficients,
        mask=mask | (junk & padding), **options,
    )  # fmt: skip
    assert bits(noisy) == fast_family(**problem)


@given(family_problems(formats=("fp16",)))
@REPEATABLE
def test_one_scale_per_output_is_one_group_and_equal_groups(problem):
    n, k = len(problem["weights"]), len(problem["scale_in"])
    scales = [row[0] for row in problem["scale_out"]] if problem["group_size"] else [0x3C00] * n
    whole = fast_family(**(problem | {"scale_out": scales, "group_size": None}))
    for size in (1, 2, k, k + 1):
        same = [[a] * -(-k // size) for a in scales]
        assert fast_family(**(problem | {"scale_out": same, "group_size": size})) == whole
    if scales == [0x3C00] * n:
        assert fast_family(**(problem | {"scale_out": None, "group_size": None})) == whole


@given(family_problems(), st.integers(1, 3))
@REPEATABLE
def test_zero_inputs_may_fill_up_groups(problem, extra):
    assume(problem["group_size"] is not None)
    size, k = problem["group_size"], len(problem["scale_in"])

    def filled(values, filler):
        parts = [list(values[start : start + size]) for start in range(0, k, size)]
        return [v for part in parts for v in part + [filler] * (size + extra - len(part))]

    padded = problem | {
        "x": [filled(row, 0x8000) for row in problem["x"]],
        "weights": [filled(row, -1) for row in problem["weights"]],
        "scale_in": filled(problem["scale_in"], 0x7BFF),
        "shift_in": filled(problem["shift_in"], 0xFBFF),
        "group_size": size + extra,
    }
    assert fast_family(**padded) == fast_family(**problem)


@given(family_problems())
@settings(REPEATABLE, max_examples=300)
def test_the_distance_to_float_is_bounded_for_the_family(problem):
    act_bits, act_format = problem["act_bits"], problem["act_format"]
    row, size = problem["x"][0], problem["group_size"]
    k = len(row)
    xs = [VALUE[act_format](b) for b in row]
    scales, shifts = ([fp16_value(b) for b in problem[v]] for v in ("scale_in", "shift_in"))
    products = [c * v for c, v in zip(scales, xs, strict=True)]
    beta_x = sum(b * v for b, v in zip(shifts, xs, strict=True))
    pattern = np.array([row], dtype=np.uint16)
    result = quantize(
        pattern if act_format == "bf16" else pattern.view(np.float16),
        halves(problem["scale_in"]), act_bits, act_format=act_format,
    )  # fmt: skip
    exponent, q = int(result.exponent[0]), result.q[0].tolist()
    lowest = -157 if act_format == "bf16" else -48
    assert exponent >= lowest
    unit = Fraction(2) ** exponent
    limit = 2 ** (act_bits - 1) - 1
    saturated = [abs(p) / unit >= limit + Fraction(1, 2) for p in products]
    if exponent > lowest:
        largest = max(abs(p) for p in products)
        assert unit <= largest * Fraction(2) ** (2 - act_bits)
        assert max(abs(i) for i in q) >= 2 ** (act_bits - 2)
    outputs = fast_family(**problem)[0]
    for i, (weights, output) in enumerate(zip(problem["weights"], outputs, strict=True)):
        a = problem["scale_out"]
        a = [0x3C00] if a is None else [a[i]] if size is None else a[i]
        a = [fp16_value(b) for b in a for _ in range(size or k)]
        exact = sum(c * t * p for c, t, p in zip(a, weights, products, strict=False)) + beta_x
        computed = sum(c * t * v for c, t, v in zip(a, weights, q, strict=False)) * unit + beta_x
        near = sum(
            abs(c) * (1 + over) for c, t, over in zip(a, weights, saturated, strict=False) if t
        ) * unit / 2  # fmt: skip
        assert abs(computed - exact) <= (near if exponent > lowest else 0)
        assert output == ROUNDED[act_format](computed)


@pytest.mark.parametrize("act_format", ACT_FORMATS)
@pytest.mark.parametrize("bad", SPECIAL)
def test_a_bad_group_scale_poisons_its_output_only_even_where_weights_are_zero(bad, act_format):
    one, nan = (0x3F80, BF16_NAN) if act_format == "bf16" else (0x3C00, NAN)
    problem = {
        "x": [[one, one], [0, 0]], "weights": [[1, 0], [1, 1], [-1, 0]],
        "scale_in": [0x3C00] * 2, "shift_in": [0, 0], "act_bits": 8, "group_size": 1,
        "scale_out": [[0x3C00, bad], [0x3C00, 0], [0x3C00, 0x3C00]], "act_format": act_format,
    }  # fmt: skip
    assert fast_family(**problem) == [[nan, one, one | 0x8000], [nan, 0, 0]]
    assert reference_family(**problem) == fast_family(**problem)


@pytest.mark.parametrize("bad", BF16_SPECIAL)
def test_a_bad_bfloat16_poisons_its_row_only_even_where_weights_are_zero(bad):
    problem = {
        "x": [[0x3F80, 0x3F80], [0x3F80, bad]], "weights": [[1, 0], [-1, 0]],
        "scale_in": [0x3C00] * 2, "shift_in": [0, 0], "act_bits": 8, "act_format": "bf16",
    }  # fmt: skip
    assert fast_family(**problem) == [[0x3F80, 0xBF80], [BF16_NAN] * 2]
    assert reference_family(**problem) == fast_family(**problem)


def test_every_finite_bfloat16_as_x():
    """All 65,280 patterns, one product at a time, as for float16 above."""
    patterns = np.flatnonzero((np.arange(1 << 16) >> 7) % 256 != 255)
    random = np.random.default_rng(2)
    scale, shift = (random.choice(np.flatnonzero((np.arange(1 << 16) >> 10) % 32 != 31),
                                  len(patterns)) for _ in range(2))  # fmt: skip
    size = 240
    for start in range(0, len(patterns), size):
        part = slice(start, start + size)
        act_bits = ALL_A[start // size % len(ALL_A)]
        x = np.diag(patterns[part]).astype(np.uint16)
        y = fbi_linear(x, pack_signs(np.ones((1, len(x)))), halves(scale[part]),
                       halves(shift[part]), act_bits=act_bits, act_format="bf16")  # fmt: skip
        triples = zip(patterns[part].tolist(), scale[part].tolist(), shift[part].tolist(),
                      strict=True)  # fmt: skip
        want = [fbi_linear_vector([a], [[1]], [c], [b], act_bits=act_bits, act_format="bf16")
                for a, c, b in triples]  # fmt: skip
        assert bits(y) == want


T = 2.0**-133  # the smallest subnormal of bfloat16


def bfloat(*values) -> list[int]:
    """Return the patterns of numbers that bfloat16 holds exactly."""
    wide = np.float32(values).view(np.uint32)
    assert not (wide & 0xFFFF).any()
    return (wide >> 16).tolist()


@pytest.mark.parametrize(
    ("x", "scale", "shift", "want"),
    [
        ([256, 1], [1, 1], [0, 0], 256.0),  # 257 is a tie: 256 is even
        ([256, 3], [1, 1], [0, 0], 260.0),
        ([256, 1, T], [1, 1, 0], [0, 0, S], 258.0),  # 257 + 2**-157
        ([256, 1, T], [1, 1, 0], [0, 0, -S], 256.0),
        ([T], [0.5], [0], 0.0),  # 2**-134: a tie, zero is even
        ([T, T], [0.5, 0], [0, S], T),
        ([T], [S], [0], 0.0),  # the unit, 2**-157
        ([2.0**127, 2.0**127], [1, 1], [0, 0], np.inf),
        ([2.0**127], [65504], [-65504], 0.0),  # overflows meet and cancel
        ([2.0**127, T], [65504, 0], [-65504, 1], T),  # and leave 2**-133 of 2**143, exactly
        ([255 * 2.0**120], [1], [0], 255 * 2.0**120),  # the largest finite
        ([255 * 2.0**120, 2.0**119], [1, 1], [0, 0], np.inf),
        ([255 * 2.0**120, 2.0**119, T], [1, 1, 0], [0, 0, -S], 255 * 2.0**120),
    ],
)  # fmt: skip
def test_bfloat16_by_hand(x, scale, shift, want):
    problem = {
        "x": [bfloat(*x)], "weights": [[1] * len(x)],
        "scale_in": np.float16(scale).view(np.uint16).tolist(),
        "shift_in": np.float16(shift).view(np.uint16).tolist(),
        "act_bits": 24, "act_format": "bf16",
    }  # fmt: skip
    assert fast_family(**problem) == [bfloat(want)] == reference_family(**problem)


def test_the_exponent_of_bfloat16_stops_at_minus_157():
    for x, exponent, q in ((0, -157, 0), (1, -157, 1), (7, -157, 7), (8, -156, 4), (11, -156, 6)):
        result = quantize(np.uint16([[x]]), np.float16([S]), 4, act_format="bf16")
        assert (result.exponent.tolist(), result.q.tolist()) == ([exponent], [[q]])
    top = quantize(np.uint16([[0x7F7F]]), np.float16([65504]), 8, act_format="bf16")
    assert (top.exponent.tolist(), top.q.tolist()) == ([143 - 6], [[127]])


def test_the_shift_sum_of_bfloat16_is_exact_at_the_largest_k():
    x = np.full((1, K_LIMIT), 0x7F7F, dtype=np.uint16)
    shift = np.full(K_LIMIT, 65504, dtype=np.float16)
    x[0, -1], shift[-1] = 0x0001, -S
    exact = (K_LIMIT - 1) * 255 * 2**120 * 65504 - Fraction(1, 2**157)
    assert shift_integers(x, shift, act_format="bf16") == [exact * 2**157]
    assert exact * 2**157 < 2 ** (301 + 16)


def test_torch_bfloat16_in_and_out():
    x = torch.tensor([[1.0, -2.5, 3e38, 1e-40], [0.5, 0.25, 0.0, torch.nan]], dtype=torch.bfloat16)
    layer = pack_signs(np.array([[1, -1, 1, 1]])), np.ones(4, np.float16), np.zeros(4, np.float16)
    y = fbi_linear(x.requires_grad_(), *layer, act_format="bf16")
    assert y.dtype == torch.bfloat16
    patterns = x.detach().view(torch.int16).numpy().view(np.uint16)
    want = fbi_linear(patterns, *layer, act_format="bf16")
    assert want.dtype == np.uint16
    assert y.view(torch.int16).numpy().view(np.uint16).tolist() == want.tolist()
    assert y[0, 0].item() == torch.tensor(3e38).bfloat16().item()
    assert y[1, 0].isnan()
    strided = x.detach().T.contiguous().T
    assert torch.equal(fbi_linear(strided, *layer, act_format="bf16")[0], y[0])
    assert fbi_linear(x[:0], *layer, act_format="bf16").shape == (0, 1)


# ---- kinds, shapes, errors ---------------------------------------------------------------------


@given(problems(element=anything))
@settings(REPEATABLE, max_examples=50)
def test_torch_in_torch_out_equal_to_numpy(problem):
    tensors = {
        name: torch.from_numpy(halves(problem[name]).copy())
        for name in ("x", "scale_in", "shift_in")
    }
    scale_out = problem["scale_out"]
    result = fbi_linear(
        signs=pack_signs(torch.tensor(problem["signs"])),
        scale_out=None if scale_out is None else torch.from_numpy(halves(scale_out).copy()),
        act_bits=problem["act_bits"],
        **tensors,
    )
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float16
    assert bits(result.numpy()) == fast(**problem)


def test_the_result_is_of_the_kind_of_x():
    layer = (pack_signs(np.ones((1, 2))), torch.ones(2).half(), np.zeros(2, np.float16))
    assert isinstance(fbi_linear(np.zeros((1, 2), np.float16), *layer), np.ndarray)
    assert isinstance(fbi_linear(torch.zeros(1, 2).half(), *layer), torch.Tensor)


@given(problems(element=anything), st.integers(4, 24))
@settings(REPEATABLE, max_examples=50)
def test_a_prepared_linear_is_the_same_function_again_and_again(problem, other):
    assume(other != problem["act_bits"])
    scale_out = problem["scale_out"]
    linear = PreparedLinear(
        pack_signs(np.array(problem["signs"])),
        halves(problem["scale_in"]),
        halves(problem["shift_in"]),
        scale_out=None if scale_out is None else halves(scale_out),
    )
    x = halves(problem["x"])
    before = x.copy()
    for act_bits in (problem["act_bits"], other, problem["act_bits"]):
        assert bits(linear(x, act_bits=act_bits)) == fast(**(problem | {"act_bits": act_bits}))
    assert bits(x) == bits(before)
    assert (linear.n, linear.k) == (len(problem["signs"]), len(problem["scale_in"]))


def test_views_and_empty_batches():
    layer = (pack_signs(np.ones((1, 2))), np.ones(2, np.float16), np.zeros(2, np.float16))
    wide = np.arange(12, dtype=np.float16).reshape(3, 4)
    assert fbi_linear(wide[:, ::2], *layer).tolist() == [[2], [10], [18]]
    assert fbi_linear(wide.T[:2].T, *layer).tolist() == [[1], [9], [17]]
    assert fbi_linear(wide[:0, :2], *layer).shape == (0, 1)


def test_sixteen_bits_by_default():
    x = np.float16([[1, 2.0**-14 + 2.0**-15]])  # units of 2**-14 at A = 16: a tie, to 2
    layer = (pack_signs(np.array([[1, -1], [-1, 1]])), np.float16([1, 1]), np.float16([-1, 0]))
    by_default = fbi_linear(x, *layer)
    assert bits(by_default) == bits(fbi_linear(x, *layer, act_bits=16))
    assert bits(by_default)[0][0] == half(-(2.0**-13))
    assert bits(fbi_linear(x, *layer, act_bits=24))[0][0] == half(-(2.0**-14 + 2.0**-15))


GOOD = {
    "x": np.zeros((2, 9), np.float16),
    "signs": np.zeros((3, 2), np.uint8),
    "scale_in": np.zeros(9, np.float16),
    "shift_in": np.zeros(9, np.float16),
    "scale_out": np.zeros(3, np.float16),
    "act_bits": 16,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 9))}, "x must be float16, not float64"),
        ({"x": np.zeros((2, 8), np.float16)}, "x must have shape [M, 9], not (2, 8)"),
        ({"x": np.zeros(9, np.float16)}, "x must have shape [M, 9], not (9,)"),
        ({"x": np.zeros((1, 2, 9), np.float16)}, "x must have shape [M, 9], not (1, 2, 9)"),
        ({"scale_in": np.zeros(9)}, "scale_in must be float16, not float64"),
        (
            {"scale_in": np.zeros((1, 9), np.float16)},
            "scale_in must have shape [K] with K >= 1, not (1, 9)",
        ),
        (
            {"scale_in": np.zeros(0, np.float16)},
            "scale_in must have shape [K] with K >= 1, not (0,)",
        ),
        ({"shift_in": np.zeros(9, np.int16)}, "shift_in must be float16, not int16"),
        ({"shift_in": np.zeros(8, np.float16)}, "shift_in must have shape [9], not (8,)"),
        ({"scale_out": np.zeros(3)}, "scale_out must be float16, not float64"),
        ({"scale_out": np.zeros(9, np.float16)}, "scale_out must have shape [3], not (9,)"),
        (
            {"scale_out": np.zeros((3, 3), np.float16)},
            "scale_out must have shape [3], not (3, 3)",
        ),
        (
            {"scale_out": np.zeros(3, np.float16), "group_size": 4},
            "scale_out for 9 inputs in groups of 4 must have shape [3, 3], not (3,)",
        ),
        (
            {"scale_out": np.zeros((3, 2), np.float16), "group_size": 4},
            "scale_out for 9 inputs in groups of 4 must have shape [3, 3], not (3, 2)",
        ),
        (
            {"scale_out": np.zeros((3, 3)), "group_size": 4},
            "scale_out must be float16, not float64",
        ),
        ({"group_size": 0}, "group_size must be a positive integer, not 0"),
        ({"group_size": 4.0}, "group_size must be a positive integer, not 4.0"),
        ({"group_size": True}, "group_size must be a positive integer, not True"),
        (
            {"group_size": 4, "scale_out": None},
            "group_size needs scale_out, a scale per group; 4 has none",
        ),
        ({"mask": np.zeros((3, 2), bool)}, "mask must be uint8 bytes, not bool"),
        (
            {"mask": np.zeros((2, 2), np.uint8)},
            "mask for 3 outputs of 9 inputs must have shape [3, 2], not (2, 2)",
        ),
        ({"act_format": "fp8"}, "act_format must be one of fp16, bf16, not 'fp8'"),
        ({"act_format": None}, "act_format must be one of fp16, bf16, not None"),
        (
            {"act_format": "bf16"},
            "x must be uint16 bit patterns with act_format bf16, not float16",
        ),
        (
            {"act_format": "bf16", "x": torch.zeros(2, 9)},
            "x must be torch.bfloat16 with act_format bf16, not torch.float32",
        ),
        (
            {"act_format": "bf16", "x": np.zeros((2, 8), np.uint16)},
            "x must have shape [M, 9], not (2, 8)",
        ),
        (
            {"x": torch.zeros(2, 9, dtype=torch.bfloat16)},
            "x must be of a type that numpy has, not torch.bfloat16",
        ),
        ({"signs": np.zeros((3, 2), np.int8)}, "signs must be uint8 bytes, not int8"),
        (
            {"signs": np.zeros((3, 9), np.uint8)},
            "signs for 9 inputs must have shape [N, 2] with N >= 1, not (3, 9)",
        ),
        ({"act_bits": 3}, "act_bits must be from 4 to 24, not 3"),
        ({"act_bits": 25}, "act_bits must be from 4 to 24, not 25"),
        ({"act_bits": 8.0}, "act_bits must be an integer, not 8.0"),
        ({"act_bits": True}, "act_bits must be an integer, not True"),
        (
            {
                "scale_in": np.zeros(K_LIMIT + 1, np.float16),
                "signs": np.zeros((1, K_LIMIT // 8 + 1), np.uint8),
            },
            "K must be at most 65536, not 65537",
        ),
    ],
)
def test_a_rule_and_its_message(change, message):
    with pytest.raises(InputError) as error:
        fbi_linear(**(GOOD | change))
    assert str(error.value) == message


def test_lists_are_refused():
    with pytest.raises(TypeError, match=r"^x must be a numpy array or a torch tensor, not list$"):
        fbi_linear(**(GOOD | {"x": [[0.0] * 9]}))
    message = r"^scale_in must be a numpy array or a torch tensor, not list$"
    with pytest.raises(TypeError, match=message):
        fbi_linear(**(GOOD | {"scale_in": [0.0] * 9}))


@pytest.mark.parametrize("act_bits", [*ALL_A, np.int64(8)])
def test_legal_widths(act_bits):
    result = check_act_bits(act_bits)
    assert type(result) is int
    assert result == act_bits


def test_legal_formats():
    assert [check_act_format(name) for name in ACT_FORMATS] == ["fp16", "bf16"]
