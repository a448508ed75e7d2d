"""Switching activity: how much more or less nets switch than the energy constants suppose.

The constants are energies per operation, measured by their sources on operands that those do not
describe. They are taken to hold for operands whose every bit is a fair coin each time: it toggles
with probability ``REFERENCE_TOGGLES`` = 1/2 per operation, as do the bits of the sum. An activity
multiplies the constants by a factor per class of nets: measured toggles over those. Which figures
there are is in :mod:`sim.energy.calibration`; without any, all factors are exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import InputError
from ..interval import Interval

NET_CLASSES = (
    "adders", "accumulators", "array_registers", "on_chip_memory", "front_end", "wide_adders",
    "vector_unit",
)  # fmt: skip
"""Classes of nets that can be calibrated: adder trees, additions to the accumulators, registers of
the array, memories, multipliers of the front end, additions of beta*x and of the drain, vector
unit."""

REFERENCE_TOGGLES = 0.5
"""Toggles per bit and operation that the constants are taken to stand for."""

Mark = Literal["measured", "modelled", "assumed"]

_ONE = Interval.exactly(1.0)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Factors on the energy of each class of nets.

    Parameters
    ----------
    factors
        By class (``NET_CLASSES``); a class that is not there has factor 1.
    source
        Where the factors come from.
    data
        What data they are of; for reports.
    marks
        By class: ``measured``; ``modelled``, measured on another engine of the structure; or
        ``assumed``, which a class that is not there is.

    Raises
    ------
    InputError
        If a class is unknown.
    """

    factors: dict[str, Interval] = field(default_factory=dict)
    source: str
    data: str = "none"
    marks: dict[str, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted((set(self.factors) | set(self.marks)) - set(NET_CLASSES))
        if unknown:
            raise InputError(
                f"a class of nets is one of {', '.join(NET_CLASSES)}, not {', '.join(unknown)}"
            )

    def factor(self, net_class: str) -> Interval:
        """Return the factor of `net_class`."""
        if net_class not in NET_CLASSES:
            raise InputError(
                f"a class of nets is one of {', '.join(NET_CLASSES)}, not {net_class!r}"
            )
        return self.factors.get(net_class, _ONE)

    def to_dict(self) -> dict[str, object]:
        """Return the factors of all classes for a report."""
        return {
            "data": self.data,
            "source": self.source,
            "reference_toggles_per_bit": REFERENCE_TOGGLES,
            "factors": {
                name: {**self.factor(name).to_dict(), "mark": self.marks.get(name, "assumed")}
                for name in NET_CLASSES
            },
        }


UNCALIBRATED = Activity(source="none: every event costs what its constant says (assumed)")
"""Factor 1 for every class."""
