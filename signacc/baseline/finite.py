"""Stops a check at the first linear that meets or makes NaN or infinity, and names it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import GateError


class Finite:
    """A path whose linears and head refuse what is not finite; all else is the path's own.

    For the check before timing alone: every call waits for its result.

    Parameters
    ----------
    path
        A :class:`signacc.baseline.paths.Path`.
    what
        The check, for the message.
    """

    def __init__(self, path: Any, what: str) -> None:
        self._path, self._what = path, what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._path, name)

    def linear(self, layer: int, part: str, x: Tensor, y: Tensor | None) -> Tensor:
        """Return the path's linear; raises GateError if x or the result is not finite."""
        where = f"layer {layer}, {part}"
        self._require(f"the input of {where}", x)
        out = self._path.linear(layer, part, x, y)
        self._require(f"the output of {where}", out if y is None else y)
        return out

    def step(self, *arguments: Any) -> Tensor:
        """Return the path's logits of a whole step; raises GateError if they are not finite."""
        out = self._path.step(*arguments)
        self._require("the output of the step in one launch", out)
        return out

    def head(self, x: Tensor) -> Tensor:
        """Return the path's logits; raises GateError if x or they are not finite."""
        self._require("the input of the head", x)
        out = self._path.head(x)
        self._require("the output of the head", out)
        return out

    def _require(self, where: str, values: Tensor) -> None:
        wrong = ~torch.isfinite(values)
        count = int(wrong.sum())
        if count:
            raise GateError(
                f"{self._what}: {where} must be finite, but {count} of {values.numel()} values "
                f"are not, the first is {values[wrong][0].item()}; this path is not timed"
            )
