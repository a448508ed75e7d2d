"""The order of a table's entries: every sum once, each step one input."""

from itertools import product

import pytest

from hw.table_steps import table_steps

CASES = [(group, False) for group in range(1, 7)] + [(group, True) for group in range(1, 5)]


@pytest.mark.parametrize(("group", "ternary"), CASES)
def test_every_signed_sum_up_to_sign_once(group, ternary):
    steps = table_steps(group, ternary)
    sums = [0] * group
    made = []
    assert steps[0].lane is None
    for step in steps[1:]:
        change = (-1 if step.negative else 1) * (2 if step.double else 1)
        sums[step.lane] += change
        assert step.coefficients in (None, tuple(sums))
        made += [step.coefficients] if step.coefficients else []
    if ternary:
        assert steps[0].coefficients == (0,) * group
        made.append(steps[0].coefficients)
    digits = (-1, 0, 1) if ternary else (-1, 1)
    wanted = [v for v in product(digits, repeat=group) if next((c for c in v if c), 1) > 0]
    assert sorted(made) == sorted(wanted)
    assert len(steps) == (len(wanted) if ternary else group + 2 ** (group - 1))
