"""The plain reference itself: float16 rounding held against numpy and against arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from golden.reference import (
    bf16_value,
    fbi_linear_vector,
    floor_log2,
    fp16_value,
    round_to_bf16,
    round_to_even,
    round_to_fp16,
)

PATTERNS = np.arange(1 << 16).astype(np.uint16)
FINITE = PATTERNS[np.isfinite(PATTERNS.view(np.float16))]
POSITIVE = range(0, 0x7C00)  # +0, subnormals, normals: magnitude grows with the pattern
TINY = Fraction(1, 2**100)


def test_every_pattern_has_the_value_that_numpy_gives_it():
    values = PATTERNS.view(np.float16).astype(np.float64)
    for bits, value in enumerate(values.tolist()):
        exact = fp16_value(bits)
        if np.isfinite(value):
            assert exact == Fraction(value)
        else:
            assert exact is None


def test_every_finite_value_rounds_to_itself():
    for bits in FINITE.tolist():
        assert round_to_fp16(fp16_value(bits)) == (bits if bits != 0x8000 else 0)


def test_every_midpoint_goes_to_the_even_neighbour_as_in_numpy():
    # The midpoint above the largest finite value is 65520, where infinity begins.
    values = np.append(PATTERNS[:0x7C00].view(np.float16).astype(np.float64), 65536.0)
    midpoints = (values[:-1] + values[1:]) / 2  # exact: 12 bits
    with np.errstate(over="ignore", under="ignore"):
        numpy_says = midpoints.astype(np.float16).view(np.uint16).tolist()
    for below, midpoint in zip(POSITIVE, midpoints.tolist(), strict=True):
        even = below + (below & 1)
        assert round_to_fp16(Fraction(midpoint)) == even == numpy_says[below]


@pytest.mark.parametrize("offset", range(2))
def test_beside_a_midpoint_the_nearer_neighbour_wins(offset):
    # Every seventh, and the neighbourhoods of the subnormal border, of a carry and of infinity.
    chosen = {*range(offset, 0x7C00, 14), *range(0x3F8, 0x408), *range(0x7BF8, 0x7C00), 0, 1, 2}
    for below in sorted(chosen):
        low = fp16_value(below)
        high = fp16_value(below + 1) if below + 1 < 0x7C00 else Fraction(65536)
        middle = (low + high) / 2
        assert round_to_fp16(middle - TINY) == below
        assert round_to_fp16(middle + TINY) == below + 1
        assert round_to_fp16(-middle + TINY) == 0x8000 | below
        assert round_to_fp16(-middle - TINY) == 0x8000 | below + 1


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (Fraction(0), 0x0000),
        (TINY, 0x0000),
        (-TINY, 0x8000),
        (Fraction(1, 2**25), 0x0000),
        (-Fraction(1, 2**25), 0x8000),
        (Fraction(3, 2**25), 0x0002),
        (Fraction(1), 0x3C00),
        (Fraction(-2), 0xC000),
        (Fraction(1, 3), 0x3555),
        (Fraction(65504), 0x7BFF),
        (Fraction(65520) - TINY, 0x7BFF),
        (Fraction(65520), 0x7C00),
        (Fraction(-65520), 0xFC00),
        (Fraction(10) ** 40, 0x7C00),
    ],
)
def test_values_by_hand(value, bits):
    assert round_to_fp16(value) == bits


def test_every_bfloat16_has_the_value_that_torch_gives_it():
    tensor = torch.from_numpy(PATTERNS.view(np.int16)).view(torch.bfloat16)
    for bits, value in enumerate(tensor.double().tolist()):
        exact = bf16_value(bits)
        if np.isfinite(value):
            assert exact == Fraction(value)
            assert round_to_bf16(exact) == (bits if value else 0)
        else:
            assert exact is None


@pytest.mark.parametrize("offset", range(2))
def test_bfloat16_midpoints_and_their_neighbours(offset):
    chosen = {*range(offset, 0x7F80, 14), *range(0x78, 0x88), *range(0x7F78, 0x7F80), 0, 1, 2}
    tiny = Fraction(1, 2**300)
    for below in sorted(chosen):
        low = bf16_value(below)
        high = bf16_value(below + 1) if below + 1 < 0x7F80 else Fraction(2) ** 128
        middle = (low + high) / 2
        assert round_to_bf16(middle) == below + (below & 1)
        assert round_to_bf16(middle - tiny) == below
        assert round_to_bf16(middle + tiny) == below + 1
        assert round_to_bf16(-middle + tiny) == 0x8000 | below
        assert round_to_bf16(-middle - tiny) == 0x8000 | below + 1


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (Fraction(0), 0x0000),
        (-Fraction(1, 2**400), 0x8000),
        (Fraction(1, 2**134), 0x0000),
        (Fraction(3, 2**134), 0x0002),
        (Fraction(1), 0x3F80),
        (Fraction(-2), 0xC000),
        (Fraction(1, 3), 0x3EAB),
        (Fraction(2) ** 128 - Fraction(2) ** 119 - 1, 0x7F7F),
        (Fraction(2) ** 128 - Fraction(2) ** 119, 0x7F80),
        (-(Fraction(10) ** 60), 0xFF80),
    ],
)
def test_bfloat16_values_by_hand(value, bits):
    assert round_to_bf16(value) == bits


def test_integers_to_even():
    halves = {-5: -2, -3: -2, -1: 0, 1: 0, 3: 2, 5: 2, 7: 4}
    for twice, rounded in halves.items():
        assert round_to_even(Fraction(twice, 2)) == rounded


@pytest.mark.parametrize("exponent", range(-60, 60))
def test_floor_log2(exponent):
    power = Fraction(2) ** exponent
    assert floor_log2(power) == exponent
    assert floor_log2(power * Fraction(2047, 1024)) == exponent
    assert floor_log2(power - TINY) == exponent - 1


def half(*values: float) -> list[int]:
    return np.array(values, dtype=np.float16).view(np.uint16).tolist()


def test_a_vector_by_hand():
    # alpha*x = (2, 1.5, -0.25), beta*x = 1 + 0 - 2 = -1.  A = 8: E = 1 - 6 = -5, all exact.
    outputs = fbi_linear_vector(
        half(4, 3, -1),
        [[1, 1, 1], [1, -1, 1], [-1, -1, -1]],
        half(0.5, 0.5, 0.25),
        half(0.25, 0, 2),
        act_bits=8,
    )
    assert outputs == half(3.25 - 1, 0.25 - 1, -3.25 - 1)


def test_scale_out_by_hand():
    # Only the signed sum is scaled: 2 * 3.25 - 1, and a scale that is no number gives NaN.
    outputs = fbi_linear_vector(
        half(4, 3, -1),
        [[1, 1, 1]] * 3,
        half(0.5, 0.5, 0.25),
        half(0.25, 0, 2),
        act_bits=8,
        scale_out=[*half(2), 0x7C00, 0xFE01],
    )
    assert outputs == [*half(5.5), 0x7E00, 0x7E00]


def test_ternary_weights_and_groups_by_hand():
    # q*2**E = (2, 1.5, -0.25), beta*x = -1. Groups (0, 1) and (2): 0.5*(2 - 1.5) - 4*(-0.25) - 1;
    # 2*2 - 1; and a group of zeros still needs a scale that is a number.
    outputs = fbi_linear_vector(
        half(4, 3, -1),
        [[1, -1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1]],
        half(0.5, 0.5, 0.25),
        half(0.25, 0, 2),
        act_bits=8,
        scale_out=[half(0.5, -4), half(2, 65504), half(1, 1), [0x7C00, *half(1)]],
        group_size=2,
    )
    assert outputs == [*half(0.25 + 1 - 1, 4 - 1, -1), 0x7E00]


def test_bfloat16_by_hand():
    # x = (4, 3, -1) as above in bfloat16; then what float16 cannot hold, and its own NaN.
    x = [0x4080, 0x4040, 0xBF80]
    coefficients = half(0.5, 0.5, 0.25), half(0.25, 0, 2)
    outputs = fbi_linear_vector(x, [[1, 1, 1]], *coefficients, act_bits=8, act_format="bf16")
    assert outputs == [0x4010]  # 2.25
    big = fbi_linear_vector([0x7F00], [[1], [-1]], half(0.5), half(0), act_bits=8,
                            act_format="bf16")  # fmt: skip
    assert big == [0x7E80, 0xFE80]  # 2**126
    assert fbi_linear_vector([0x7F80], [[1]], half(1), half(0), act_bits=8,
                             act_format="bf16") == [0x7FC0]  # fmt: skip


@pytest.mark.parametrize("bad", [0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFFFF])
@pytest.mark.parametrize("role", range(3))
def test_poison(bad, role):
    vectors = [half(0, 0), half(0, 0), half(0, 0)]
    vectors[role][1] = bad
    x, scale, shift = vectors
    assert fbi_linear_vector(x, [[1, -1]] * 2, scale, shift, act_bits=8) == [0x7E00] * 2
