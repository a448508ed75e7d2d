"""Where a design's numbers come from: an entry for each, and no number without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..jsonfile import Section

MARKS = ("published", "secondary", "derived", "general", "assumed")
"""How sure a parameter is.

``published``: in the authors' paper, abstract or repository, read there. ``secondary``: in a public
text that quotes the authors. ``derived``: computed from such, as the source says. ``general``: a
constant of the simulator or of the board, the same for every design. ``assumed``: not found; its
range carries the doubt.
"""

MOST_RANGES = 7
"""Assumed parameters with a range that a design may have: all their corners are evaluated."""

_NAMES = ("name", "phase", "kind", "board", "description")
"""Keys that name things; a board's numbers have their sources in ``boards.json``."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Where a number, or an object of numbers, comes from.

    Parameters
    ----------
    path
        Keys joined by dots.
    mark, source
        One of ``MARKS``; where it was read, or how it was computed.
    low, high
        Range of an assumed number; None if it has none.
    """

    path: str
    mark: str
    source: str
    low: float | None = None
    high: float | None = None

    def value(self, data: dict[str, Any]) -> Any:
        """Return what stands at the path in a design's `data`; raises KeyError if nothing does."""
        for key in self.path.split("."):
            data = data[key]
        return data


def read_parameters(section: Section) -> tuple[Parameter, ...]:
    """Return the entries of a design's ``parameters``.

    Raises
    ------
    InputError
        If an entry is no path of the design or breaks a rule, or a number has no entry.
    """
    inner = section.section("parameters")
    result = tuple(_parameter(section, inner.section(path), path) for path in inner.data)
    sourced = tuple(p.path for p in result)
    for path in _leaves(section.data):
        if not any(path == known or path.startswith(f"{known}.") for known in sourced):
            raise section.fail(
                "parameters", f"parameters must say where {path} comes from"
            )
    if sum(p.low is not None for p in result) > MOST_RANGES:
        raise section.fail(
            "parameters", f"parameters must have at most {MOST_RANGES} ranges, not more"
        )
    return result


def _parameter(design: Section, section: Section, path: str) -> Parameter:
    section.keys(("mark", "source"), ("low", "high"))
    mark = section.data["mark"]
    if mark not in MARKS:
        raise section.fail("mark", f"a mark must be one of {', '.join(MARKS)}, not {mark!r}")
    target: Any = design.data
    for key in path.split("."):
        if not isinstance(target, dict) or key not in target:
            raise section.fail(None, f"a parameter must be a path of the design, not {path}")
        target = target[key]
    result = Parameter(path=path, mark=mark, source=section.text("source"))
    if {"low", "high"} & section.data.keys():
        if mark != "assumed":
            raise section.fail(None, f"a range must stand at an assumed parameter, not {path}")
        section.keys(("mark", "source", "low", "high"))
        low, high = section.number("low"), section.number("high")
        if not isinstance(target, int | float) or not low <= target <= high:
            raise section.fail("low", f"the range of {path} must hold its value {target!r}")
        result = replace(result, low=low, high=high)
    return result


def _leaves(data: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of everything in ``system`` and ``runs`` that decides a prediction."""

    def walk(value: Any, path: str) -> Iterator[str]:
        key = path.rsplit(".", 1)[-1]
        if isinstance(value, dict):
            for inner, deeper in value.items():
                yield from walk(deeper, f"{path}.{inner}")
        elif key not in _NAMES and not key.endswith("source"):
            yield path

    for key in ("system", "runs"):
        if isinstance(data[key], dict):
            yield from walk(data[key], key)
