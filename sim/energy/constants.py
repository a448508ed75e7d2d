"""Energy constants of on-chip events, each with range, source and mark.

All constants are picojoules per event. Marks: ``published`` (printed in the source named),
``unverified`` (said of the source named but not read there, with a wide range), ``scaled``
(computed from a published one by the formula named), ``assumed`` (no source found).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ..errors import InputError
from ..interval import Interval

Mark = Literal["published", "unverified", "scaled", "assumed"]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A physical constant with its range and where it comes from.

    Parameters
    ----------
    value
        Low, nominal and high, in `unit`.
    unit
        E.g. ``pJ``, ``pJ/bit``.
    mark
        ``published``, ``unverified``, ``scaled`` or ``assumed``.
    source
        Where nominal and range come from.
    """

    value: Interval
    unit: str
    mark: Mark
    source: str

    def to_dict(self) -> dict[str, object]:
        """Return the constant for a report."""
        return {
            **self.value.to_dict(),
            "unit": self.unit,
            "mark": self.mark,
            "source": self.source,
        }


@dataclass(frozen=True, kw_only=True)
class Technology:
    """Energy constants of one way to build the logic.

    Parameters
    ----------
    name, description
        What reports call it, and what it stands for.
    int_add_8, int_add_32
        One integer addition of 8 and of 32 bits; other widths lie on the line through the two.
    fp16_mul, fp16_add
        One 16-bit float multiplication and addition.
    register_bit
        One flip-flop clocked once, clock and data.
    sram_read_bit, sram_write_bit
        One bit read from, written to an on-chip memory of tens of kilobytes.
    """

    name: str
    description: str
    int_add_8: Constant
    int_add_32: Constant
    fp16_mul: Constant
    fp16_add: Constant
    register_bit: Constant
    sram_read_bit: Constant
    sram_write_bit: Constant

    def constants(self) -> dict[str, Constant]:
        """Return every constant by name."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Constant)
        }

    def int_add_pj(self, bits: int) -> Interval:
        """Return the energy of one integer addition of `bits` bits, pJ.

        ``E(b) = E8 + (b - 8) * (E32 - E8) / 24``, bound by bound: the line through the published
        8- and 32-bit additions. Legal from 4 bits on.
        """
        if not isinstance(bits, int) or isinstance(bits, bool) or bits < 4:
            raise InputError(f"an addition must be of at least 4 bits, not {bits!r}")
        eight, thirty_two = self.int_add_8.value, self.int_add_32.value
        return Interval(
            *(
                getattr(eight, bound)
                + (bits - 8) * (getattr(thirty_two, bound) - getattr(eight, bound)) / 24
                for bound in ("low", "nominal", "high")
            )
        )
