"""Several passes over the same inputs as one FBI-linear: residual binarization and its kin.

A second pass is more inputs, not more arithmetic (docs/contract.md, "Residual passes"): operands
are concatenated, each pass is one group of inputs with its own scales per output, and the shift
counts once. Needs only numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
from .pack import check_packed, is_tensor, pack_ternary, to_numpy, unpack_ternary


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One binary or ternary matrix over some of the inputs.

    Attributes
    ----------
    signs, mask
        uint8 ``[N, ceil(k/8)]`` as :mod:`golden.pack` makes them; mask None means all ones.
    scale_in
        float16 ``[k]``.
    scale_out
        float16 ``[N]`` or None for 1.
    inputs
        Indices ``[k]`` of the inputs that it reads, or None for all in order.
    """

    signs: np.ndarray
    scale_in: np.ndarray
    scale_out: np.ndarray | None = None
    mask: np.ndarray | None = None
    inputs: np.ndarray | None = None


class Operands:
    """What holds the operands of an FBI-linear as attributes of their names."""

    def operands(self) -> dict[str, Any]:
        """Return the keyword arguments of ``fbi_linear`` but for x and the activation format."""
        names = ("signs", "scale_in", "shift_in", "mask", "scale_out", "group_size")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Composed(Operands):
    """Operands of the one FBI-linear that computes several passes.

    Attributes
    ----------
    signs, scale_in, shift_in, mask, scale_out, group_size
        As :func:`golden.linear.fbi_linear` takes them.
    inputs
        int64 ``[K']``: which element of x stands at each input; -1 where a zero fills up a group.
    """

    signs: np.ndarray
    scale_in: np.ndarray
    shift_in: np.ndarray
    mask: np.ndarray | None
    scale_out: np.ndarray | None
    group_size: int | None
    inputs: np.ndarray

    def expand(self, x: Any) -> Any:
        """Return x' ``[M, K']`` of x ``[M, K]``: numpy or torch, of any type, as it came."""
        tensor = is_tensor(x)
        shape = tuple(x.shape) if tensor else to_numpy(x, "x").shape
        k = int(self.inputs.max()) + 1  # the first pass reads all
        if len(shape) != 2 or shape[1] != k:
            raise InputError(f"x must have shape [M, {k}], not {shape}")
        filler = self.inputs < 0
        index = np.where(filler, 0, self.inputs)
        if tensor:
            torch = sys.modules["torch"]
            wide = x[:, torch.from_numpy(index)]
            return wide.masked_fill(torch.from_numpy(filler), 0)
        wide = x[:, index]
        wide[:, filler] = 0
        return wide


def compose(
    first: Pass, further: Sequence[Pass], shift_in: np.ndarray, *, align: int = 1
) -> Composed:
    """Return the operands of one FBI-linear that adds up `first` and all `further` passes.

    Parameters
    ----------
    first
        Reads all K inputs; `shift_in` belongs to it.
    further
        Passes over at most K inputs each, possibly repeated ones.
    shift_in
        float16 ``[K]``.
    align
        Groups become multiples of so many inputs (but for the last): filled up with zero inputs.
        For hardware that takes `align` inputs at a time.

    Raises
    ------
    InputError
        If the passes do not fit one another.
    """
    if not isinstance(align, int) or isinstance(align, bool) or align < 1:
        raise InputError(f"align must be a positive integer, not {align!r}")
    if first.inputs is not None:
        raise InputError("the first pass must read all inputs in order; its inputs must be None")
    passes = [first, *further]
    k = len(first.scale_in)
    n = len(check_packed(first.signs, k))
    if shift_in.shape != (k,):
        raise InputError(f"shift_in must have shape [{k}], not {shift_in.shape}")
    grouped = len(passes) > 1 and any(p.scale_out is not None for p in passes)
    size = -(-k // align) * align
    columns: list[tuple[np.ndarray, ...]] = []
    for i, part in enumerate(passes):
        length = len(part.scale_in)
        inputs = np.arange(k) if part.inputs is None else np.asarray(part.inputs)
        if inputs.shape != (length,) or length > k:
            raise InputError(
                f"pass {i} must read one input per scale and at most {k}, "
                f"not {inputs.shape} with {length} scales"
            )
        if not length:
            raise InputError(f"pass {i} must read at least one input, not 0")
        if inputs.dtype.kind != "i" or inputs.min() < 0 or inputs.max() >= k:
            raise InputError(f"inputs of pass {i} must be integers from 0 to {k - 1}")
        check_packed(part.signs, length, n=n)
        if part.scale_out is not None and part.scale_out.shape != (n,):
            raise InputError(
                f"scale_out of pass {i} must have shape [{n}], not {part.scale_out.shape}"
            )
        fill = size - length if grouped and i < len(passes) - 1 else 0
        columns.append(
            (
                np.pad(unpack_ternary(part.signs, part.mask, length), ((0, 0), (0, fill))),
                np.pad(part.scale_in, (0, fill)),
                np.pad(shift_in if i == 0 else np.zeros(length, np.float16), (0, fill)),
                np.pad(inputs.astype(np.int64), (0, fill), constant_values=-1),
            )
        )
    weights, scale_in, new_shift, inputs = (
        np.concatenate(part, axis=-1) for part in zip(*columns, strict=True)
    )
    signs, mask = pack_ternary(weights)
    ones = np.ones(n, np.float16)
    scale_out = first.scale_out
    if grouped:
        scale_out = np.stack(
            [ones if p.scale_out is None else p.scale_out for p in passes], axis=1
        )
    return Composed(
        signs=signs,
        scale_in=scale_in,
        shift_in=new_shift,
        mask=None if all(p.mask is None for p in passes) else mask,
        scale_out=scale_out,
        group_size=size if grouped else None,
        inputs=inputs,
    )


def residual(
    signs: np.ndarray,
    scale_in: np.ndarray,
    shift_in: np.ndarray,
    *,
    salient: np.ndarray,
    salient_signs: np.ndarray,
    salient_scale_in: np.ndarray,
    scale_out: np.ndarray | None = None,
    salient_scale_out: np.ndarray | None = None,
    align: int = 1,
) -> Composed:
    """Return the operands of a layer with a second binary matrix on some columns.

    Parameters
    ----------
    signs, scale_in, shift_in, scale_out
        The first pass, as ``fbi_linear`` takes it without groups.
    salient
        Indices of the columns that have a second pass.
    salient_signs, salient_scale_in, salient_scale_out
        The second pass: uint8 ``[N, ceil(len(salient)/8)]``, float16 ``[len(salient)]``, and
        float16 ``[N]`` or None for 1.
    align
        As for :func:`compose`.

    Raises
    ------
    InputError
        If the passes do not fit one another.
    """
    first = Pass(signs=signs, scale_in=scale_in, scale_out=scale_out)
    second = Pass(
        signs=salient_signs,
        scale_in=salient_scale_in,
        scale_out=salient_scale_out,
        inputs=salient,
    )
    return compose(first, [second], shift_in, align=align)
