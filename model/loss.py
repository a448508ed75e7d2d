"""The autoregressive distillation loss, and the teacher's distribution in the cut vocabulary.

AD loss, as published: ``L = -mean over tokens Σ_v p_teacher(v)·log p_student(v)``; temperature 1,
no one-hot term added, no mask.

The student spells a teacher token in one or more pieces. At a position where a teacher token
begins, ``p_teacher`` over pieces is the teacher's distribution summed over the tokens that begin
with each piece: exact. Where a piece continues a token, the teacher has drawn the token already
and ``p_teacher`` is the piece that follows, whose mean over the teacher's draws is the teacher's
distribution there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.errors import InputError

from .data import Expansion


def ad_loss(
    student_logits: Tensor, teacher_probabilities: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Return the AD loss, a scalar.

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


def spell_targets(pooled: Tensor, batch: Expansion) -> Tensor:
    """Return ``p_teacher`` fp32 ``[rows, context, vocab]`` of a batch.

    Parameters
    ----------
    pooled : ``[rows, teacher positions, vocab]``, the teacher's distribution by first piece
    batch : its ``teacher`` says which of those a position takes; -1 takes the piece in ``target``
    """
    rows = torch.arange(len(pooled), device=pooled.device)[:, None]
    begun = pooled[rows, batch.teacher.clamp_min(0)]
    pieces = torch.arange(pooled.shape[-1], device=pooled.device)
    continued = (pieces == batch.target[..., None]).float()
    return torch.where((batch.teacher >= 0)[..., None], begun, continued)


class FirstPiece:
    """Sums probabilities over the teacher's vocabulary into the student's by first piece.

    Parameters
    ----------
    first : int64 ``[teacher vocab]``, the student id that each teacher token begins with
    size : student vocabulary
    """

    def __init__(self, first: Tensor, size: int) -> None:
        if first.ndim != 1 or not 0 <= int(first.min()) <= int(first.max()) < size:
            raise InputError(f"first pieces must be ids below {size} in one dimension")
        self.order = first.argsort(stable=True)
        """Teacher ids sorted by first piece: permute the head's rows by it."""
        members = torch.bincount(first, minlength=size)
        if int(members.min()) < 1:
            raise InputError("every student id must begin at least one teacher token")
        self.last = members.cumsum(0) - 1

    def to(self, device: torch.device | str) -> FirstPiece:
        """Move to a device, in place."""
        self.order, self.last = self.order.to(device), self.last.to(device)
        return self

    def __call__(self, sorted_logits: Tensor) -> Tensor:
        """Return fp32 probabilities ``[n, size]`` from logits ``[n, teacher vocab]``, columns in
        the order of ``order``."""
        total = sorted_logits.softmax(-1, dtype=torch.float32).cumsum(-1)[:, self.last]
        pooled = torch.cat((total[:, :1], total.diff(dim=-1)), dim=-1).clamp_min(0)
        return pooled / pooled.sum(-1, keepdim=True)
