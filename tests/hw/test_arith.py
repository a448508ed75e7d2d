"""Combinational building blocks against Python integers, every width small enough in full."""

import random

import pytest
from amaranth import Module, Signal, signed

from hw.arith import (
    add_with_carry,
    bind,
    leading_one,
    maximum,
    shift_left,
    shift_right_sticky,
    tree,
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


@pytest.mark.parametrize("count", range(1, 9))
def test_maximum_and_tree(count):
    m = Module()
    items = [Signal(6, name=f"i{i}") for i in range(count)]
    largest = bind(m, maximum(m, items, "max"), "largest")
    total = bind(m, tree(items, lambda a, b: bind(m, a + b, "sum")), "total")
    source = random.Random(count)
    vectors = [[source.randrange(64) for _ in items] for _ in range(200)] + [[63] * count]
    found = evaluate(m, items, [largest, total], vectors)
    assert found == [[max(v), sum(v)] for v in vectors]
    # Balanced: one bit a level, not one bit an item.
    assert len(total) == 6 + (count - 1).bit_length()


def test_a_tree_keeps_the_order_of_its_items():
    assert tree(list("abcdefg"), lambda a, b: f"({a}{b})") == "(((ab)(cd))((ef)g))"


def test_bind_keeps_the_shape():
    m, value = Module(), Signal(signed(5))
    bound = bind(m, -value, "negated")
    assert bound.shape() == signed(6)
    assert evaluate(m, [value], [bound], [[-16], [15]]) == [[16], [-15]]


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 3), (4, 2), (2, 4)])
def test_add_with_carry(left, right):
    m, a, b, carry = Module(), Signal(signed(left)), Signal(signed(right)), Signal()
    total = bind(m, add_with_carry(m, a, b, carry, "sum"), "total")
    assert len(total) == max(left, right) + 1
    vectors = [
        [x, y, c]
        for x in range(-(1 << left - 1), 1 << left - 1)
        for y in range(-(1 << right - 1), 1 << right - 1)
        for c in (0, 1)
    ]
    assert evaluate(m, [a, b, carry], [total], vectors) == [[sum(v)] for v in vectors]
