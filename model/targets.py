"""What the student should predict for rows of teacher tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golden.errors import InputError

from .data import expand
from .first_piece import FirstPiece
from .loss import Wanted
from .teacher import Teacher
from .tokenizer import Vocabulary, pieces


@dataclass(frozen=True)
class Example:
    """A micro-batch: student tokens int64 ``[rows, context]`` and what should follow them."""

    tokens: Tensor
    wanted: Wanted


class Targets:
    """Turns rows of teacher tokens into student tokens and their targets.

    Parameters
    ----------
    vocabulary : of the tokens in the shards
    size : student vocabulary; a smaller one than `vocabulary` is its cut
    context : student tokens a row
    shares : of distillation and cross-entropy
    device : of the results
    teacher : on `device`, in the dtype to run it in; None if the distillation share is 0

    Raises
    ------
    InputError
        If teacher, vocabulary and student do not fit each other.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        size: int,
        context: int,
        shares: tuple[float, float],
        device: torch.device,
        teacher: Teacher | None = None,
    ) -> None:
        if shares[0] and teacher is None:
            raise InputError("a loss with a distillation share needs a teacher")
        if teacher is not None and len(vocabulary.tokens) != teacher.config.vocab:
            raise InputError(
                f"teacher and tokenizer must have one vocabulary, not {teacher.config.vocab} "
                f"and {len(vocabulary.tokens)} tokens"
            )
        if size > len(vocabulary.tokens):
            raise InputError(
                f"the student's vocabulary must be the teacher's or a cut of it, at most "
                f"{len(vocabulary.tokens)} tokens, not {size}"
            )
        table, self._count = pieces(vocabulary, size)
        self.table = torch.from_numpy(table.astype(np.int64)).to(device)
        self.count = torch.from_numpy(self._count).to(device)
        self.size, self.context, self.shares, self.device = size, context, shares, device
        self.teacher = teacher if shares[0] else None
        if self.teacher is not None:
            pool = FirstPiece(self.table[:, 0].cpu(), size).to(device)
            self.head = self.teacher.embedding[pool.order].contiguous()
            self.pool = pool

    def spelled(self, rows: np.ndarray) -> np.ndarray:
        """Return how many student tokens each row ``[n, length]`` is spelled in: int64 ``[n]``."""
        return self._count[rows].sum(1)

    def positions(self, rows: np.ndarray) -> int:
        """Return how many positions of ``rows [n, length]`` have a target, without the device."""
        return int(np.minimum(self.spelled(rows) - 1, self.context).sum())

    @torch.no_grad()
    def __call__(self, rows: Tensor) -> Example:
        """Return the micro-batch of int64 ``rows [n, length]`` on the device."""
        batch = expand(rows, self.table, self.count, self.context)
        source = batch.teacher
        hidden = None
        if self.teacher is not None:
            hidden = self.teacher(rows).flatten(0, 1)
            first = torch.arange(len(rows), device=rows.device)[:, None] * rows.shape[1]
            source = torch.where(source >= 0, source + first, source)
        wanted = Wanted(
            label=batch.target.flatten(),
            source=source.flatten(),
            hidden=hidden,
            head=None if hidden is None else self.head,
            pool=None if hidden is None else self.pool,
            shares=self.shares,
        )
        return Example(batch.tokens, wanted)
