import math

import pytest
import torch

from golden.errors import InputError
from model.evaluate import perplexity


def uniform(tokens):
    return torch.zeros(*tokens.shape, 8)


def test_uniform_model_has_the_vocabulary_as_perplexity():
    result = perplexity(uniform, torch.arange(50) % 8, window=10)
    assert result.perplexity == pytest.approx(8)
    assert (result.windows, result.window) == (5, 10)
    assert result.bits_per_byte(1.5) == pytest.approx(2.0)


def test_mean_over_windows_by_hand():
    """The second window's predictions are right with probability 3/4, the first's 1/4."""

    def logits(tokens):
        out = torch.zeros(*tokens.shape, 2)
        out[..., 1] = math.log(3)
        return out

    tokens = [0, 0, 0, 1, 1, 1, 1]  # the last one is dropped
    expected = math.exp((math.log(4) + math.log(4 / 3)) / 2)
    for batch in (1, 8):
        result = perplexity(logits, tokens, window=3, batch=batch)
        assert result.perplexity == pytest.approx(expected)


def test_windows_do_not_see_each_other():
    seen = []

    def logits(tokens):
        seen.append(tokens.tolist())
        return uniform(tokens)

    perplexity(logits, range(8), window=4, windows=2, batch=1)
    assert seen == [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1}, "window must be at least 2 tokens, not 1"),
        ({"window": 9}, "a window of 9 tokens needs as many, not 8"),
        ({"window": 4, "windows": 3}, "3 windows of 4 need more than 8 tokens"),
    ],
)
def test_bad_windows_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        perplexity(uniform, torch.arange(8), **options)
