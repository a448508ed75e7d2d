"""The GPU's kernel of the loss, held to binary64; without a GPU in Triton's interpreter.

On a GPU the same file runs the compiled kernel, at the sizes of training too.
"""

import os

import numpy as np
import pytest
import torch

os.environ["TRITON_INTERPRET"] = str(int(not torch.cuda.is_available()))
pytest.importorskip("triton")

from model import loss as loss_module
from model import loss_kernel
from model.first_piece import FirstPiece
from model.loss import Wanted, chunked_loss

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
SHARES = [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]


@pytest.fixture(autouse=True)
def one_rounding(monkeypatch):
    """Let the interpreter round a multiply-add once, as a GPU does: it rounds the product too."""
    if CUDA:
        return
    from triton.runtime import interpreter

    def fma(self, x, y, z):
        exact = x.data.astype(np.float64) * y.data + z.data  # the product of two binary32 is exact
        return interpreter.TensorHandle(exact.astype(np.float32), z.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_fma", fma)


def first_pieces(size, more, generator):
    """Ids that teacher tokens begin with: most of what is cut begins with a few ids."""
    several = torch.randint(size, (max(1, size // 5),), generator=generator)
    picked = torch.rand(more, generator=generator).square() * len(several)
    return torch.cat((torch.arange(size), several[picked.long()]))


def oracle(logits, teacher, first, label, source, shares):
    """Loss and gradient by the formula, binary64, ids in their own order."""
    z = logits.double().requires_grad_()
    onehot = torch.nn.functional.one_hot(label.clamp_min(0), z.shape[1]).double()
    target = onehot
    if teacher is not None and shares[0]:
        p = torch.zeros_like(z).index_add_(1, first, teacher.double().softmax(-1))
        p = torch.where((source >= 0)[:, None], p, onehot)
        target = shares[0] * p + shares[1] * onehot
    loss = -(target * z.log_softmax(-1)).sum(-1)[label >= 0].sum()
    loss.backward()
    return loss.detach(), z.grad


def case(size, more, rows, dtype, seed=0, spread=3.0):
    g = torch.Generator().manual_seed(seed)
    first = first_pieces(size, more, g)
    logits = (spread * torch.randn(rows, size, generator=g)).to(dtype)
    teacher = (spread * torch.randn(rows, size + more, generator=g)).to(dtype)
    label = torch.randint(size, (rows,), generator=g)
    label[::5] = -1
    source = torch.arange(rows)
    source[1::4] = -1
    return first, logits, teacher, label, source


def check(size, more, rows, dtype, shares, *, spread=3.0):
    first, logits, teacher, label, source = case(size, more, rows, dtype, spread=spread)
    pool = FirstPiece(first, size)
    label[2:4] = pool.columns[[min(255, size - 1), size - 1]]  # the last of a tile, and of a row
    place = torch.where(label >= 0, pool.place[label.clamp_min(0)], label)
    given = logits[:, pool.columns].to(DEVICE)
    results = []
    for _ in range(2):
        own = given.clone()
        loss, gradient = loss_kernel.loss_and_gradient(
            own, teacher[:, pool.order].to(DEVICE) if shares[0] else None, place.to(DEVICE),
            source.to(DEVICE), pool.to(DEVICE) if shares[0] else None, shares,
        )  # fmt: skip
        assert gradient.data_ptr() == own.data_ptr()
        results.append((loss, gradient))
        pool.to("cpu")
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True)), "must repeat to the bit"
    whole, by_logits = oracle(logits, teacher, first, label, source, shares)
    assert loss.item() == pytest.approx(whole.item(), rel=2e-6)
    ours = gradient.cpu().double()[:, pool.place]
    # half a unit in the last place of the gradient's dtype; binary32 of each term; and a sum is the
    # difference of two of up to 1, each rounded about ten times by at most 2**-25
    unit = 0.5 if CUDA or dtype != torch.bfloat16 else 1.0  # the interpreter cuts bf16 off
    allowed = by_logits.abs() * torch.finfo(dtype).eps * unit + 1e-6 * by_logits.abs() + 5e-7
    assert ((ours - by_logits).abs() <= allowed).all(), ((ours - by_logits).abs() / allowed).max()
    assert (ours[label < 0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize(
    ("size", "more"), [(5, 0), (37, 20), (64, 256), (300, 700), (513, 31)]
)  # none cut; one block; others in several blocks; columns in several; odd rows
def test_loss_and_gradient_are_those_of_the_formula(monkeypatch, size, more, shares, dtype):
    monkeypatch.setattr(loss_kernel, "LANES", 32)
    monkeypatch.setattr(loss_kernel, "WARPS", 4)
    monkeypatch.setattr(loss_kernel, "DEEP", 4)
    monkeypatch.setattr(loss_kernel, "RANKS", 8)
    monkeypatch.setattr(loss_kernel, "SUMS", 16)
    check(size, more, 11, dtype, shares)


def test_logits_far_from_zero():
    check(300, 40, 6, torch.float32, (1.0, 0.0), spread=40.0)


@pytest.mark.skipif(not CUDA, reason="of a GPU")
@pytest.mark.parametrize(("size", "more"), [(32000, 17152), (49152, 0)])
def test_at_the_size_of_training(size, more):
    check(size, more, 300, torch.bfloat16, (1.0, 0.0))


def test_a_logit_that_is_no_number_is_seen():
    for bad in (0, 1):
        first, logits, teacher, label, source = case(30, 10, 4, torch.float32)
        (logits, teacher)[bad][2, 7] = torch.nan
        pool = FirstPiece(first, 30)
        teacher = teacher[:, pool.order]
        given = (logits, teacher, label, source, pool.to(DEVICE), (1.0, 0.0))
        loss, _ = loss_kernel.loss_and_gradient(
            *(v.to(DEVICE) if isinstance(v, torch.Tensor) else v for v in given)
        )
        assert not loss.isfinite()


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("more", [0, 9])
def test_training_takes_the_same_loss_through_the_kernel(monkeypatch, shares, more):
    monkeypatch.setattr(loss_module, "CHUNK_LOGITS", 60)  # 3 positions at a time
    g = torch.Generator().manual_seed(1)
    size, rows = 20, 12
    pool = FirstPiece(first_pieces(size, more, g), size)
    teacher_head = torch.randn(size + more, 16, generator=g)
    hidden = torch.randn(rows, 16, generator=g)
    label = torch.randint(-1, size, (rows,), generator=g)
    source = torch.where(label >= 0, torch.arange(rows), label)
    source[3] = -1 if more else 3
    start = torch.randn(rows, 16, generator=g), torch.randn(size, 16, generator=g)

    def results(device, chunk):
        monkeypatch.setattr(loss_module, "_chunk_function", lambda _: chunk)
        student, head = (t.to(device).detach().requires_grad_() for t in start)
        wanted = Wanted(
            label.to(device), source.to(device), hidden.to(device),
            teacher_head[pool.order.cpu()].to(device), pool.to(device), shares,
        )  # fmt: skip
        loss = chunked_loss(student, head, wanted)
        loss.backward()
        return loss.detach().cpu(), student.grad.cpu(), head.grad.cpu()

    expected = results(torch.device("cpu"), loss_module._loss_chunk)
    for a, b in zip(results(DEVICE, loss_kernel.kernel_chunk), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_gpu_takes_the_kernel_unless_it_is_switched_off(monkeypatch):
    gpu = torch.device("cuda")
    assert loss_module._chunk_function(gpu) is loss_kernel.kernel_chunk
    monkeypatch.setattr(loss_module, "KERNEL", False)
    monkeypatch.setattr(loss_module, "_compiled_chunk", print)
    assert loss_module._chunk_function(gpu) is print
    assert loss_module._chunk_function(torch.device("cpu")) is loss_module._loss_chunk
