"""The adders of structure triple against integers: all that they add, at every edge."""

import random

import pytest
from amaranth import Module
from amaranth.hdl import Value

from hw.adders import JoinAdder, PairAdder

from ..simulation import evaluate


def signed_range(width: int) -> range:
    return range(-(1 << width - 1), 1 << width - 1)


def flipped(q: int, n: int) -> int:
    return ~q if n else q


def found(adder, names, vectors) -> list[int]:
    m = Module()
    m.submodules.adder = adder
    inputs = [Value.cast(getattr(adder, name)) for name in names]
    return [y for (y,) in evaluate(m, inputs, [adder.y], vectors)]


def test_a_pair():
    span = signed_range(4)
    vectors = [
        (q0, q1, n0, n1, c)
        for q0 in span for q1 in span for n0 in (0, 1) for n1 in (0, 1) for c in (0, 1)
    ]
    assert found(PairAdder(4), ("q0", "q1", "n0", "n1", "c"), vectors) == [
        flipped(q0, n0) + flipped(q1, n1) + c + 16 for q0, q1, n0, n1, c in vectors
    ]


@pytest.mark.parametrize("offset", [0, 1, 2, -5, 1000])
@pytest.mark.parametrize(("leaf", "carries"), [(1, 2), (1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize(
    ("act_bits", "a_bits", "b_bits", "bits"), [(4, 5, 5, 7), (4, 9, 1, 9), (8, 10, 9, 12)]
)
def test_a_join(act_bits, a_bits, b_bits, bits, leaf, carries, offset):
    """What it is made without is ignored."""
    seed = bits + offset
    source = random.Random(seed)
    adder = JoinAdder(
        act_bits, a_bits, b_bits, bits, leaf=bool(leaf), carries=carries, offset=offset
    )
    vectors = [
        (a, b, q, n, c0, c1)
        for a in (0, 2**a_bits - 1) for b in (0, 2**b_bits - 1)
        for q in (0, -1, -(2 ** (act_bits - 1)), 2 ** (act_bits - 1) - 1)
        for n in (0, 1) for c0 in (0, 1) for c1 in (0, 1)
    ]
    for _ in range(200):
        vectors.append(
            (
                source.getrandbits(a_bits), source.getrandbits(b_bits),
                source.choice(signed_range(act_bits)), *(source.getrandbits(1) for _ in range(3)),
            )
        )
    names = ("a", "b", "q", "n", "c0", "c1")
    assert found(adder, names, vectors) == [
        (a + b + leaf * flipped(q, n) + (offset << (act_bits - 1)) + sum(c[:carries]))
        % (1 << bits)
        for a, b, q, n, *c in vectors
    ], seed
