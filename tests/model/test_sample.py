import pytest
import torch

from golden.errors import InputError
from model.sample import Sampler, keep_varied

from .tiny import teacher


@pytest.mark.parametrize("span", [3, 4, 128])
def test_cached_decoding_equals_the_full_forward(monkeypatch, span):
    """With min_p near 1 the likeliest token is taken; the cache must not change which."""
    monkeypatch.setattr("model.sample.FIRST_WORD_ID", 3)
    monkeypatch.setattr("model.sample.SPAN", span)
    model = teacher()
    seeds = torch.tensor([[0, 5, 7], [0, 9, 0], [0, 0, 0]])
    count = torch.tensor([3, 2, 1])
    sampler = Sampler(model, batch=3, length=9, min_p=0.999999)
    other = sampler.run(seeds + (seeds > 0), count)
    out = sampler.run(seeds, count)  # a cache full of other sequences must not be seen
    assert not torch.equal(out, other)
    for row, width in zip(out, count.tolist(), strict=True):
        for position in range(width, 9):
            logits = model.logits(row[None, :position])[0, -1]
            logits[1:3] = -torch.inf  # special tokens: the chat end counts as the end of text
            chat_end = model.logits(row[None, :position])[0, -1, 2]
            expected = 0 if chat_end > logits.max() else int(logits.argmax())
            assert row[position] == expected
    assert out[0, :3].tolist() == [0, 5, 7]


def test_sampling_is_reproducible_and_varied(monkeypatch):
    monkeypatch.setattr("model.sample.FIRST_WORD_ID", 3)
    model = teacher()
    seeds, count = torch.zeros(4, 1, dtype=torch.int64), torch.ones(4, dtype=torch.int64)

    def draw(seed):
        torch.manual_seed(seed)
        return Sampler(model, batch=4, length=20, temperature=2.0).run(seeds, count)

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert not ((draw(0) == 1) | (draw(0) == 2)).any()


def test_rows_that_repeat_themselves_are_dropped():
    varied, loop = torch.arange(20), torch.arange(20) % 3
    assert torch.equal(keep_varied(torch.stack((varied, loop))), varied[None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"min_p": 1.0}, "min_p must be at least 0 and below 1, not 1.0"),
        ({"length": 65}, "length must be 2 to 64 tokens, not 65"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Sampler(teacher(), **{"batch": 1, "length": 8, **options})
