"""Requests: what they hold, and what is no request."""

import numpy as np
import pytest

from sim.errors import InputError
from sim.serving.requests import Requests, picoseconds


def make(arrival, prompt=(5, 6), output=(1, 2)):
    return Requests(*(np.array(x, dtype=np.int64) for x in (arrival, prompt, output)))


def test_positions_and_choice():
    two = make([0, 3])
    assert two.positions.tolist() == [5, 7]
    assert two.select(np.array([False, True])).arrival.tolist() == [3]
    assert picoseconds(1.5) == 1_500_000_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrival": [0]}, "there are 1, 2 and 2"),
        ({"arrival": [4, 3]}, "in order"),
        ({"arrival": [-1, 3]}, "from 0 s on"),
        ({"prompt": (0, 5)}, "prompt tokens of a request must be at least 1, not 0"),
        ({"output": (3, -2)}, "output tokens of a request must be at least 1, not -2"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(InputError, match=message):
        make(**{"arrival": [0, 3], **changes})
