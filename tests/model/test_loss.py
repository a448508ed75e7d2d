import math

import pytest
import torch

from golden.errors import InputError
from model.data import Expansion
from model.loss import FirstPiece, ad_loss, spell_targets


def test_ad_loss_by_hand():
    # student softmax of (0, ln 3) is (1/4, 3/4)
    logits = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]])
    teacher = torch.tensor([[[0.4, 0.6], [1.0, 0.0]]])
    first = -(0.4 * math.log(0.25) + 0.6 * math.log(0.75))
    second = -math.log(0.5)
    assert ad_loss(logits, teacher).item() == pytest.approx((first + second) / 2, rel=1e-6)
    valid = torch.tensor([[True, False]])
    assert ad_loss(logits, teacher, valid).item() == pytest.approx(first, rel=1e-6)


def test_ad_loss_gradient_is_student_minus_teacher():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, dtype=torch.float32, generator=generator, requires_grad=True)
    teacher = torch.randn(3, 7, generator=generator).softmax(-1)
    ad_loss(logits, teacher).backward()
    assert torch.allclose(logits.grad, (logits.softmax(-1) - teacher) / 3, atol=1e-6)


def test_ad_loss_refuses_other_shapes():
    with pytest.raises(InputError, match=r"one shape, not \(2, 3\) and \(2, 4\)"):
        ad_loss(torch.zeros(2, 3), torch.zeros(2, 4))


def test_first_piece_sums_probabilities():
    first = torch.tensor([0, 1, 2, 1, 0, 1])
    pool = FirstPiece(first, 3)
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(5, 3).index_add_(1, first, logits.softmax(-1))
    assert torch.allclose(pool(logits[:, pool.order]), expected, atol=1e-6)


def test_first_piece_refuses_ids_that_begin_nothing():
    with pytest.raises(InputError, match="every student id must begin at least one teacher token"):
        FirstPiece(torch.tensor([0, 0, 2]), 3)
    with pytest.raises(InputError, match="ids below 2"):
        FirstPiece(torch.tensor([0, 2]), 2)


def test_targets_take_the_distribution_where_a_token_begins_and_the_piece_where_it_goes_on():
    pooled = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]])
    batch = Expansion(
        tokens=torch.tensor([[0, 2, 1]]),
        target=torch.tensor([[2, 1, -1]]),
        teacher=torch.tensor([[1, -1, -1]]),
    )
    expected = torch.tensor([[[0.1, 0.1, 0.8], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    assert torch.equal(spell_targets(pooled, batch), expected)
