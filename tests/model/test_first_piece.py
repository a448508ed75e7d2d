import pytest
import torch

from golden.errors import InputError
from model.first_piece import FirstPiece


def test_sums_probabilities():
    first = torch.tensor([0, 1, 2, 1, 0, 1])
    pool = FirstPiece(first, 3)
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(5, 3).index_add_(1, first, logits.softmax(-1))
    assert torch.allclose(pool(logits[:, pool.order]), expected[:, pool.columns], atol=1e-6)
    assert pool.columns.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "first", [[2, 0, 3, 1, 1, 3, 1], [0, 1, 1, 0], [1, 0, 2]], ids=["some", "all", "none"]
)
def test_sums_of_most_tokens_stand_first(first):
    size = max(first) + 1
    pool = FirstPiece(torch.tensor(first), size)
    assert pool.columns.tolist() == sorted(range(size), key=lambda i: -first.count(i))
    extras = [first.count(i) - 1 for i in pool.columns.tolist() if first.count(i) > 1]
    assert pool.ends.tolist() == [sum(extras[: n + 1]) for n in range(len(extras))]
    assert pool.columns[pool.place].tolist() == list(range(size))
    logits = torch.randn(5, len(first), generator=torch.Generator().manual_seed(1))
    expected = torch.zeros(5, size).index_add_(1, torch.tensor(first), logits.softmax(-1))
    assert torch.allclose(pool(logits[:, pool.order]), expected[:, pool.columns], atol=1e-6)


def test_refuses_ids_that_begin_nothing():
    with pytest.raises(InputError, match="every student id must begin at least one teacher token"):
        FirstPiece(torch.tensor([0, 0, 2]), 3)
    with pytest.raises(InputError, match="ids below 2"):
        FirstPiece(torch.tensor([0, 2]), 2)
