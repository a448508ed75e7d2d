"""The autoregressive distillation loss and its ablations, without a tensor of all logits.

AD loss, as published (arXiv 2407.07093), with p of the teacher and s of the student:
``L = -mean over tokens Σ_v p(v)·log s(v)`` at temperature 1, no one-hot term added, no mask. The
ablations replace ``p`` by
``q = kd·p + ce·onehot(next token)``: the loss is linear in the target, so one function
serves all three.

The student may spell a teacher token in one or more pieces (`model.data.expand`). At a position
where a teacher token begins, ``p_teacher`` over pieces is the teacher's distribution summed over
the tokens that begin with each piece: exact. Where a piece continues a token, the teacher has drawn
the token already and ``p_teacher`` is the piece that follows, whose mean over the teacher's draws
is the teacher's distribution there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.errors import InputError

from .first_piece import FirstPiece

CHUNK_LOGITS = 1 << 29
"""Student logits that may exist at a time: 1 GB of bf16 for them, as much for the teacher's."""


def ad_loss(
    student_logits: Tensor, teacher_probabilities: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Return the AD loss from whole logits, a scalar: what `chunked_loss` must equal.

    Parameters
    ----------
    student_logits, teacher_probabilities : ``[..., vocab]``; the latter sum to 1 over vocab
    valid : bool ``[...]``, false where a row is padded; the mean is over true places

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if student_logits.shape != teacher_probabilities.shape:
        raise InputError(
            f"student and teacher must have one shape, not {tuple(student_logits.shape)} and "
            f"{tuple(teacher_probabilities.shape)}"
        )
    log_p = F.log_softmax(student_logits.float(), dim=-1)
    loss = -(teacher_probabilities.float() * log_p).sum(-1)
    if valid is None:
        return loss.mean()
    return (loss * valid).sum() / valid.sum()


@dataclass(frozen=True)
class Wanted:
    """What the student should predict at n positions.

    Attributes
    ----------
    label : int64 ``[n]``, the next student token, -1 where there is none (no loss there)
    source : int64 ``[n]``, the row of `hidden` whose prediction is the target; -1 takes the label
    hidden : ``[m, teacher hidden]``, or None without a teacher
    head : ``[teacher vocab, teacher hidden]``, rows in `pool`'s order, or None
    pool : sums the teacher's vocabulary into the student's
    shares : of distillation and cross-entropy
    """

    label: Tensor
    source: Tensor
    hidden: Tensor | None
    head: Tensor | None
    pool: FirstPiece | None
    shares: tuple[float, float]

    def __post_init__(self) -> None:
        if self.shares[0] and self.hidden is None:
            raise InputError("a loss with a distillation share needs a teacher")

    @property
    def reordered(self) -> FirstPiece | None:
        """The pool whose order of the student's ids the loss takes; None if it is that of ids."""
        if self.hidden is None or self.pool is None or self.pool.whole or not self.shares[0]:
            return None
        return self.pool


def _target_chunk(
    label: Tensor,
    source: Tensor,
    hidden: Tensor | None,
    head: Tensor | None,
    pool: FirstPiece | None,
    shares: tuple[float, float],
    size: int,
) -> Tensor:
    """Return the target distribution q, fp32 ``[n, size]``; labels and q in `pool`'s order."""
    onehot = (torch.arange(size, device=label.device) == label[:, None]).float()
    kd, ce = shares
    if hidden is None or head is None or pool is None or not kd:
        return onehot
    teacher = pool(hidden[source.clamp_min(0)] @ head.t())
    if not pool.whole:
        teacher = torch.where((source >= 0)[:, None], teacher, onehot)
    return kd * teacher + ce * onehot if ce else teacher


def _loss_chunk(
    student: Tensor,
    student_head: Tensor,
    label: Tensor,
    source: Tensor,
    hidden: Tensor | None,
    head: Tensor | None,
    pool: FirstPiece | None,
    shares: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of a chunk, and its gradient by the logits in their dtype."""
    logits = student @ student_head.t()
    target = _target_chunk(label, source, hidden, head, pool, shares, logits.shape[1])
    log_p = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    valid = (label >= 0)[:, None]
    loss = -torch.where(valid, target * log_p, 0.0).sum()
    # where q sums to 1, the gradient of -Σ q·log p by the logits is p - q
    return loss, torch.where(valid, log_p.exp() - target, 0.0).to(logits.dtype)


KERNEL = True
"""On a GPU take the kernel of `model.loss_kernel`; if false, what PyTorch compiles."""

_compiled_chunk: Callable[..., tuple[Tensor, Tensor]] | None = None


def _chunk_function(device: torch.device) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return `_loss_chunk`, or on a GPU what stands for it and is faster."""
    global _compiled_chunk
    if device.type != "cuda":
        return _loss_chunk
    if KERNEL:
        from .loss_kernel import kernel_chunk  # Triton is there where CUDA is

        return kernel_chunk
    if _compiled_chunk is None:
        _compiled_chunk = torch.compile(_loss_chunk)
    return _compiled_chunk


def chunk_length(positions: int, vocab: int) -> int:
    """Return the longest divisor of `positions` whose logits stay within `CHUNK_LOGITS`."""
    most = max(1, CHUNK_LOGITS // vocab)
    fewest = -(-positions // most)
    return next(positions // n for n in range(fewest, positions + 1) if positions % n == 0)


class _ChunkedLoss(torch.autograd.Function):
    """Forward computes the gradients too, chunk by chunk, so that logits never exist twice."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, head: Tensor, wanted: Wanted) -> Tensor:
        work, label, pool = head.to(student.dtype), wanted.label, wanted.reordered
        if pool is not None:
            work = work[pool.columns]
            label = torch.where(label >= 0, pool.place[label.clamp_min(0)], label)
        needed = any(ctx.needs_input_grad)
        by_student = torch.empty_like(student) if needed else None
        by_head = torch.zeros_like(head, dtype=torch.float32) if needed else None
        total = torch.zeros((), device=student.device)
        step = chunk_length(len(student), len(head))
        chunk = _chunk_function(student.device)
        for part in (slice(i, i + step) for i in range(0, len(student), step)):
            loss, by_logits = chunk(
                student[part], work, label[part], wanted.source[part],
                wanted.hidden, wanted.head, wanted.pool, wanted.shares,
            )  # fmt: skip
            total += loss
            if by_student is not None and by_head is not None:
                torch.mm(by_logits, work, out=by_student[part])
                by_head += by_logits.t() @ student[part]
        if by_head is not None and pool is not None:
            by_head = by_head[pool.place]
        ctx.save_for_backward(*(t for t in (by_student, by_head) if t is not None))
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        by_student, by_head = ctx.saved_tensors
        # in fp32: a bf16 factor would scale this gradient by up to 0.4 % more or less than by_head
        return (by_student.float() * grad).to(by_student.dtype), by_head * grad, None


def chunked_loss(student: Tensor, head: Tensor, wanted: Wanted) -> Tensor:
    """Return the loss summed over positions, a scalar fp32.

    Parameters
    ----------
    student : ``[n, hidden]``, the student's final normed hidden states
    head : ``[vocab, hidden]``, the student's output head
    wanted : the targets

    Gradients reach `student` and `head`. Logits are computed in `student`'s dtype, softmax and sums
    in fp32; the gradient by the head is summed in fp32.
    """
    with torch.autocast(student.device.type, enabled=False):
        return _ChunkedLoss.apply(student, head, wanted)
