"""A quantity that is known only to a range: low <= nominal <= high."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .checks import is_number
from .errors import InputError


@dataclass(frozen=True)
class Interval:
    """A non-negative range with a best guess inside; the unit is its owner's to state.

    Sums and products are taken bound by bound. That is the exact range when the operands may move
    freely, and a wide one when they are correlated: it never claims more than is known.

    Parameters
    ----------
    low, nominal, high
        Finite numbers with ``0 <= low <= nominal <= high``.

    Raises
    ------
    InputError
        If a bound is not a finite number of at least 0, or the three are out of order.
    """

    low: float
    nominal: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "nominal", "high"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise InputError(
                    f"{name} of an interval must be a finite number of at least 0, not {value!r}"
                )
        if not self.low <= self.nominal <= self.high:
            raise InputError(
                f"an interval must hold low <= nominal <= high, not "
                f"{self.low!r}, {self.nominal!r}, {self.high!r}"
            )

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """Return the interval that holds `value` alone."""
        return cls(value, value, value)

    @classmethod
    def around(cls, nominal: float, below: float, above: float) -> Interval:
        """Return ``nominal * below .. nominal .. nominal * above`` (below <= 1 <= above)."""
        return cls(nominal * below, nominal, nominal * above)

    def __add__(self, other: Interval) -> Interval:
        if not isinstance(other, Interval):
            return NotImplemented
        return Interval(
            self.low + other.low, self.nominal + other.nominal, self.high + other.high
        )

    def __mul__(self, other: Interval | float) -> Interval:
        if isinstance(other, Interval):
            return Interval(
                self.low * other.low, self.nominal * other.nominal, self.high * other.high
            )
        if not is_number(other):
            return NotImplemented
        if not math.isfinite(other) or other < 0:
            raise InputError(
                f"an interval can be multiplied by a finite number of at least 0, not {other!r}"
            )
        return Interval(self.low * other, self.nominal * other, self.high * other)

    __rmul__ = __mul__

    def reciprocal(self) -> Interval:
        """Return ``1 / self``: the bounds change places.

        Raises
        ------
        InputError
            If the interval reaches down to 0.
        """
        if self.low <= 0:
            raise InputError(f"the reciprocal needs an interval above 0, not one from {self.low!r}")
        return Interval(1 / self.high, 1 / self.nominal, 1 / self.low)

    def at_least(self, floor: float) -> Interval:
        """Return the interval of ``max(self, floor)`` for an exactly known `floor`."""
        return Interval(max(self.low, floor), max(self.nominal, floor), max(self.high, floor))

    def to_dict(self) -> dict[str, float]:
        """Return ``{"low": ..., "nominal": ..., "high": ...}``."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}


ZERO = Interval(0.0, 0.0, 0.0)
"""The empty sum."""


def total(intervals: Iterable[Interval]) -> Interval:
    """Return the sum of an iterable of intervals."""
    result = ZERO
    for interval in intervals:
        result = result + interval
    return result
