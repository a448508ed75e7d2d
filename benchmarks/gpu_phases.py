"""Where each phase of a step in one launch goes, from the stamps of its blocks.

Cycles are those of a block's own processor; between blocks only spans are compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from signacc.baseline.step import PHASES

PARTS = ("weights", "others", "planes", "sums", "writing")
"""What a phase is cut into: waiting for the block's own weights; for what other blocks make; bit
planes (of attention: the cached positions); counts and their sums; and to the next phase."""

HEAD = ("others", "planes", "sums")
"""The same of the head, whose `planes` is the vector normed and staged."""


def spans_of(stamps: Tensor) -> Tensor:
    """Return cycles of each of :data:`PARTS`, float64 ``[blocks, layers, phases, parts]``.

    Parameters
    ----------
    stamps
        :attr:`signacc.baseline.step.OneLaunch.stamps`. The clock has 32 bits and runs over.

    Returns
    -------
    Tensor
        NaN where a block lacks a mark, as it has no work in the phase.
    """
    blocks, more, phases, marks = stamps.shape
    layers = stamps[:, :-1].reshape(blocks, -1, marks)
    ends = torch.cat([layers[:, 1:, 0], stamps[:, -1, 0, :1]], 1)  # the next phase's begin
    times = torch.cat([layers, ends[..., None]], 2).long()
    spans = ((times[..., 1:] - times[..., :-1]) % 2**32).double()
    spans[(times[..., 1:] == 0) | (times[..., :-1] == 0)] = torch.nan
    return spans.reshape(blocks, more - 1, phases, marks)


def head_of(stamps: Tensor) -> Tensor:
    """Return cycles of :data:`HEAD` of each block, float64 ``[blocks, 3]``."""
    times = stamps[:, -1, 0, [0, 2, 3, 4]].long()
    return ((times[:, 1:] - times[:, :-1]) % 2**32).double()


def phases_of(stamps: Tensor) -> dict[str, object]:
    """Return what a record says of a step's phases.

    By phase, each of :data:`PARTS` in cycles, the median over layers: of block 0, of the block
    that works longest once its inputs are there (`slowest`), and the median of all blocks.
    ``step_cycles`` is block 0's, from its first stamp to its last.
    """
    spans, head = spans_of(stamps.cpu()), head_of(stamps.cpu())
    found: dict[str, object] = {}
    for i, phase in enumerate(PHASES):
        each = spans[:, :, i].nanmedian(1).values  # [blocks, parts]
        work = each[:, 2:].sum(1)
        slowest = int(work.nan_to_num(-1.0).argmax())
        found[phase] = {
            "block 0": _named(each[0], PARTS), "slowest": _named(each[slowest], PARTS),
            "slowest block": slowest, "all": _named(each.nanmedian(0).values, PARTS),
        }
    slowest = int(head.sum(1).argmax())
    found["head"] = {
        "block 0": _named(head[0], HEAD), "slowest": _named(head[slowest], HEAD),
        "slowest block": slowest, "all": _named(head.median(0).values, HEAD),
    }
    whole = (int(stamps[0, -1, 0, 4]) - int(stamps[0, 0, 0, 0])) % 2**32
    return {"step_cycles": whole, "phases": found}


def _named(values: Tensor, names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: None if v.isnan() else float(v) for name, v in zip(names, values, strict=True)}


def table(found: dict[str, object]) -> list[str]:
    """Return lines of a phase's parts, block 0 / slowest / all, in cycles."""
    lines = [f"{'cycles (block 0, slowest, all)':30s}" + "".join(f"{p:>22s}" for p in PARTS)]
    for phase, of in found["phases"].items():
        line = f"{phase + ', slowest ' + str(of['slowest block']):30s}"
        for part in PARTS:
            three = (of[who].get(part) for who in ("block 0", "slowest", "all"))
            line += f"{' '.join('-' if v is None else format(v, '.0f') for v in three):>22s}"
        lines.append(line)
    return lines
