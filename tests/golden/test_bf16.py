"""bfloat16 in numpy, held against exact rationals and against torch's own type."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import bf16
from golden.reference import bf16_value, round_to_bf16

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=500)
PATTERNS = np.arange(1 << 16).astype(np.uint16)
FINITE = PATTERNS[(PATTERNS >> 7) % 256 != 255]


def test_finite_is_what_torch_says():
    tensor = torch.from_numpy(PATTERNS.view(np.int16)).view(torch.bfloat16)
    assert np.array_equal(bf16.is_finite(PATTERNS), tensor.isfinite().numpy())


def test_every_finite_pattern_decodes_to_its_value():
    mantissa, exponent = bf16.decode(FINITE)
    assert (np.abs(mantissa) < 256).all()
    assert (exponent >= 1).all()
    assert (exponent <= 254).all()
    for bits, m, e in zip(FINITE.tolist(), mantissa.tolist(), exponent.tolist(), strict=True):
        assert m * Fraction(2) ** (e - 134) == bf16_value(bits)
    assert Fraction(2) ** bf16.LSB_EXP == bf16_value(1)


def test_every_finite_value_rounds_to_itself():
    values = np.array([float(bf16_value(b)) for b in FINITE.tolist()])
    assert np.array_equal(bf16.from_float64(values), np.where(FINITE == 0x8000, 0, FINITE))
    assert bf16.from_float64(np.array([-0.0])).tolist() == [0x8000]


def test_midpoints_go_to_even_and_their_neighbours_to_the_nearer():
    # All steps of magnitude; above the largest finite value the step ends at 2**128: infinity.
    low = np.array([float(bf16_value(b)) for b in range(0x7F80)])
    high = np.append(low[1:], 2.0**128)
    middle = (low + high) / 2
    below = np.arange(0x7F80)
    for sign, bit in ((1, 0), (-1, 0x8000)):
        even = below + below % 2 | bit
        assert np.array_equal(bf16.from_float64(sign * middle), even)
        assert np.array_equal(bf16.from_float64(sign * np.nextafter(middle, 0)), below | bit)
        assert np.array_equal(
            bf16.from_float64(sign * np.nextafter(middle, np.inf)), below + 1 | bit
        )


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
@REPEATABLE
def test_float32_rounds_as_torch_rounds_it(value):
    want = torch.tensor([value]).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert bf16.from_float64(np.array([value], dtype=np.float64)).tolist() == want.tolist()


@given(
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.one_of(st.integers(-200, 160), st.integers(-190, -170), st.integers(70, 80)),
)
@REPEATABLE
def test_float64_rounds_once(mantissa, exponent):
    value = float(np.ldexp(float(mantissa), exponent))
    assert bf16.from_float64(np.array([value])).tolist() == [round_to_bf16(Fraction(value))]


@pytest.mark.parametrize(("value", "bits"), [(2.0**127, 0x7F00), (2.0**161, 0x7F80)])
def test_the_top_by_hand(value, bits):
    assert bf16.from_float64(np.array([value, -value])).tolist() == [bits, bits | 0x8000]

def window_drain(exponent: int, b: int, bound: int):
    """Return a function of Z: RN(Z * 2**exponent + b * 2**-157) from narrow integers alone.

    Design record 4: per vector, exact `b` is reduced to what can matter beside any |Z| < 2**bound;
    per output, only an adder, a leading-one search and a rounding of the returned width remain.
    """
    e = exponent + 157
    far_bits = bound + 2  # F - E: |Z| is below a quarter of 2**F
    top = abs(b).bit_length() - 1
    if top - 9 >= e + far_bits:
        # B = t*G + u. V keeps its place between multiples of G whether G is G or 2**F.
        g = top - 9
        t, u = b >> g, b & ((1 << g) - 1)
        edge = 1 << (e + far_bits)
        if u > (1 << g) - edge // 2:
            t, u = t + 1, u - (1 << g)
        # In the middle of the interval Z does not matter: no Z carries over edge // 2.
        u = min(u, edge // 2)
        low, sticky = u >> e, u & ((1 << e) - 1) != 0
        base, offset = (t << far_bits) + low, g - far_bits
        special = {}
        fraction = 0
    else:
        cut = max(e - 8, 0)
        fraction = e - cut
        base, sticky, offset = b >> cut, b & ((1 << cut) - 1) != 0, cut
        rest = b & ((1 << e) - 1)
        zero = -(b >> e)  # the Z that leave less than one unit of 2**E: two constants per vector
        special = {zero: rest, zero - 1: rest - (1 << e)}

    def output(z: int) -> tuple[int, int]:
        if z in special:
            return round_to_bf16(Fraction(special[z], 2**157)), 0
        total = (z << fraction) + base
        # The sticky bit stands for any fraction: one half will do.
        value = (Fraction(total) + Fraction(int(sticky), 2)) * Fraction(2) ** (offset - 157)
        return round_to_bf16(value), total.bit_length() + 1

    return output


@pytest.mark.parametrize("seed", range(4))
def test_the_drain_needs_a_narrow_window_of_the_exact_sum(seed):
    random = np.random.default_rng(seed)
    widest = {}
    for _ in range(4000):
        bound = int(random.integers(3, 41))
        e = int(random.choice([0, 1, 5, 9, 30, 150, 300 - bound]))
        size = int(random.choice([0, 3, e, e + 4, e + bound, e + bound + 11, e + bound + 12, 317]))
        b = int.from_bytes(random.bytes(40), "little") >> (320 - size) if size else 0
        if random.random() < 0.5 and size > 12:  # next to a multiple of what rounding cuts at
            near = size - int(random.integers(7, 12))
            b = (b >> near << near) + int(random.integers(-3, 4)) * int(random.choice([1, 1 << e]))
        b *= int(random.choice([-1, 1]))
        output = window_drain(e - 157, b, bound)
        limit = (1 << bound) - 1
        around = [-(b >> e) + int(d) for d in random.integers(-3, 4, 3)]
        zs = [*around, limit, -limit, 0, int(random.integers(-limit, limit + 1))]
        for z in zs:
            if abs(z) <= limit:
                got, width = output(z)
                assert got == round_to_bf16(Fraction((z << e) + b, 2**157))
                widest[bound] = max(widest.get(bound, 0), width - bound)
    assert max(widest.values()) <= 22  # and a sticky bit
    assert max(widest.values()) >= 20
