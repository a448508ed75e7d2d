"""How long prompts and outputs are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ..checks import check_integer, is_number
from ..errors import InputError

KINDS = ("fixed", "geometric", "lognormal")
"""Distributions of lengths."""

_TEXT = re.compile(r"([a-z]+):(.+)")


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """A distribution of token counts, drawn, rounded and brought into ``low`` to ``high``.

    Parameters
    ----------
    kind
        ``fixed``; ``geometric`` from 1 on, of probability ``1 / mean``; ``lognormal`` with
        ``sigma^2 = ln(1 + cv^2)`` and ``mu = ln(mean) - sigma^2 / 2``.
    mean
        Tokens, before `low` and `high` apply.
    cv
        Standard deviation by mean, lognormal only.
    low, high
        Limits of what is drawn.

    Raises
    ------
    InputError
        If the kind is unknown or a number out of its range.
    """

    kind: str = "fixed"
    mean: float
    cv: float = 1.0
    low: int = 1
    high: int = 1 << 20

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"lengths are one of {', '.join(KINDS)}, not {self.kind!r}")
        for name, least in (("mean", 1), ("cv", 0)):
            value = getattr(self, name)
            if not is_number(value) or not least <= value <= 1 << 20:
                raise InputError(
                    f"{name} of lengths must be a number from {least} to {1 << 20}, not {value!r}"
                )
        if self.kind == "fixed" and self.mean != int(self.mean):
            raise InputError(f"a fixed length must be an integer, not {self.mean!r}")
        for name in ("low", "high"):
            check_integer(f"{name} of lengths", getattr(self, name), 1, 1 << 20)
        if self.low > self.high:
            raise InputError(f"low of lengths must be at most high = {self.high}, not {self.low}")

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """Return the lengths that a text says.

        ``512``, ``geometric:mean=64,high=512``, ``lognormal:mean=300,cv=1.2,high=1500``.

        Raises
        ------
        InputError
            If it is no such text.
        """
        if re.fullmatch(r"[0-9]{1,15}", text.strip()):
            return cls(mean=int(text))
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise InputError(
                f"lengths must read like 512, geometric:mean=64 or lognormal:mean=300,cv=1.2,"
                f"low=1,high=1500, not {text!r}"
            )
        values: dict[str, float] = {}
        for part in match[2].split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if not equals or name not in ("mean", "cv", "low", "high") or name in values:
                raise InputError(
                    f"lengths take mean, cv, low and high, each once as NAME=NUMBER, not {part!r}"
                )
            try:
                values[name] = int(number) if name in ("low", "high") else float(number)
            except ValueError:
                raise InputError(f"{name} of lengths must be a number, not {number!r}") from None
        if "mean" not in values:
            raise InputError(f"lengths need a mean, which {text!r} lacks")
        return cls(kind=match[1], **values)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return `count` lengths, int64 ``[count]``."""
        if self.kind == "fixed":
            drawn = np.full(count, int(self.mean))
        elif self.kind == "geometric":
            drawn = rng.geometric(1 / self.mean, size=count)
        else:
            variance = math.log1p(self.cv**2)
            drawn = np.rint(
                rng.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), size=count)
            )
        return np.clip(drawn, self.low, self.high).astype(np.int64)

    def to_dict(self) -> dict[str, object]:
        """Return the distribution for a report."""
        shape = {"cv": self.cv} if self.kind == "lognormal" else {}
        return {"kind": self.kind, "mean": self.mean, **shape, "low": self.low, "high": self.high}
