"""One figure to compare estimates with, and its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import date as calendar_date

from ..checks import check_printable, is_integer, is_number, shown
from ..errors import InputError

MARKS = ("measured", "published")
"""Legal values of ``Baseline.mark``."""

PHASES = ("decode", "prefill")
"""Legal values of ``Baseline.phase``."""

ENERGY_SOURCES = ("counter", "sampled")
"""Where measured energy comes from: the board's energy counter, or power samples."""

SHARE_LIMIT = 4.0
"""Largest share of a ceiling that is believed: caches beat memory, but not by more."""

WATTS_LIMIT = 200_000.0
"""Largest power that is believed, W: more than a rack takes. Beyond it a unit is wrong."""

LARGEST_COUNT = 2**53
"""Largest batch, context or number of repeats: up to it every reader of JSON agrees on integers."""

LARGEST_SPREAD = 1e6
"""Largest (max - min) / median that is believed."""

RANGES = {
    "tokens_per_second": (1e-6, 1e12),
    "joule_per_token": (1e-12, 1e9),
    "energy_seconds": (1e-6, 1e9),
    "copy_bytes_per_second": (1e3, 1e18),
    "matmul_flop_per_second": (1e3, 1e24),
    "int8_op_per_second": (1e3, 1e24),
    "idle_watts": (1e-6, WATTS_LIMIT),
}
"""Figures that are believed: what is computed from them is finite."""


def check_count(name: str, value: object) -> None:
    """Raise InputError if `value`, called `name`, is no integer from 1 to ``LARGEST_COUNT``."""
    if not is_integer(value) or value < 1:
        raise InputError(f"{name} must be a positive integer, not {shown(value)}")
    if value > LARGEST_COUNT:
        raise InputError(f"{name} must be at most {LARGEST_COUNT}, not {shown(value)}")


def check_believed(name: str, value: object) -> None:
    """Raise InputError if `value`, called `name`, is no number in its range of ``RANGES``."""
    if not is_number(value) or value <= 0:
        raise InputError(f"{name} must be a finite number above 0, not {shown(value)}")
    least, largest = RANGES[name]
    if not least <= value <= largest:
        raise InputError(f"{name} must be from {least:g} to {largest:g}, not {shown(value)}")


def is_text(value: object) -> bool:
    """Return whether `value` is a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def check_text(name: str, value: object, *, optional: bool = False) -> None:
    """Raise InputError if `value`, called `name`, is no text that can be shown."""
    if optional and value is None:
        return
    if not is_text(value):
        rule = "a non-empty text or null" if optional else "a non-empty text"
        raise InputError(f"{name} must be {rule}, not {shown(value)}")
    check_printable(name, value)


def check_label(name: str, value: object, *, optional: bool = False) -> None:
    """Raise InputError if `value`, called `name`, is no text of one line that tables can show."""
    check_text(name, value, optional=optional)
    if value is not None and ("\n" in value or "\t" in value):
        raise InputError(f"{name} must be a text of one line without tabs, not {shown(value)}")


def is_date(value: object) -> bool:
    """Return whether `value` is a date as ``YYYY-MM-DD``."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return False
    try:
        calendar_date.fromisoformat(value)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One figure to compare with; the keys of a baselines file, as the package says.

    Raises
    ------
    InputError
        If a value breaks its rule; the message names the field.
    """

    name: str
    model: str
    batch: int
    context: int | None
    tokens_per_second: float
    joule_per_token: float | None
    mark: str
    source: str
    command: str | None
    date: str | None
    notes: str = ""
    phase: str = "decode"
    path: str | None = None
    spread: float | None = None
    repeats: int | None = None
    bandwidth_share: float | None = None
    compute_share: float | None = None
    limit_share: float | None = None
    energy_source: str | None = None
    energy_seconds: float | None = None
    early: str | None = None

    def __post_init__(self) -> None:
        for field in ("name", "model"):
            check_label(field, getattr(self, field))
        check_text("source", self.source)
        check_count("batch", self.batch)
        if self.context is not None or self.mark != "published":
            check_count("context", self.context)
        check_believed("tokens_per_second", self.tokens_per_second)
        for field in ("joule_per_token", "energy_seconds"):
            if getattr(self, field) is not None:
                check_believed(field, getattr(self, field))
        for field, legal in (("mark", MARKS), ("phase", PHASES)):
            value = getattr(self, field)
            if value not in legal:
                raise InputError(f"{field} must be one of {', '.join(legal)}, not {shown(value)}")
        check_text("command", self.command, optional=True)
        for field in ("path", "early"):
            check_label(field, getattr(self, field), optional=True)
        if self.date is not None and not is_date(self.date):
            raise InputError(f"date must be YYYY-MM-DD or null, not {shown(self.date)}")
        if not isinstance(self.notes, str):
            raise InputError(f"notes must be a text, not {shown(self.notes)}")
        check_printable("notes", self.notes)
        unrecorded = self.command is None or self.date is None
        if self.mark == "measured" and unrecorded and not self.notes.strip():
            raise InputError(
                "notes must say why a measured figure has no command or no date, not be empty"
            )
        self._check_measurement()
        if self.watts is not None and self.watts > WATTS_LIMIT:
            raise InputError(
                f"joule_per_token times tokens_per_second must be at most {WATTS_LIMIT:,.0f} W, "
                f"not {self.watts:,.0f} W: is a unit wrong?"
            )

    def _check_measurement(self) -> None:
        """Check what only measurements by ``signacc baseline`` have."""
        if self.repeats is not None:
            check_count("repeats", self.repeats)
        if self.spread is not None and (not is_number(self.spread) or self.spread < 0):
            raise InputError(
                f"spread must be a finite number of at least 0, not {shown(self.spread)}"
            )
        if self.spread is not None and self.spread > LARGEST_SPREAD:
            raise InputError(
                f"spread must be at most {LARGEST_SPREAD:,.0f}, not {shown(self.spread)}"
            )
        for field in ("bandwidth_share", "compute_share", "limit_share"):
            value = getattr(self, field)
            if value is not None and not (is_number(value) and 0 < value <= SHARE_LIMIT):
                raise InputError(
                    f"{field} must be above 0 and at most {SHARE_LIMIT:g}, not {shown(value)}"
                )
        if self.energy_source is not None:
            if self.energy_source not in ENERGY_SOURCES:
                raise InputError(
                    f"energy_source must be one of {', '.join(ENERGY_SOURCES)} or null, "
                    f"not {shown(self.energy_source)}"
                )
            if self.joule_per_token is None:
                raise InputError("joule_per_token must be given where energy_source is, not null")

    @property
    def watts(self) -> float | None:
        """Mean power that the two figures imply, W; None without an energy."""
        if self.joule_per_token is None:
            return None
        return self.joule_per_token * self.tokens_per_second

    def to_dict(self) -> dict[str, object]:
        """Return the entry as it stands in a baselines file, without what was not measured."""
        defaults = {f.name: f.default for f in fields(self)} | {"notes": MISSING}
        return {
            k: v for k, v in asdict(self).items() if defaults[k] is MISSING or v != defaults[k]
        }

    @classmethod
    def from_dict(
        cls, data: object, *, where: str = "baseline", defaults: Mapping[str, object] | None = None
    ) -> Baseline:
        """Build from a JSON object; missing and unknown keys are refused by name.

        `defaults` gives what all entries of a file share.
        """
        if not isinstance(data, dict):
            raise InputError(f"{where} must be a JSON object, not {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise InputError(
                f"{where}: keys must be among {', '.join(known)}, not {', '.join(unknown)}"
            )
        data = {**(defaults or {}), **data}
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in data]
        if missing:
            raise InputError(f"{where} must give {', '.join(missing)}")
        try:
            return cls(**data)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
