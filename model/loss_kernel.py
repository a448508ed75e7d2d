"""The loss of a chunk on a GPU: one Triton kernel between the products of both heads.

A program takes a row at a time. It reads both rows of logits for their maxima and sums, adds up
the probabilities of teacher tokens that begin with one piece, reads the rows again and writes the
gradient over the student's. Rows of few programs are under work at a time, so that what is
read again is still in the cache (design record 18). All sums have a fixed order: results repeat to
the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from .loss import FirstPiece

WARPS, REGISTERS = 16, 64
"""Of a program, and of a thread: two programs fill the registers of a multiprocessor."""

PROGRAMS = 2
"""For each multiprocessor: their rows, 162 kB each with 32,000 + 49,152 logits, are 43 MB."""

LANES, WIDTH = 512, 8
"""Logits of a tile: 8 of bf16 are 16 bytes, the widest load of a thread."""

_LEAST = tl.constexpr(-3e38)
"""Below every logit: no -inf, whose difference from itself is no number."""


@triton.jit
def _tile(logits, start, place, count: tl.constexpr):
    """Return ``logits[start + place]``, which will be read again, `_LEAST` beyond `count`."""
    inside = start + place < count
    x = tl.load(logits + start + place, mask=inside, other=0.0, eviction_policy="evict_last")
    return tl.where(inside, x.to(tl.float32), _LEAST)


@triton.jit
def _statistics(logits, count: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr):
    """Return the largest of ``logits[:count]``, and the sum of exp(logit - largest)."""
    high = tl.full((lanes,), _LEAST, tl.float32)
    total = tl.zeros((lanes,), tl.float32)
    place = tl.arange(0, lanes)[:, None] * width + tl.arange(0, width)[None, :]
    block: tl.constexpr = lanes * width
    for start in range(0, count, 4 * block):  # four loads on their way at a time
        a, b = _tile(logits, start, place, count), _tile(logits, start + block, place, count)
        c = _tile(logits, start + 2 * block, place, count)
        d = _tile(logits, start + 3 * block, place, count)
        higher = tl.maximum(tl.max(tl.maximum(a, b), 1), tl.max(tl.maximum(c, d), 1))
        higher = tl.maximum(high, higher)
        total *= tl.exp(high - higher)
        by = higher[:, None]
        total += tl.sum(tl.exp(a - by) + tl.exp(b - by) + tl.exp(c - by) + tl.exp(d - by), 1)
        high = higher
    top = tl.max(high, 0)
    return top, tl.sum(total * tl.exp(high - top), 0)


@triton.jit
def ad_loss_kernel(
    student, teacher, label, source, ends, running, loss,
    rows, kd, ce, size: tl.constexpr, joined: tl.constexpr, others: tl.constexpr,
    taught: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Write each row's loss, and the gradient by the student's logits over them.

    student ``[rows, size]``, teacher ``[rows, size + others]``: logits in `FirstPiece`'s orders;
    ends ``[joined]``; running fp32 ``[programs, others]``: what this kernel writes down on its way.
    """
    block: tl.constexpr = lanes * width
    place = tl.arange(0, block)
    memo = running + tl.program_id(0).to(tl.int64) * others
    row = tl.program_id(0)
    while row < rows:
        z_row = student + tl.cast(row, tl.int64) * size
        t_row = teacher + tl.cast(row, tl.int64) * (size + others)
        wanted = tl.load(label + row)
        of_teacher, of_label = 0.0, 1.0
        t_top, t_part = 0.0, 0.0
        if taught:
            drawn = tl.load(source + row) < 0  # within a teacher token: the piece that follows
            of_teacher = tl.where(drawn, 0.0, kd)
            of_label = tl.where(drawn, kd + ce, ce)
            t_top, t_sum = _statistics(t_row, size + others, lanes, width)
            t_part = of_teacher / t_sum
        z_top, z_sum = _statistics(z_row, size, lanes, width)
        z_log, z_part = tl.log(z_sum), 1.0 / z_sum
        if taught and others > 0:
            tl.debug_barrier()  # all have read what the row before left in memory
            before = 0.0
            for start in range(0, others, block):
                inside = start + place < others
                x = tl.load(
                    t_row + size + start + place, mask=inside, other=0.0,
                    eviction_policy="evict_first",
                )  # fmt: skip
                p = tl.exp(x.to(tl.float32) - t_top) * t_part
                upto = before + tl.cumsum(tl.where(inside, p, 0.0), 0)
                tl.store(memo + start + place, upto, mask=inside)
                # the last one itself: another order of adding would show in sums across tiles
                before = tl.sum(tl.where(place == block - 1, upto, 0.0), 0)
            tl.debug_barrier()
        summed = tl.zeros((block,), tl.float32)
        for start in range(0, size, block):
            column = start + place
            inside = column < size
            z = tl.load(z_row + column, mask=inside, other=0.0, eviction_policy="evict_first")
            z = z.to(tl.float32) - z_top
            target = tl.where(column == wanted, of_label, 0.0)
            if taught:
                x = tl.load(t_row + column, mask=inside, other=0.0, eviction_policy="evict_first")
                target += tl.exp(x.to(tl.float32) - t_top) * t_part
                if start < joined:
                    several = column < joined
                    follows = several & (column > 0)
                    end = tl.load(ends + column, mask=several, other=1)
                    begin = tl.load(ends + column - 1, mask=follows, other=1)
                    more = tl.load(memo + end - 1, mask=several, other=0.0)
                    more -= tl.load(memo + begin - 1, mask=follows, other=0.0)
                    target += tl.maximum(more, 0.0)
            summed += tl.where(inside, target * (z_log - z), 0.0)
            gradient = tl.exp(z) * z_part - target
            gradient = tl.where(wanted >= 0, gradient, 0.0)
            tl.store(
                z_row + column, gradient.to(student.dtype.element_ty), mask=inside,
                eviction_policy="evict_first",
            )  # fmt: skip
        tl.store(loss + row, tl.where(wanted >= 0, tl.sum(summed, 0), 0.0))
        row += tl.num_programs(0)


def _programs(device: torch.device) -> int:
    """Return how many programs a device works on at a time."""
    if device.type != "cuda":  # Triton's interpreter: several rows for some, fewer for others
        return 3
    return PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count


def loss_and_gradient(
    logits: Tensor,
    teacher: Tensor | None,
    label: Tensor,
    source: Tensor,
    pool: FirstPiece | None,
    shares: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of a chunk, fp32, and `logits` with its gradient in them.

    Parameters
    ----------
    logits : ``[n, size]`` of the student, in `pool`'s order; overwritten
    teacher : ``[n, teacher vocab]``, logits in `pool`'s order; None takes the label alone
    label : int64 ``[n]``, place of the next token in that order, -1 where there is no loss
    source : int64 ``[n]``, below 0 where the label takes the place of the teacher
    pool : None without a teacher
    shares : of distillation and cross-entropy, together 1
    """
    rows, size = logits.shape
    taught = teacher is not None and pool is not None
    programs = min(rows, _programs(logits.device))
    others = joined = 0
    ends = label
    if taught:
        others, joined, ends = len(pool.order) - size, len(pool.ends), pool.ends
    running = torch.empty(programs * others, dtype=torch.float32, device=logits.device)
    loss = torch.empty(rows, dtype=torch.float32, device=logits.device)
    ad_loss_kernel[(programs,)](
        logits, teacher if taught else logits, label, source, ends, running, loss,
        rows, *(shares if taught else (0.0, 1.0)),
        size=size, joined=joined, others=others, taught=taught, lanes=LANES, width=WIDTH,
        num_warps=WARPS, maxnreg=REGISTERS,
    )  # fmt: skip
    return loss.sum(), logits


def kernel_chunk(
    student: Tensor,
    student_head: Tensor,
    label: Tensor,
    source: Tensor,
    hidden: Tensor | None,
    head: Tensor | None,
    pool: FirstPiece | None,
    shares: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of a chunk, and its gradient by the logits in their dtype.

    The same as `model.loss._loss_chunk`, which has no Triton in it.
    """
    teacher = None
    if hidden is not None and head is not None and shares[0]:
        teacher = hidden[source.clamp_min(0)] @ head.t()
    logits = student @ student_head.t()
    return loss_and_gradient(logits, teacher, label, source, pool, shares)
