"""The loss of a chunk on a GPU: one Triton kernel between the products of both heads.

A program takes a row at a time. It reads both rows of logits for their maxima and sums, adds up
the probabilities of teacher tokens that begin with one piece, reads the rows again and writes the
gradient over the student's. Rows of few programs are under work at a time, so that what is
read again is still in the cache. Instructions are what its time is made of, so it takes powers of
two, a logit's factor folded into one multiply-add, and masks nothing but the last tile (design
record 18). All sums have a fixed order: results repeat to the bit.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .first_piece import FirstPiece

WARPS, REGISTERS = 8, 64
"""Of a program, and of a thread: four programs fill the registers of a multiprocessor."""

PROGRAMS = 4
"""For each multiprocessor: the fastest of five launches measured (H200; design record 18). Their
rows, 162 kB each with 32,000 + 49,152 logits, are 86 MB, more than the cache."""

LANES, WIDTH = 256, 8
"""Logits of a tile: 8 of bf16 are 16 bytes, the widest load of a thread."""

DEEP, RANKS, SUMS = 128, 16, 1024
"""Of the sums of several tokens, sorted by how many they have: the first 128 by 16 tokens at a
time, the others by two tokens for each of 1,024 sums at a time."""

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)
_LEAST = tl.constexpr(-(2.0**126))
"""Below every logit: no -inf, whose difference from itself is no number."""


@triton.jit
def _power(logit, high):
    """Return exp(logit - high / `_LOG2E`): `high` is a largest logit times `_LOG2E`.

    The difference is rounded once.
    """
    return tl.exp2(tl.fma(logit, tl.full(logit.shape, _LOG2E, tl.float32), -high))


@triton.jit
def _four(logits, place, count, block: tl.constexpr, whole: tl.constexpr):
    """Return ``logits[place + i·block]``, i = 0…3, fp32, which will be read again.

    `_LEAST` from `count` on, unless they are `whole`.
    """
    a, b, c, d = place, place + block, place + 2 * block, place + 3 * block
    if whole:
        w = tl.load(logits + a, eviction_policy="evict_last")
        x = tl.load(logits + b, eviction_policy="evict_last")
        y = tl.load(logits + c, eviction_policy="evict_last")
        z = tl.load(logits + d, eviction_policy="evict_last")
    else:
        w = tl.load(logits + a, mask=a < count, other=_LEAST, eviction_policy="evict_last")
        x = tl.load(logits + b, mask=b < count, other=_LEAST, eviction_policy="evict_last")
        y = tl.load(logits + c, mask=c < count, other=_LEAST, eviction_policy="evict_last")
        z = tl.load(logits + d, mask=d < count, other=_LEAST, eviction_policy="evict_last")
    return w.to(tl.float32), x.to(tl.float32), y.to(tl.float32), z.to(tl.float32)


@triton.jit
def _add_tiles(logits, place, count, high, total, block: tl.constexpr, whole: tl.constexpr):
    """Return each lane's maximum times `_LOG2E` and its sum with four tiles more."""
    a, b, c, d = _four(logits, place, count, block, whole)
    higher = tl.maximum(tl.max(tl.maximum(a, b), 1), tl.max(tl.maximum(c, d), 1))
    # sums are by the rounded product, so that its rounding, not the same in all lanes, cancels
    higher = tl.maximum(high, higher * _LOG2E)
    total *= tl.exp2(high - higher)
    by = higher[:, None]
    return higher, total + tl.sum(
        (_power(a, by) + _power(b, by)) + (_power(c, by) + _power(d, by)), 1
    )


@triton.jit
def _statistics(logits, count: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr):
    """Return the largest of ``logits[:count]`` times `_LOG2E`, and the sum of `_power` by it."""
    high = tl.full((lanes,), _LEAST, tl.float32)
    total = tl.zeros((lanes,), tl.float32)
    place = tl.arange(0, lanes)[:, None] * width + tl.arange(0, width)[None, :]
    block: tl.constexpr = lanes * width
    whole: tl.constexpr = count // (4 * block) * (4 * block)
    for start in range(0, whole, 4 * block):  # four loads on their way at a time
        high, total = _add_tiles(logits, start + place, count, high, total, block, True)
    if whole < count:
        high, total = _add_tiles(logits, whole + place, count, high, total, block, False)
    top = tl.max(high, 0)
    return top, tl.sum(total * tl.exp2(high - top), 0)


@triton.jit
def _add_up(
    logits, ends, memo, high, part,
    joined: tl.constexpr, deep: tl.constexpr, ranks: tl.constexpr, sums: tl.constexpr,
):  # fmt: skip
    """Write `part` times the sum of `_power` of each sum's other tokens to ``memo[:joined]``."""
    column = tl.arange(0, deep)
    end = tl.load(ends + column, mask=column < joined, other=0)
    begin = tl.load(ends + column - 1, mask=(column > 0) & (column < joined), other=0)
    place = begin[:, None] + tl.arange(0, ranks)[None, :]
    total = tl.zeros((deep, ranks), tl.float32)
    most = tl.load(ends)  # of the first sum; the others have as many or fewer
    while most > 0:
        x = tl.load(logits + place, mask=place < end[:, None], other=_LEAST)
        total += _power(x.to(tl.float32), high)
        place += ranks
        most -= ranks
    tl.store(memo + column, tl.sum(total, 1) * part, mask=column < joined)
    for first in range(deep, joined, sums):
        columns = first + tl.arange(0, sums)
        inside = columns < joined
        stop = tl.load(ends + columns, mask=inside, other=0)
        at = tl.load(ends + columns - 1, mask=inside, other=0)
        most = tl.load(ends + first) - tl.load(ends + first - 1)
        even = tl.zeros((sums,), tl.float32)
        odd = tl.zeros((sums,), tl.float32)
        while most > 0:  # two loads on their way at a time
            x = tl.load(logits + at, mask=at < stop, other=_LEAST)
            y = tl.load(logits + at + 1, mask=at + 1 < stop, other=_LEAST)
            even += _power(x.to(tl.float32), high)
            odd += _power(y.to(tl.float32), high)
            at += 2
            most -= 2
        tl.store(memo + columns, (even + odd) * part, mask=inside)


@triton.jit
def _gradient_tile(
    student, teacher, memo, start, place, wanted, of_label, z_high, z_part, t_high, t_part, summed,
    size: tl.constexpr, joined: tl.constexpr, taught: tl.constexpr, block: tl.constexpr,
    whole: tl.constexpr,
):  # fmt: skip
    """Write a tile's gradient; return `summed` less target times log2 of `_power`."""
    column = start + place
    inside = column < size
    if whole:
        z = tl.load(student + column, eviction_policy="evict_first").to(tl.float32)
    else:
        z = tl.load(student + column, mask=inside, other=0.0, eviction_policy="evict_first")
        z = z.to(tl.float32)
    z = tl.fma(z, tl.full(z.shape, _LOG2E, tl.float32), -z_high)
    target = tl.zeros((block,), tl.float32)
    if taught:
        if whole:
            x = tl.load(teacher + column, eviction_policy="evict_first")
        else:
            x = tl.load(
                teacher + column, mask=inside, other=_LEAST, eviction_policy="evict_first"
            )
        target = _power(x.to(tl.float32), t_high) * t_part
        if start < joined:
            target += tl.load(memo + column, mask=column < joined, other=0.0)
    if (wanted >= start) & (wanted < start + block):
        target += tl.where(column == wanted, of_label, 0.0)
    gradient = tl.exp2(z) * z_part - target
    gradient = gradient.to(student.dtype.element_ty)
    if whole:
        tl.store(student + column, gradient, eviction_policy="evict_first")
    else:
        tl.store(student + column, gradient, mask=inside, eviction_policy="evict_first")
    return summed - target * z


@triton.jit
def ad_loss_kernel(
    student, teacher, label, source, ends, running, loss,
    rows, kd, ce, size: tl.constexpr, joined: tl.constexpr, others: tl.constexpr,
    taught: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr, deep: tl.constexpr,
    ranks: tl.constexpr, sums: tl.constexpr,
):  # fmt: skip
    """Write each row's loss, and the gradient by the student's logits over them.

    student ``[rows, size]``, teacher ``[rows, size + others]``: logits in `FirstPiece`'s orders;
    ends ``[joined]``; running fp32 ``[programs, joined]``: what this kernel writes down on its way.
    """
    block: tl.constexpr = lanes * width
    whole: tl.constexpr = size // block * block
    place = tl.arange(0, block)
    memo = running + tl.program_id(0).to(tl.int64) * joined
    row = tl.program_id(0)
    while row < rows:
        z_row = student + tl.cast(row, tl.int64) * size
        t_row = teacher + tl.cast(row, tl.int64) * (size + others)
        wanted = tl.load(label + row).to(tl.int32)
        counted = tl.where(wanted >= 0, 1.0, 0.0)
        of_label = counted
        t_high, t_part = 0.0, 0.0
        if taught:
            drawn = tl.load(source + row) < 0  # within a teacher token: the piece that follows
            of_label = tl.where(drawn, kd + ce, ce) * counted
            t_high, t_sum = _statistics(t_row, size + others, lanes, width)
            t_part = tl.where(drawn, 0.0, kd) * counted / t_sum
        z_high, z_sum = _statistics(z_row, size, lanes, width)
        z_part = counted / z_sum
        if taught and joined > 0:
            tl.debug_barrier()  # all have read what the row before left in memory
            _add_up(t_row + size, ends, memo, t_high, t_part, joined, deep, ranks, sums)
            tl.debug_barrier()
        summed = tl.zeros((block,), tl.float32)
        for start in range(0, whole, block):
            summed = _gradient_tile(
                z_row, t_row, memo, start, place, wanted, of_label, z_high, z_part, t_high, t_part,
                summed, size, joined, taught, block, True,
            )  # fmt: skip
        if whole < size:
            rest: tl.constexpr = triton.next_power_of_2(size - whole)
            last = _gradient_tile(
                z_row, t_row, memo, whole, tl.arange(0, rest), wanted, of_label, z_high, z_part,
                t_high, t_part, tl.zeros((rest,), tl.float32), size, joined, taught, rest, False,
            )  # fmt: skip
            summed_last = tl.sum(last, 0)
        else:
            summed_last = 0.0
        # the target's sum is 1 but for rounding, the logarithm of the sum times it the other part
        value = (tl.sum(summed, 0) + summed_last) * _LN2 + tl.log(z_sum) * counted
        tl.store(loss + row, tl.where(wanted >= 0, value, 0.0))
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
    running = torch.empty(programs * joined, dtype=torch.float32, device=logits.device)
    loss = torch.empty(rows, dtype=torch.float32, device=logits.device)
    ad_loss_kernel[(programs,)](
        logits, teacher if taught else logits, label, source, ends, running, loss,
        rows, *(shares if taught else (0.0, 1.0)),
        size=size, joined=joined, others=others, taught=taught, lanes=LANES, width=WIDTH,
        deep=DEEP, ranks=RANKS, sums=SUMS, num_warps=WARPS, maxnreg=REGISTERS,
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
