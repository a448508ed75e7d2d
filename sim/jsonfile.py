"""JSON files written by people: every complaint names the file, the line and the key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .errors import InputError
from .interval import Interval

T = TypeVar("T")

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')

Path_ = tuple[str | int, ...]


def _key_lines(text: str) -> dict[Path_, int]:
    """Return the line of every key of a JSON text that is known to be valid.

    Raises
    ------
    KeyError
        If an object has a key twice; its arguments are the key and the line of the second.
    """
    lines: dict[Path_, int] = {}
    stack: list[list[Any]] = []  # [is object, key or index now, awaiting a key]
    for match in _TOKEN.finditer(text):
        token = match[0]
        top = stack[-1] if stack else None
        if token in "{[":
            stack.append([token == "{", 0, token == "{"])
        elif token in "}]":
            stack.pop()
        elif token == ",":
            top[2] = top[0]
            if not top[0]:
                top[1] += 1
        elif token == ":":
            top[2] = False
        elif top and top[2]:
            top[1] = json.loads(token)
            path = tuple(level[1] for level in stack)
            line = text.count("\n", 0, match.start()) + 1
            if path in lines:
                raise KeyError(top[1], line)
            lines[path] = line
    return lines


class Section:
    """An object of a JSON file, whose values are taken by key and checked.

    Every method raises InputError with file, line and key if the value breaks its rule.
    """

    def __init__(
        self, data: dict[str, Any], where: str, lines: dict[Path_, int], path: Path_ = ()
    ):
        self.data, self._where, self._lines, self._path = data, where, lines, path

    def fail(self, key: str | None, message: str) -> InputError:
        """Return an error about `key`, or about the whole object."""
        path = self._path if key is None else (*self._path, key)
        line = self._lines.get(path)
        at = f", line {line}" if line else ""
        return InputError(f"{self._where}{at}: {message}")

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
            raise self.fail(key, f"{self.name(key)} must be a JSON object, not {value!r}")
        return Section(value, self._where, self._lines, (*self._path, key))

    def text(self, key: str) -> str:
        """Return a text that is not empty."""
        value = self.data[key]
        if not isinstance(value, str) or not value.strip():
            raise self.fail(key, f"{self.name(key)} must be a text, not {value!r}")
        return value

    def number(self, key: str, *, above: float | None = None) -> float:
        """Return a finite number of at least 0, or above `above`."""
        value = self.data[key]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise self.fail(
                key, f"{self.name(key)} must be a finite number of at least 0, not {value!r}"
            )
        if above is not None and value <= above:
            raise self.fail(key, f"{self.name(key)} must be above {above:g}, not {value!r}")
        return value

    def integer(self, key: str, low: int) -> int:
        """Return an integer of at least `low`."""
        value = self.data[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise self.fail(
                key, f"{self.name(key)} must be an integer of at least {low}, not {value!r}"
            )
        return value

    def interval(self, key: str) -> Interval:
        """Return ``{"low": .., "nominal": .., "high": ..}``, or a number as a point."""
        if not isinstance(self.data[key], dict):
            return Interval.exactly(self.number(key))
        inner = self.section(key)
        inner.keys(("low", "nominal", "high"))
        low, nominal, high = (inner.number(bound) for bound in ("low", "nominal", "high"))
        return self.checked(key, lambda: Interval(low, nominal, high))

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
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} must be UTF-8 text: {error}") from None
    try:
        data = json.loads(text, parse_constant=lambda name: float(name))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(data).__name__}")
    try:
        lines = _key_lines(text)
    except KeyError as error:
        key, line = error.args
        raise InputError(f"{path}, line {line}: {key} must stand once in its object") from None
    return Section(data, str(path), lines)
