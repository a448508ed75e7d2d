"""The order in which one adder per group makes the entries of a table, an input at a time.

Neighbours in the order differ in one input only (Gray, US patent 2632058): its value, or twice its
value where the sign changes, is added to the entry before. Needs nothing but Python, so that the
simulator counts the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class TableStep:
    """One cycle of a group's adder.

    Attributes
    ----------
    lane
        Input that is added; None: the sum is cleared, nothing is added.
    negative
        It is subtracted.
    double
        Twice its value.
    coefficients
        Of the sum after this step, if it is an entry; None on the way to the first one.
    """

    lane: int | None
    negative: bool = False
    double: bool = False
    coefficients: tuple[int, ...] | None = None


@cache
def table_steps(group: int, ternary: bool) -> tuple[TableStep, ...]:
    """Return the steps that make every signed sum of `group` inputs, up to sign, once.

    Binary: clear, add up all inputs, then change one sign a step, never that of input 0: group +
    2**(group - 1) steps. Ternary: from zero on, one input a step changes by one: (3**group + 1) / 2
    steps. The first coefficient that is not zero is +1 in every sum.
    """
    return tuple(_ternary(group) if ternary else _binary(group))


def _binary(group: int) -> list[TableStep]:
    steps = [TableStep(None), *(TableStep(lane) for lane in range(group - 1))]
    sums = [1] * group
    steps.append(TableStep(group - 1, coefficients=tuple(sums)))
    for i in range(1, 1 << (group - 1)):
        lane = (i & -i).bit_length()  # one above the lowest one of i
        sums[lane] = -sums[lane]
        steps.append(TableStep(lane, sums[lane] < 0, True, tuple(sums)))
    return steps


def _ternary(group: int) -> list[TableStep]:
    sums = [0] * group
    steps = [TableStep(None, coefficients=tuple(sums))]

    def change(lane: int, by: int) -> None:
        sums[lane] += by
        steps.append(TableStep(lane, by < 0, False, tuple(sums)))

    def sweep(lanes: list[int]) -> None:
        """Go through all values of `lanes`, each of which stands at +1 or -1."""
        if not lanes:
            return
        first, *rest = lanes
        by = -sums[first]
        sweep(rest)
        for _ in range(2):
            change(first, by)
            sweep(rest)

    for first in reversed(range(group)):
        change(first, 1)
        sweep(list(range(first + 1, group)))
    return steps
