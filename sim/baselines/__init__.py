"""GPU and published figures that estimates are compared with, each with where it comes from.

A baselines file is a JSON object ``{"schema": "signacc-baselines-1", "baselines": [...]}``. An
entry has exactly these keys:

===================  ===========================================================================
``name``             the machine and software measured, e.g. ``h200-bf16-unfused``
``model``            name of the model, e.g. ``fbi-7b``
``batch``            sequences decoded at once, integer of at least 1
``context``          positions that a token attends to, integer of at least 1
``tokens_per_second``  decoded tokens per second of the whole batch, above 0
``joule_per_token``  energy per decoded token, above 0, J; null if the source has none
``mark``             ``measured`` (by this project) or ``published`` (by the source's authors)
``source``           what was measured or read, and where
``command``          command that made the figure; null if published, or not recorded
``date``             ``YYYY-MM-DD`` of measurement or publication; null if not recorded
``notes``            optional; required where a measured figure has no command or no date
===================  ===========================================================================
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date as calendar_date
from pathlib import Path

from ..errors import InputError

SCHEMA = "signacc-baselines-1"
"""Value of a baselines file's ``schema`` key."""

MARKS = ("measured", "published")
"""Legal values of ``Baseline.mark``."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One figure to compare with; the keys of a baselines file, as the module says.

    Raises
    ------
    InputError
        If a value breaks its rule; the message names the field.
    """

    name: str
    model: str
    batch: int
    context: int
    tokens_per_second: float
    joule_per_token: float | None
    mark: str
    source: str
    command: str | None
    date: str | None
    notes: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "model", "source"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.strip():
                raise InputError(f"{field} must be a non-empty text, not {value!r}")
        for field in ("batch", "context"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{field} must be a positive integer, not {value!r}")
        for field in ("tokens_per_second", "joule_per_token"):
            value = getattr(self, field)
            if field == "joule_per_token" and value is None:
                continue
            if (
                not isinstance(value, int | float)
                or isinstance(value, bool)
                or not math.isfinite(value)
                or value <= 0
            ):
                raise InputError(f"{field} must be a finite number above 0, not {value!r}")
        if self.mark not in MARKS:
            raise InputError(f"mark must be one of {', '.join(MARKS)}, not {self.mark!r}")
        if self.command is not None and (
            not isinstance(self.command, str) or not self.command.strip()
        ):
            raise InputError(f"command must be a non-empty text or null, not {self.command!r}")
        if self.date is not None and not _is_date(self.date):
            raise InputError(f"date must be YYYY-MM-DD or null, not {self.date!r}")
        if not isinstance(self.notes, str):
            raise InputError(f"notes must be a text, not {self.notes!r}")
        unrecorded = self.command is None or self.date is None
        if self.mark == "measured" and unrecorded and not self.notes.strip():
            raise InputError(
                "notes must say why a measured figure has no command or no date, not be empty"
            )

    @property
    def watts(self) -> float | None:
        """Mean power that the two figures imply, W; None without an energy."""
        if self.joule_per_token is None:
            return None
        return self.joule_per_token * self.tokens_per_second

    def to_dict(self) -> dict[str, object]:
        """Return the entry as it stands in a baselines file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: object, *, where: str = "baseline") -> Baseline:
        """Build from a JSON object; missing and unknown keys are refused by name."""
        if not isinstance(data, dict):
            raise InputError(f"{where} must be a JSON object, not {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise InputError(
                f"{where}: keys must be among {', '.join(known)}, not {', '.join(unknown)}"
            )
        missing = [name for name in known if name != "notes" and name not in data]
        if missing:
            raise InputError(f"{where} must give {', '.join(missing)}")
        try:
            return cls(**data)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def _is_date(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return False
    try:
        calendar_date.fromisoformat(value)
    except ValueError:
        return False
    return True


def load_file(path: str | Path) -> tuple[Baseline, ...]:
    """Read a baselines file.

    Raises
    ------
    InputError
        If it cannot be read, is not of the schema, or holds an illegal entry (named by its index).
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} must be valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(data).__name__}")
    if data.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema must be {SCHEMA!r}, not {data.get('schema')!r}")
    entries = data.get("baselines")
    if not isinstance(entries, list):
        raise InputError(f"{path}: baselines must be a list, not {type(entries).__name__}")
    return tuple(
        Baseline.from_dict(entry, where=f"{path}: baselines[{index}]")
        for index, entry in enumerate(entries)
    )


def load_baselines(extra: Iterable[str | Path] = ()) -> tuple[Baseline, ...]:
    """Return all shipped baselines, by file name, and those of the `extra` files after them."""
    paths = [*sorted(_FOLDER.glob("*.json")), *extra]
    return tuple(entry for path in paths for entry in load_file(path))


def baselines_for(
    model: str, baselines: Iterable[Baseline] | None = None
) -> tuple[Baseline, ...]:
    """Return the baselines of exactly the model called `model`; none is an empty tuple."""
    entries = load_baselines() if baselines is None else baselines
    return tuple(entry for entry in entries if entry.model == model)
