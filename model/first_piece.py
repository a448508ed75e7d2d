"""A distribution over the teacher's vocabulary, summed into the student's by first piece."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.errors import InputError


class FirstPiece:
    """Sums probabilities over the teacher's vocabulary into the student's by first piece.

    Sums are in an order of their own, `columns`: student ids that begin most teacher tokens come
    first, so that what must be added up stands in a few places next to each other, and neighbours
    have about as much to add.

    Parameters
    ----------
    first : int64 ``[teacher vocab]``, the student id that each teacher token begins with
    size : student vocabulary

    Attributes
    ----------
    size : student vocabulary
    whole : true if nothing is cut: the sums are the probabilities, in the order of ids
    columns, place : int64 ``[size]``, the student id of each sum, and where each id's sum is
    order : int64 ``[teacher vocab]``, permute the head's rows by it: one token of each sum in the
        order of `columns`, then the others sorted by sum
    ends : int32 ``[sums of several]``, of the others, how many belong to a sum or to one before it
    """

    def __init__(self, first: Tensor, size: int) -> None:
        if first.ndim != 1 or not 0 <= int(first.min()) <= int(first.max()) < size:
            raise InputError(f"first pieces must be ids below {size} in one dimension")
        self.size = size
        self.whole = size == len(first) and bool((first == torch.arange(size)).all())
        by_piece = first.argsort(stable=True)
        members = torch.bincount(first, minlength=size)
        if int(members.min()) < 1:
            raise InputError("every student id must begin at least one teacher token")
        leads = members.cumsum(0) - members  # where in `by_piece` each id's tokens begin
        self.columns = members.argsort(stable=True, descending=True)
        self.place = self.columns.argsort()
        leaders = by_piece[leads[self.columns]]
        sums = self.place[first]
        sums[leaders] = size  # the others' sums alone, and these behind them
        others = sums.argsort(stable=True)[: len(first) - size]
        self.order = torch.cat((leaders, others))
        more = members[self.columns] - 1
        self.ends = more[more > 0].cumsum(0).to(torch.int32)

    def to(self, device: torch.device | str) -> FirstPiece:
        """Move to a device, in place."""
        for name in ("columns", "place", "order", "ends"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def __call__(self, sorted_logits: Tensor) -> Tensor:
        """Return fp32 probabilities ``[n, size]`` in the order of ``columns`` from logits
        ``[n, teacher vocab]`` in the order of ``order``."""
        probabilities = sorted_logits.softmax(-1, dtype=torch.float32)
        if self.whole:
            return probabilities
        lead, others = probabilities.split((self.size, len(self.order) - self.size), dim=-1)
        total = F.pad(others.cumsum(-1)[:, self.ends - 1], (1, 0))
        # differences, which rounding may bring below 0; what rounding leaves of their sum's 1 is
        # less than a millionth, and not worth another pass over the vocabulary
        joined = (total[:, 1:] - total[:, :-1]).clamp_min(0)
        return lead + F.pad(joined, (0, self.size - len(self.ends)))
