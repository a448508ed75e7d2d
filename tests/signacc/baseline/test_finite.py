"""The first linear that meets or makes NaN or infinity is named; it needs no GPU and no Triton."""

import pytest
import torch

from signacc.baseline.errors import GateError
from signacc.baseline.finite import Finite


class Doubling:
    """A path whose linears double their input, with one value spoilt on demand."""

    name = "doubling"

    def __init__(self, spoil=None, value=torch.nan):
        self.spoil, self.value = spoil, value

    def linear(self, layer, part, x, y):
        out = 2 * x if y is None else y.add_(2 * x)
        if self.spoil == (layer, part):
            out[0, 1] = self.value
        return out

    def head(self, x):
        return self.linear(-1, "head", x, None)


def run(path):
    x = torch.ones(2, 3)
    for layer in range(2):
        h = path.linear(layer, "qkv", x, None)
        path.linear(layer, "out", h, x)
    return path.head(x)


def test_finite_values_pass_unchanged():
    path = Finite(Doubling(), "decode")
    torch.testing.assert_close(run(path), run(Doubling()))
    assert path.name == "doubling"


@pytest.mark.parametrize(
    ("spoil", "value", "where"),
    [
        ((0, "qkv"), torch.nan, "the output of layer 0, qkv must be finite"),
        ((1, "out"), torch.inf, "the output of layer 1, out must be finite"),
        ((-1, "head"), -torch.inf, "the output of the head must be finite"),
    ],
)
def test_the_first_linear_is_named(spoil, value, where):
    with pytest.raises(GateError) as error:
        run(Finite(Doubling(spoil, value), "decode at position 3, batch 2"))
    assert str(error.value) == (
        f"decode at position 3, batch 2: {where}, but 1 of 6 values are not, the first is "
        f"{float(value)}; this path is not timed"
    )


def test_what_stands_between_linears_shows_in_the_next_ones_input():
    path = Finite(Doubling(), "prefill")
    with pytest.raises(GateError, match=r"the input of layer 1, out must be finite, but 2 of 6"):
        path.linear(1, "out", torch.tensor([[1, torch.nan, 2], [3, torch.inf, 4]]), None)
