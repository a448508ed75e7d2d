"""Rules of single numbers, each with one wording: what, the rule, the offending value."""

from __future__ import annotations

import math
import re

from .errors import InputError

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(value: object) -> str:
    """Return a value as a complaint shows it: whole, or its beginning if it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def check_printable(name: str, text: str) -> None:
    """Raise InputError if `text`, called `name`, cannot stand in tables, plots and other files."""
    if _UNPRINTABLE.search(text):
        raise InputError(
            f"{name} must be a text without control characters and halves of surrogate pairs, "
            f"not {shown(text)}"
        )


def is_integer(value: object) -> bool:
    """Return whether `value` is an integer, not a truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return whether `value` is a finite number that a float can hold, not a truth value."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    """Raise InputError if `value`, called `name`, is no integer from `low` to `high` (None: on)."""
    if not is_integer(value) or value < low or (high is not None and value > high):
        rule = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{name} must be an integer {rule}, not {shown(value)}")


def check_number(name: str, value: object, *, above_zero: bool = False) -> None:
    """Raise InputError if `value`, called `name`, is no finite number from 0 on, or above it."""
    if not is_number(value) or value < 0 or (above_zero and not value):
        rule = "above 0" if above_zero else "of at least 0"
        raise InputError(f"{name} must be a finite number {rule}, not {shown(value)}")
