"""Switching activity: how much more or less nets switch than the energy constants suppose.

The constants are energies per operation, as their sources measured them, on operands that those do
not describe. A calibration (Verilator SAIF of real activations against the operands of the source)
multiplies them by a factor per class of nets. Without one, all factors are exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import InputError
from ..interval import Interval

NET_CLASSES = ("adders", "array_registers", "on_chip_memory", "front_end_and_drain", "vector_unit")
"""Classes of nets that can be calibrated."""

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

    Raises
    ------
    InputError
        If a class is unknown.
    """

    factors: dict[str, Interval] = field(default_factory=dict)
    source: str

    def __post_init__(self) -> None:
        unknown = sorted(set(self.factors) - set(NET_CLASSES))
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
            "source": self.source,
            "factors": {name: self.factor(name).to_dict() for name in NET_CLASSES},
        }


UNCALIBRATED = Activity(source="none: every event costs what its constant says (assumed)")
"""Factor 1 for every class."""
