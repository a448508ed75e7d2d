"""JSON objects in files written by people, with the line of every key.

Imports the standard library alone, so that ``sim`` reads its files by the same code as ``hw``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the outermost object to a key."""

LIMIT = 1 << 24
"""Most bytes of a file: far more than any that people write, and what a device file ends at."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


class JsonTextError(ValueError):
    """A file that is no JSON object, or names a key twice: the message begins with the file."""


def read_object(path: str | Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Return the object that a JSON file holds, and the line of every key in it.

    Raises
    ------
    JsonTextError
        If the file cannot be read, is larger than `LIMIT`, is not valid JSON, holds no object, or
        has a key twice.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise JsonTextError(f"{path} must have at most {LIMIT >> 20} MiB; it has more")
        text = content.decode("utf-8")
    except OSError as error:
        raise JsonTextError(f"cannot read {path}: {error.strerror}") from None
    except JsonTextError:
        raise
    except ValueError as error:
        raise JsonTextError(f"{path} must be UTF-8 text: {error}") from None
    try:
        data = json.loads(text, parse_constant=lambda name: float(name))
    except (ValueError, RecursionError) as error:
        raise JsonTextError(f"{path} must be valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise JsonTextError(f"{path} must hold a JSON object, not {type(data).__name__}")
    try:
        return data, _key_lines(text)
    except KeyError as error:
        key, line = error.args
        raise JsonTextError(
            f"{path}, line {line}: {key} must stand once in its object"
        ) from None


def _key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line of every key of a JSON text that is known to be valid.

    Raises
    ------
    KeyError
        If an object has a key twice; its arguments are the key and the line of the second.
    """
    lines: dict[KeyPath, int] = {}
    stack: list[list[Any]] = []  # [is object, key or index now, awaiting a key]
    line, counted = 1, 0
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
            line += text.count("\n", counted, match.start())
            counted = match.start()
            if path in lines:
                raise KeyError(top[1], line)
            lines[path] = line
    return lines
