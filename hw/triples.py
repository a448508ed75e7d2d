"""The plan of a row of structure triple: which inputs meet in which adder of three operands.

An input q counts as ``q ^ n``, all its bits flipped if its weight is -1 (n = 1): that is q or
``-q - 1``, so every n has to be added once more, as a carry. Two kinds of adders join inputs:

- a *pair* adds two inputs and one of their carries;
- a *join* adds one or two sums and one input, and up to two carries.

Sums are kept above zero: every input counts 2**(A-1) more than it is, so no sign is extended, and
the accumulator's join takes off what is too much. The plan is the one of fewest look-up tables on
a device whose tables have two outputs of five inputs (UltraScale+): one table for a bit of either
adder, and one more for a join's second carry. Needs only the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

_NEVER = 1 << 62


@dataclass(frozen=True)
class Pair:
    """The sum of two inputs and a carry.

    Attributes
    ----------
    leaves
        The two lanes.
    carries
        Lanes whose n is added here: the first.
    deferred
        Lanes below whose n is still to be added: the second.
    level
        Adders from here to the accumulator: 1 for the one that gives what is accumulated.
    bits
        Unsigned width of the sum.
    """

    leaves: tuple[int, ...]
    carries: tuple[int, ...]
    deferred: tuple[int, ...]
    level: int
    bits: int


@dataclass(frozen=True)
class Join:
    """The sum of up to two sums, at most one input, and carries.

    Attributes
    ----------
    below
        The sums: pairs or joins. In the accumulator's join at most one.
    leaves
        The lane of the input, or none.
    carries
        Lanes whose n is added here, at most two.
    deferred, level, bits
        As in a Pair; the accumulator's join has level 0.
    """

    below: tuple[Pair | Join, ...]
    leaves: tuple[int, ...]
    carries: tuple[int, ...]
    deferred: tuple[int, ...]
    level: int
    bits: int


@dataclass(frozen=True)
class Plan:
    """All adders of a row.

    Attributes
    ----------
    root
        The accumulator's join.
    depth
        Levels of adders before it.
    luts
        Look-up tables of two outputs that the plan takes, the accumulator's among them.
    """

    root: Join
    depth: int
    luts: int

    def nodes(self) -> Iterator[Pair | Join]:
        """Give every adder once, the accumulator's first."""
        waiting: list[Pair | Join] = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, Join):
                waiting += node.below


def sum_bits(lanes: int, act_bits: int) -> int:
    """Unsigned width of the sum of `lanes` inputs: each is from 0 to 2**A - 1."""
    return (lanes * ((1 << act_bits) - 1)).bit_length()


@dataclass(frozen=True)
class _Choice:
    """The best tree of some lanes: its cost, and of what it is made."""

    luts: int = _NEVER
    depth: int = 0
    below: tuple[tuple[int, int], ...] = ()  # (lanes, deferred) of each operand
    leaf: int = 0


@cache
def _best(lanes: int, deferred: int, act_bits: int) -> _Choice:
    """Return the tree of `lanes` inputs that leaves `deferred` carries, 0 or 1, to others."""
    best = _Choice()
    if lanes == 2 and deferred:
        best = _Choice(act_bits, 1)
    for leaf in (0, 1):
        # No best plan of up to 139 inputs at A 4, 8, 16, 24 splits less evenly than this.
        least = (lanes - leaf) // 3 if lanes > 8 else 0
        for right in reversed(range(least, (lanes - leaf) // 2 + 1)):
            left = lanes - leaf - right
            if right == 1 or left < 2 or left == lanes:
                continue
            if _floor(left, act_bits) + _floor(right, act_bits) >= best.luts:
                continue
            for operands in _operands(left, right):
                choices = [_best(*operand, act_bits) for operand in operands]
                below = sum(choice.luts for choice in choices)
                carries = sum(d for _, d in operands) + leaf - deferred
                if below >= best.luts or not 0 <= carries <= 1 + leaf:
                    continue
                luts = below + _join_luts(operands, leaf, carries, act_bits)
                depth = 1 + max(choice.depth for choice in choices)
                if (luts, depth) < (best.luts, best.depth):
                    best = _Choice(luts, depth, operands, leaf)
    return best


@cache
def _floor(lanes: int, act_bits: int) -> int:
    return min(_best(lanes, d, act_bits).luts for d in (0, 1)) if lanes else 0


def _operands(left: int, right: int) -> list[tuple[tuple[int, int], ...]]:
    if not right:
        return [((left, d),) for d in (0, 1)]
    return [((left, d), (right, e)) for d in (0, 1) for e in (0, 1)]


def _join_luts(
    operands: tuple[tuple[int, int], ...], leaf: int, carries: int, act_bits: int
) -> int:
    """Return the tables of a join: one a bit but for a last carry, one for a second carry."""
    widest = max([sum_bits(lanes, act_bits) for lanes, _ in operands] + [act_bits] * leaf)
    if not leaf:
        return widest
    lanes = sum(lanes for lanes, _ in operands) + leaf
    return min(sum_bits(lanes, act_bits), widest + 1) + (carries == 2)


@cache
def plan(k_par: int, act_bits: int, acc_bits: int) -> Plan:
    """Return the plan of a row of `k_par` inputs of `act_bits` bits."""
    best: tuple[int, int, int, int] | None = None
    for leaf in (0, 1):
        lanes = k_par - leaf
        for deferred in (0, 1):
            tree = _best(lanes, deferred, act_bits) if lanes else _Choice(0)
            if tree.luts == _NEVER or (not lanes and deferred):
                continue
            luts = tree.luts + acc_bits + (leaf + deferred == 2)
            if best is None or (luts, tree.depth) < best[:2]:
                best = (luts, tree.depth, leaf, deferred)
    luts, depth, leaf, deferred = best
    lanes = k_par - leaf
    below = (_place(lanes, deferred, act_bits, 0, 1),) if lanes else ()
    leaves = (lanes,) if leaf else ()
    carries = leaves + tuple(lane for node in below for lane in node.deferred)
    return Plan(Join(below, leaves, carries, (), 0, acc_bits), depth, luts)


def _place(lanes: int, deferred: int, act_bits: int, first: int, level: int) -> Pair | Join:
    """Return the tree of the lanes from `first` on, as late as it can be."""
    choice = _best(lanes, deferred, act_bits)
    bits = sum_bits(lanes, act_bits)
    if not choice.below:
        return Pair((first, first + 1), (first,), (first + 1,), level, bits)
    below, lane = [], first
    for size, left in choice.below:
        below.append(_place(size, left, act_bits, lane, level + 1))
        lane += size
    leaves = (lane,) if choice.leaf else ()
    waiting = leaves + tuple(lane for node in below for lane in node.deferred)
    count = len(waiting) - deferred
    return Join(tuple(below), leaves, waiting[:count], waiting[count:], level, bits)
