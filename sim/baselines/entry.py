"""One figure to compare estimates with, and its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import date as calendar_date

from ..checks import check_printable, is_number, shown
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

_RANGES = {"tokens_per_second": (1e-6, 1e12), "joule_per_token": (1e-12, 1e9)}
"""Figures that are believed: what is computed from them is finite."""


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
        for field in ("name", "model", "source"):
            check_text(field, getattr(self, field))
        self._check_count("batch")
        if self.context is not None or self.mark != "published":
            self._check_count("context")
        self._check_above_zero("tokens_per_second")
        for field in ("joule_per_token", "energy_seconds"):
            if getattr(self, field) is not None:
                self._check_above_zero(field)
        for field, legal in (("mark", MARKS), ("phase", PHASES)):
            value = getattr(self, field)
            if value not in legal:
                raise InputError(f"{field} must be one of {', '.join(legal)}, not {shown(value)}")
        for field in ("command", "path", "early"):
            check_text(field, getattr(self, field), optional=True)
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

    def _check_count(self, field: str) -> None:
        value = getattr(self, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{field} must be a positive integer, not {shown(value)}")

    def _check_above_zero(self, field: str) -> None:
        value = getattr(self, field)
        if not is_number(value) or value <= 0:
            raise InputError(f"{field} must be a finite number above 0, not {shown(value)}")
        least, largest = _RANGES.get(field, (0, value))
        if not least <= value <= largest:
            raise InputError(f"{field} must be from {least:g} to {largest:g}, not {shown(value)}")

    def _check_measurement(self) -> None:
        """Check what only measurements by ``signacc baseline`` have."""
        if self.repeats is not None:
            self._check_count("repeats")
        if self.spread is not None and (not is_number(self.spread) or self.spread < 0):
            raise InputError(
                f"spread must be a finite number of at least 0, not {shown(self.spread)}"
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
