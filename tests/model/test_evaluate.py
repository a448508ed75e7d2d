import math

import pytest
import torch

from golden.errors import InputError
from model.evaluate import Perplexity, perplexity, ratio, window_losses


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


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_perplexity(bad):
    """JSON has no NaN, and a mean would hide in which of thousands it was."""

    def logits(tokens):
        out = uniform(tokens)
        out[tokens == 7] = bad
        return out

    perplexity(logits, torch.arange(7), window=7)
    with pytest.raises(InputError, match="a model's loss must be finite in every window"):
        perplexity(logits, torch.arange(14) % 8, window=7, batch=1)


def test_window_losses_are_what_perplexity_is_made_of():
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(8, 8, generator=generator)
    tokens = torch.randint(8, (50,), generator=generator)
    losses = window_losses(lambda t: table[t], tokens, window=10)
    by_hand = [
        -table[tokens[i : i + 9]].log_softmax(-1)[torch.arange(9), tokens[i + 1 : i + 10]].mean()
        for i in range(0, 50, 10)
    ]
    assert torch.allclose(losses, torch.stack(by_hand).double(), atol=1e-6)
    assert Perplexity.of(losses, 10) == perplexity(lambda t: table[t], tokens, window=10)


def test_the_interval_of_a_ratio_is_that_of_paired_differences():
    theirs = torch.tensor([1.0, 5.0, 3.0], dtype=torch.float64)  # windows differ far more
    ours = theirs + torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    result = ratio(ours, theirs)
    half = 1.96 * 0.1 / math.sqrt(3)
    assert result["ratio"] == pytest.approx(math.exp(0.2), abs=1e-5)
    assert result["ci95"] == pytest.approx([math.exp(0.2 - half), math.exp(0.2 + half)], abs=1e-5)
    assert result["windows"] == 3


@pytest.mark.parametrize("windows", [(1, 1), (3, 2)])
def test_a_ratio_needs_windows_of_both(windows):
    with pytest.raises(InputError, match="two windows or more of both models"):
        ratio(*(torch.zeros(n, dtype=torch.float64) for n in windows))
