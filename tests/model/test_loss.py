import math

import pytest
import torch

from golden.errors import InputError
from model import loss as loss_module
from model.first_piece import FirstPiece
from model.loss import Wanted, ad_loss, chunk_length, chunked_loss


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


def random_case(seed, size=5, teacher_size=7, n=12):
    g = torch.Generator().manual_seed(seed)
    more = torch.randint(size, (teacher_size - size,), generator=g)
    first = torch.cat((torch.arange(size), more))
    pool = FirstPiece(first, size)
    head = torch.randn(teacher_size, 3, generator=g)
    label = torch.randint(-1, size, (n,), generator=g)
    source = torch.randint(-1, 4, (n,), generator=g)
    student = torch.randn(n, 6, generator=g).requires_grad_()
    student_head = torch.randn(size, 6, generator=g).requires_grad_()
    hidden = torch.randn(4, 3, generator=g)
    return first, pool, head, label, source, student, student_head, hidden


def plain_loss(first, head, label, source, student, student_head, hidden, shares):
    """The formula, position by position, in binary64."""
    total = torch.zeros((), dtype=torch.float64)
    for i, piece in enumerate(label.tolist()):
        if piece < 0:
            continue
        onehot = torch.zeros(len(student_head), dtype=torch.float64)
        onehot[piece] = 1.0
        target = onehot
        if source[i] >= 0 or len(head) == len(student_head):
            p = (head.double() @ hidden[source[i].clamp_min(0)].double()).softmax(0)
            target = torch.zeros_like(onehot).index_add_(0, first, p)
        target = shares[0] * target + shares[1] * onehot
        log_p = (student_head.double() @ student[i].double()).log_softmax(0)
        total = total - (target * log_p).sum()
    return total


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("teacher_size", [5, 7])
def test_chunked_loss_and_gradients_are_those_of_the_formula(monkeypatch, shares, teacher_size):
    monkeypatch.setattr(loss_module, "CHUNK_LOGITS", 20)  # 4 positions at a time
    case = random_case(3, 5, teacher_size)
    first, pool, head, label, source, student, student_head, hidden = case
    if teacher_size == 5:
        source = source.clamp_min(0)
    wanted = Wanted(label, source, hidden, head[pool.order], pool, shares)
    (chunked_loss(student, student_head, wanted) * 0.25).backward()
    ours = student.grad, student_head.grad
    student.grad = student_head.grad = None
    expected = plain_loss(first, head, label, source, student, student_head, hidden, shares)
    assert chunked_loss(student, student_head, wanted).item() == pytest.approx(expected.item())
    (expected * 0.25).backward()
    for mine, theirs in zip(ours, (student.grad, student_head.grad), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_cross_entropy_needs_no_teacher_and_distillation_does():
    _, _, _, label, source, student, student_head, _ = random_case(4)
    wanted = Wanted(label, source, None, None, None, (0.0, 1.0))
    expected = torch.nn.functional.cross_entropy(
        student @ student_head.t(), label, ignore_index=-1, reduction="sum"
    )
    assert chunked_loss(student, student_head, wanted).item() == pytest.approx(expected.item())
    with pytest.raises(InputError, match="a distillation share needs a teacher"):
        Wanted(label, source, None, None, None, (0.5, 0.5))


def test_chunks_divide_the_positions_and_stay_small():
    assert chunk_length(65536, 49152) == 8192
    assert chunk_length(65536, 4096) == 65536
    assert chunk_length(30, 1 << 29) == 1
