"""JSON files written by people: every complaint names the file, the line and the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hw.jsontext import JsonTextError, KeyPath, read_object

from .checks import check_integer, check_number, check_printable, shown
from .errors import InputError
from .interval import Interval

T = TypeVar("T")

MOST = 2**53
"""Largest integer of a file: up to it every reader of JSON agrees on integers (RFC 8259, 6)."""


class Section:
    """An object of a JSON file, whose values are taken by key and checked.

    Every method raises InputError with file, line and key if the value breaks its rule.
    """

    def __init__(
        self, data: dict[str, Any], where: str, lines: dict[KeyPath, int], path: KeyPath = ()
    ):
        self.data, self._where, self._lines, self._path = data, where, lines, path

    def fail(self, key: str | None, message: str) -> InputError:
        """Return an error about `key`, or about the whole object."""
        path = self._path if key is None else (*self._path, key)
        line = self._lines.get(path)
        at = f", line {line}" if line else ""
        return InputError(f"{self._where}{at}: {message}")

    def schema(self, name: str) -> None:
        """Refuse the file if its ``schema`` is not `name`."""
        found = self.data["schema"]
        if found != name:
            raise self.fail("schema", f"schema must be {name!r}, not {found!r}")

    def with_data(self, data: dict[str, Any]) -> Section:
        """Return this object with other data; complaints still name the lines of its keys."""
        return Section(data, self._where, self._lines, self._path)

    def name(self, key: str) -> str:
        """Return how messages call `key`: with the objects around it."""
        return ".".join(str(part) for part in (*self._path, key))

    def keys(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        """Refuse unknown and missing keys."""
        known = required + optional
        for key in self.data:
            if key not in known:
                raise self.fail(
                    key, f"keys must be among {', '.join(known)}, not {self.name(key)}"
                )
        for key in required:
            if key not in self.data:
                raise self.fail(None, f"{self.name(key)} must be given")

    def section(self, key: str) -> Section:
        """Return the object under `key`."""
        value = self.data[key]
        if not isinstance(value, dict):
            raise self.fail(key, f"{self.name(key)} must be a JSON object, not {shown(value)}")
        return Section(value, self._where, self._lines, (*self._path, key))

    def text(self, key: str) -> str:
        """Return a text that is not empty, and can be printed."""
        value = self.data[key]
        if not isinstance(value, str) or not value.strip():
            raise self.fail(key, f"{self.name(key)} must be a text, not {shown(value)}")
        self.checked(key, lambda: check_printable(self.name(key), value))
        return value

    def number(self, key: str, *, above: float | None = None) -> float:
        """Return a finite number of at least 0, or above `above`."""
        value = self.data[key]
        self.checked(key, lambda: check_number(self.name(key), value))
        if above is not None and value <= above:
            raise self.fail(key, f"{self.name(key)} must be above {above:g}, not {shown(value)}")
        return value

    def integer(self, key: str, low: int) -> int:
        """Return an integer of at least `low`, at most ``MOST``."""
        value = self.data[key]
        self.checked(key, lambda: check_integer(self.name(key), value, low))
        if value > MOST:
            raise self.fail(key, f"{self.name(key)} must be at most {MOST}, not {shown(value)}")
        return value

    def interval(self, key: str) -> Interval:
        """Return ``{"low": .., "nominal": .., "high": ..}``, or a number as a point."""
        if not isinstance(self.data[key], dict):
            return Interval.exactly(self.number(key))
        inner = self.section(key)
        inner.keys(("low", "nominal", "high"))
        low, nominal, high = (inner.number(bound) for bound in ("low", "nominal", "high"))
        if not low <= nominal <= high:
            raise self.fail(
                key,
                f"{self.name(key)} must hold low <= nominal <= high, not "
                f"{shown(low)}, {shown(nominal)}, {shown(high)}",
            )
        return Interval(low, nominal, high)

    def checked(self, key: str | None, build: Callable[[], T]) -> T:
        """Return ``build()``; an error about its values gets the line of `key`."""
        try:
            return build()
        except ValueError as error:
            raise self.fail(key, str(error)) from None


def read(path: str | Path) -> Section:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError
        If it cannot be read, is not valid JSON, holds no object, or has a key twice.
    """
    try:
        data, lines = read_object(path)
    except JsonTextError as error:
        raise InputError(str(error)) from None
    return Section(data, str(path), lines)
