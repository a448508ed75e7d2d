"""What a sweep knows of a design, limits on it, and objectives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Metric:
    """A figure of a design: whether more is better, its unit, whether it has low and high bounds.

    `static` figures need no simulation.
    """

    maximise: bool
    unit: str
    ranged: bool = False
    static: bool = False


METRICS: dict[str, Metric] = {
    "tokens_per_second": Metric(True, "tokens/s", ranged=True),
    "joules_per_token": Metric(False, "J", ranged=True),
    "watts": Metric(False, "W", ranged=True),
    "step_s": Metric(False, "s", ranged=True),
    "time_to_first_token_s": Metric(False, "s", ranged=True),
    "lut": Metric(False, "LUT", static=True),
    "usd": Metric(False, "USD", static=True),
    "lanes": Metric(False, "lanes", static=True),
}
"""Figures by name. Ranged ones also exist as ``NAME_low`` and ``NAME_high``."""

_LIMIT = re.compile(r"\s*([a-z_]+)\s*(<=|>=|≤|≥)\s*(\S+)\s*")


def metric(name: str) -> Metric:
    """Return the figure called `name`, bounds included; raises InputError for an unknown one."""
    if name in METRICS:
        return METRICS[name]
    base, _, bound = name.rpartition("_")
    if bound in ("low", "high") and base in METRICS and METRICS[base].ranged:
        return METRICS[base]
    raise InputError(
        f"a figure of a design is one of {', '.join(METRICS)} (ranged ones also with _low or "
        f"_high), not {name!r}"
    )


@dataclass(frozen=True)
class Limit:
    """A rule ``name <= value`` (or ``>=`` with `upper` false)."""

    name: str
    upper: bool
    value: float

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.upper else '>='} {self.value:g}"

    def holds(self, figures: Mapping[str, float | None]) -> bool:
        """Return whether a design keeps the limit; a figure that it lacks does not."""
        value = figures.get(self.name)
        if value is None:
            return False
        return value <= self.value if self.upper else value >= self.value


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Read ``"lut<=100000, watts<=10"``.

    Raises
    ------
    InputError
        If a part is no limit, names an unknown figure, or its value is no finite number.
    """
    limits = []
    for part in text.split(",") if text.strip() else ():
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise InputError(f"a constraint must read NAME<=NUMBER or NAME>=NUMBER, not {part!r}")
        name, relation, number = match.groups()
        metric(name)
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"the bound of {name} must be a finite number, not {number!r}")
        limits.append(Limit(name, relation in ("<=", "≤"), value))
    return tuple(limits)


def parse_objectives(text: str) -> tuple[str, ...]:
    """Read ``"tokens_per_second, watts"``: figures, each better in its own direction.

    Raises
    ------
    InputError
        If a figure is unknown or named twice, or there is none.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        metric(name)
    if len(set(names)) < len(names):
        raise InputError(f"an objective must be named once, not {text!r}")
    return names
