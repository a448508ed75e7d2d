"""Combinational building blocks against Python integers, every width small enough in full."""

import random

import pytest
from amaranth import Cat, Const, Module, Signal, signed

from hw.arith import (
    at_most,
    bind,
    equals,
    leading_one,
    select,
    shift_left,
    shift_right_sticky,
    tree,
    up_down,
)

from ..simulation import evaluate


def samples(width: int, count: int = 200) -> list[int]:
    """Return every value of a narrow signal; edges and random ones of a wide one."""
    if width <= 8:
        return list(range(1 << width))
    source = random.Random(width)
    edges = [0, 1, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1]
    powers = [1 << i for i in range(width)]
    return edges + powers + [
        source.getrandbits(source.randint(1, width)) for _ in range(count)
    ]


@pytest.mark.parametrize("number", [0, 1, 2, 5, 31, 32, 44, 62, 63, 64])
def test_at_most(number):
    m, value = Module(), Signal(6)
    found = evaluate(m, [value], [bind(m, at_most(value, number), "b")], [[v] for v in range(64)])
    assert found == [[int(v <= number)] for v in range(64)]


def test_up_down():
    m, count, up, down = Module(), Signal(3), Signal(), Signal()
    after = Signal(3)
    m.d.comb += after.eq(up_down(count, up, down))
    vectors = [[c, u, d] for c in range(8) for u in (0, 1) for d in (0, 1)]
    found = evaluate(m, [count, up, down], [after], vectors)
    assert found == [[(c + u - d) % 8] for c, u, d in vectors]


@pytest.mark.parametrize("width", [*range(1, 10), 16, 22, 31, 32, 33, 98])
def test_leading_one(width):
    m, value = Module(), Signal(width)
    position = leading_one(m, value, "top")
    values = samples(width)
    found = evaluate(m, [value], [position], [[v] for v in values])
    assert found == [[max(v.bit_length() - 1, 0)] for v in values]


@pytest.mark.parametrize(
    ("width", "amount_bits"), [(1, 1), (1, 3), (5, 2), (8, 3), (8, 5), (75, 7)]
)
def test_shift_right_sticky(width, amount_bits):
    m, value, amount = Module(), Signal(width), Signal(amount_bits)
    shifted, lost = shift_right_sticky(m, value, amount, "shift")
    assert len(shifted) == width
    vectors = [[v, a] for v in samples(width) for a in range(0, 1 << amount_bits, 1 + width // 40)]
    found = evaluate(m, [value, amount], [shifted, lost], vectors)
    assert found == [[v >> a, int(v & ((1 << a) - 1) != 0)] for v, a in vectors]


@pytest.mark.parametrize(("width", "near_bits", "far_bits"), [(8, 2, 2), (20, 4, 2)])
def test_shift_right_in_two_steps(width, near_bits, far_bits):
    """What the first step lost is not forgotten by the second."""
    m, value, amount = Module(), Signal(width), Signal(near_bits + far_bits)
    far = Cat(Const(0, near_bits), amount[near_bits:])
    middle, lost = shift_right_sticky(m, value, far, "far")
    shifted, lost = shift_right_sticky(m, middle, amount[:near_bits], "near", lost=lost)
    vectors = [[v, a] for v in samples(width) for a in range(1 << near_bits + far_bits)]
    found = evaluate(m, [value, amount], [shifted, lost], vectors)
    assert found == [[v >> a, int(v & ((1 << a) - 1) != 0)] for v, a in vectors]


@pytest.mark.parametrize(
    ("width", "amount_bits", "result"), [(1, 1, 1), (3, 3, 12), (8, 4, 8), (8, 3, 16), (22, 6, 80)]
)
@pytest.mark.parametrize("kind", ["unsigned", "signed"])
def test_shift_left(width, amount_bits, result, kind):
    shape = signed(width) if kind == "signed" else width
    m, value, amount = Module(), Signal(shape), Signal(amount_bits)
    shifted = shift_left(m, value, amount, result, "shift")
    assert len(shifted) == result
    assert shifted.shape().signed == (kind == "signed")
    values = samples(width)
    if kind == "signed":
        values = [v - (1 << width) if v >> (width - 1) else v for v in values]
    vectors = [[v, a] for v in values for a in range(1 << amount_bits)]
    found = evaluate(m, [value, amount], [shifted], vectors)
    for (v, a), (got,) in zip(vectors, found, strict=True):
        want = (v << a) % (1 << result)  # truncated
        if kind == "signed" and want >> (result - 1):
            want -= 1 << result
        assert got == want


def test_bind_keeps_the_shape():
    m, value = Module(), Signal(signed(5))
    bound = bind(m, -value, "negated")
    assert bound.shape() == signed(6)
    assert evaluate(m, [value], [bound], [[-16], [15]]) == [[16], [-15]]


@pytest.mark.parametrize("width", [1, 3, 6])
def test_equals(width):
    m, value = Module(), Signal(width)
    numbers = range(1 << width)
    found = [bind(m, equals(value, number), f"is_{number}") for number in numbers]
    assert all(len(one) == 1 for one in found)
    values = evaluate(m, [value], found, [[v] for v in numbers])
    assert values == [[int(v == number) for number in numbers] for v in numbers]


@pytest.mark.parametrize(("count", "bits"), [(1, 0), (1, 2), (2, 1), (3, 2), (8, 3), (11, 4)])
@pytest.mark.parametrize("kind", ["unsigned", "signed"])
def test_select(count, bits, kind):
    m, index = Module(), Signal(bits)
    options = [Signal(signed(5) if kind == "signed" else 5, name=f"o{i}") for i in range(count)]
    chosen = bind(m, select(m, options, index, "chosen"), "result")
    assert chosen.shape() == options[0].shape()
    source = random.Random(count)
    low = -16 if kind == "signed" else 0
    values = source.sample(range(low, low + 32), count)  # all different
    inputs = [*options, index] if bits else options
    vectors = [[*values, i] if bits else values for i in range(1 << bits)]
    found = [row[0] for row in evaluate(m, inputs, [chosen], vectors)]
    assert found[:count] == values
    assert set(found[count:]) <= set(values)  # an index too large gives one of them


def test_a_tree_keeps_the_order_of_its_items():
    assert tree(list("abcdefg"), lambda a, b: f"({a}{b})") == "(((ab)(cd))((ef)g))"
