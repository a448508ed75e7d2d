import math

import numpy as np
import pytest
import torch

from golden.errors import InputError
from model.data import save_shard
from model.sample import Sampler, keep_varied, sample_shards

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


@pytest.fixture
def write(monkeypatch, tmp_path):
    """Return a function that writes shards into a folder of tmp_path and returns their bytes."""
    monkeypatch.setattr("model.sample.FIRST_WORD_ID", 3)
    seeds = np.full((5, 24), 65535, np.uint16)
    seeds[:, 0], seeds[:, 1] = 0, np.arange(4, 9)
    save_shard(tmp_path / "seeds.npy", seeds)
    said = []

    def run(folder, **options):
        made = sample_shards(
            teacher(), tmp_path / "seeds.npy", tmp_path / folder, batch=32, length=12,
            temperature=2.0, min_p=0.0, say=said.append,
            **{"seconds": math.inf, "shards": 5, "rank": 0, "ranks": 1, "seed": 7} | options,
        )  # fmt: skip
        files = sorted((tmp_path / folder).iterdir())
        return made, {file.name: file.read_bytes() for file in files}

    run.said = said
    return run


def test_what_a_shard_holds_does_not_depend_on_who_makes_it(write):
    made, alone = write("alone")
    assert made == 5
    assert list(alone) == [f"sampled-7-{number:04d}.npy" for number in range(5)]
    assert len(set(alone.values())) == 5
    assert [write("two", rank=rank, ranks=2)[0] for rank in (1, 0)] == [2, 3]
    assert write("two", shards=5)[1] == alone
    assert write("other", seed=8, shards=1)[1]["sampled-8-0000.npy"] not in alone.values()


def test_shards_that_are_there_are_not_made_again(write, tmp_path):
    _, whole = write("whole")
    assert write("part", shards=2)[0] == 2
    (tmp_path / "part" / "sampled-7-0000.npy").write_bytes(b"kept as it is")
    made, found = write("part")
    assert made == 3
    assert found == whole | {"sampled-7-0000.npy": b"kept as it is"}


def test_time_limits_shards_and_one_is_always_made(write):
    assert write("brief", seconds=0.0)[0] == 1
    assert write("brief", seconds=0.0, rank=1, ranks=2)[0] == 1
    assert write("rank", rank=7, ranks=8)[0] == 0  # there are 5
    assert write.said[-1].startswith("device 1, shard 1: kept ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "ranks": 2}, "rank must be at least 0 and below the 2 ranks, not 2"),
        ({"rank": -1}, "rank must be at least 0 and below the 1 ranks, not -1"),
        ({"shards": 0}, "shards must be at least 1, not 0"),
    ],
)
def test_bad_numbers_of_shards_are_refused(write, options, message):
    with pytest.raises(InputError, match=message):
        write("none", **options)
