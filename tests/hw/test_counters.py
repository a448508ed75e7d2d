"""Counters against Python integers; what they decide is tested with the blocks that ask it."""

import pytest
from amaranth import Module, Signal

from hw.counters import count_down

from ..simulation import evaluate


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8])
def test_counting_down(step):
    m = Module()
    count, start = Signal(4), Signal(4)
    counting, advance = Signal(), Signal()
    follows = count_down(
        m, count, step, counting=counting, advance=advance, start=start, name="follows"
    )
    vectors = [
        (value, given, runs, goes)
        for value in range(16) for given in (0, 5, 15)
        for runs in (0, 1) for goes in range(runs + 1)
    ]  # fmt: skip
    found = evaluate(m, [count, start, counting, advance], [follows], vectors)
    for (value, given, runs, goes), (result,) in zip(vectors, found, strict=True):
        assert result == ((value - step * goes) % 16 if runs else given)
