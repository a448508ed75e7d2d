"""Energy of what a fleet did, and what its tokens cost."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import is_number, shown
from ..errors import InputError
from ..interval import Interval
from ..system import Machine
from ..workload import Pass
from .tally import Tally

YEAR_S = 365.25 * 86400
"""Seconds of a year."""
JOULES_PER_KWH = 3.6e6
"""Joules of a kilowatt-hour."""
MOST_AMOUNT = 1e12
"""Most dollars of a price, and most years: far beyond any, and no sum of them overflows."""


def dynamic_energy_j(machine: Machine, tally: Tally) -> Interval:
    """Return the energy of iterations without static power, J: ``Machine.pass_energy`` summed."""
    attended, cached = machine.attention_energy
    sums = [
        attended[case] * tally.attended + cached[case] * tally.cached for case in range(3)
    ]
    for (tokens, outputs), count in tally.shapes.items():
        each = machine.pass_energy(Pass(tokens, 0, 0, outputs))
        for case in range(3):
            sums[case] += each[case] * count
    return Interval(*sums)


def check_amount(name: str, value: object, *, above_zero: bool = False) -> None:
    """Raise InputError if dollars or years, called `name`, are not from 0 to MOST_AMOUNT."""
    if not is_number(value) or not 0 <= value <= MOST_AMOUNT or (above_zero and not value):
        rule = "above 0 and at most" if above_zero else "from 0 to"
        raise InputError(f"{name} must be {rule} {MOST_AMOUNT:g}, not {shown(value)}")


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What running an accelerator costs; assumptions of whoever gives them.

    Parameters
    ----------
    accelerator_usd
        Price of one accelerator with its share of everything around it, US dollars.
    years
        Over which the price is spread evenly, whether or not there is work.
    usd_per_kwh
        Price of energy, US dollars a kWh.

    Raises
    ------
    InputError
        If a price is not from 0 to MOST_AMOUNT, or the years not above 0.
    """

    accelerator_usd: float
    years: float = 3.0
    usd_per_kwh: float = 0.1

    def __post_init__(self) -> None:
        for name in ("accelerator_usd", "years", "usd_per_kwh"):
            check_amount(name, getattr(self, name), above_zero=name == "years")

    def usd(self, accelerators: int, seconds: float, energy_j: Interval) -> Interval:
        """Return what a fleet costs in some time, US dollars.

        ``accelerators * accelerator_usd * seconds / (years * YEAR_S) + energy / 3.6e6 * kWh price``
        """
        amortised = accelerators * self.accelerator_usd * seconds / (self.years * YEAR_S)
        energy = energy_j * (self.usd_per_kwh / JOULES_PER_KWH)
        return Interval.exactly(amortised) + energy

    def to_dict(self) -> dict[str, object]:
        """Return the prices for a report."""
        return {"accelerator_usd": self.accelerator_usd, "years": self.years,
                "usd_per_kwh": self.usd_per_kwh, "mark": "assumed"}
