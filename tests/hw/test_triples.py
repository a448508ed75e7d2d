"""The plan of a row of three-operand adders: complete, wide enough, and the cheapest there is."""

import random
from functools import cache

import pytest

from hw.triples import Join, Pair, plan, sum_bits

CASES = [
    *[(k, a) for k in range(1, 18) for a in (4, 8)], (32, 8), (33, 5), (48, 16), (64, 24), (512, 8)
]


def acc_bits(k_par, act_bits) -> int:
    return act_bits + (k_par - 1).bit_length()


def made(k_par, act_bits):
    return plan(k_par, act_bits, acc_bits(k_par, act_bits))


@pytest.mark.parametrize(("k_par", "act_bits"), CASES)
def test_every_input_and_every_carry_once(k_par, act_bits):
    nodes = list(made(k_par, act_bits).nodes())
    for lanes in ([node.leaves for node in nodes], [node.carries for node in nodes]):
        assert sorted(lane for some in lanes for lane in some) == list(range(k_par))
    for node in nodes:
        below = node.below if isinstance(node, Join) else ()
        # What an adder can take.
        if isinstance(node, Pair):
            assert (len(node.leaves), len(node.carries)) == (2, 1)
        elif node is nodes[0]:
            assert len(below) <= 1
            assert len(node.leaves) <= 1
            assert len(node.carries) <= 2
        else:
            assert 1 <= len(below) <= 2
            assert len(below) + len(node.leaves) >= 2
            assert len(node.carries) <= 1 + len(node.leaves)
        # A carry comes from an input here or below, and not before that.
        waiting = {lane for part in below for lane in part.deferred} | set(node.leaves)
        assert waiting == {*node.carries, *node.deferred}
        assert all(part.level == node.level + 1 for part in below)
    assert nodes[0].deferred == ()
    assert nodes[0].level == 0
    assert max(node.level for node in nodes) == made(k_par, act_bits).depth


def value(node, inputs, flips, act_bits, offset) -> int:
    """Return what an adder gives, unbounded: the accumulator's at 0."""
    total = sum(value(part, inputs, flips, act_bits, offset) for part in getattr(node, "below", ()))
    total += sum((~inputs[lane] if flips[lane] else inputs[lane]) for lane in node.leaves)
    total += sum(flips[lane] for lane in node.carries)
    total += offset if not node.level else len(node.leaves) << (act_bits - 1)
    assert total >= 0 or not node.level
    assert not node.level or total < 1 << node.bits
    return total


@pytest.mark.parametrize(("k_par", "act_bits"), CASES)
def test_no_sum_is_wider_than_its_adder(k_par, act_bits):
    found = made(k_par, act_bits)
    source = random.Random(k_par)
    most = 2 ** (act_bits - 1) - 1
    # Every input counts 2**(A-1) too much, but for one of the accumulator's own.
    offset = (len(found.root.leaves) - k_par) << (act_bits - 1)
    extremes = [([x] * k_par, [n] * k_par) for x in (most, -most) for n in (0, 1)]
    drawn = [
        (
            [source.choice([most, -most, source.randint(-most, most)]) for _ in range(k_par)],
            [source.getrandbits(1) for _ in range(k_par)],
        )
        for _ in range(20)
    ]
    for inputs, flips in extremes + drawn:
        want = sum(-x if n else x for x, n in zip(inputs, flips, strict=True))
        assert value(found.root, inputs, flips, act_bits, offset) == want
        limit = 1 << (acc_bits(k_par, act_bits) - 1)
        assert -limit <= want < limit


@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 8, 64])
def test_width_of_a_sum(lanes):
    assert 2 ** (sum_bits(lanes, 8) - 1) <= lanes * 255 < 2 ** sum_bits(lanes, 8)


@cache
def cheapest(lanes: int, left: int, a: int) -> int:
    """Return the tables of the cheapest tree of any shape: leaves `left` carries, up to 2."""
    best = a if (lanes, left) == (2, 1) else 10**6
    for leaf in (0, 1):
        for j in range(lanes - leaf):
            i = lanes - leaf - j
            if min(i, lanes - i) < 1 or (j == 0 and not leaf) or i == 1 or j == 1:
                continue
            for d in range(3):
                for e in range(3 if j else 1):
                    carries = d + e + leaf - left
                    if not 0 <= carries <= 1 + leaf:
                        continue
                    widest = max((i * (2**a - 1)).bit_length(), (j * (2**a - 1)).bit_length(), a)
                    here = min((lanes * (2**a - 1)).bit_length(), widest + 1) + (carries == 2)
                    if not leaf:
                        here = widest
                    below = cheapest(i, d, a) + (cheapest(j, e, a) if j else 0)
                    best = min(best, below + here)
    return best


@pytest.mark.parametrize("act_bits", [4, 8, 16])
def test_no_plan_is_cheaper(act_bits):
    """Against a search through all trees, uneven ones and those that defer more among them."""
    for k_par in range(1, 41):
        width = acc_bits(k_par, act_bits)
        found = [
            (cheapest(k_par - leaf, d, act_bits) if k_par > leaf else 0) + width + (leaf + d == 2)
            for leaf in (0, 1) for d in (0, 1) if (k_par > leaf or not d) and leaf + d <= 2
        ]
        assert made(k_par, act_bits).luts == min(found), k_par


def test_a_row_of_five_by_hand():
    """A8: a pair of 8 tables, twice; a join of 9 bits is 10 and one for its second carry."""
    root = plan(6, 8, 20).root
    (join,) = root.below
    assert [pair.leaves for pair in join.below] == [(0, 1), (2, 3)]
    assert (join.leaves, join.carries, join.deferred, join.bits) == ((4,), (4, 1), (3,), 11)
    assert (root.leaves, root.carries) == ((5,), (5, 3))
    assert plan(6, 8, 20).luts == 8 + 8 + (10 + 1) + (20 + 1)
