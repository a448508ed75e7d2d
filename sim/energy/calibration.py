"""Activity factors measured on the RTL, by structure of the array and kind of data.

``activity.json`` holds toggles per bit and operation from ``benchmarks/results/activity.json``; a
test holds the two together. A class of nets gets the interval

- low, high: the least and the most of all layers, on real and on random data, so that the range
  holds both whichever is chosen;
- nominal: the mean of the chosen data.

An engine that was not measured gets the figures of its structure at the nearest width of
activations (``modelled``); ternary weights get those of binary ones, and a structure that was not
measured those of ``direct`` (``assumed``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ..errors import InputError
from ..interval import Interval
from .activity import REFERENCE_TOGGLES, UNCALIBRATED, Activity, Mark
from .events import ArrayShape

_DATA = Path(__file__).parent / "data" / "activity.json"

ACTIVITIES = ("real", "random", "none")
"""Data that energy can be estimated for: ``real``, that of the shipped model, the default;
``random``, normal activations and weights of fair coins; ``none``, the constants as they are."""

_KIND = ("structure", "group", "act_bits", "ternary")
_RANGE = ("real", "random-activations", "random")  # kinds of data that the interval holds
_OF = {  # class of nets: parts of the record
    "adders": ("adders",),
    "accumulators": ("accumulators",),
    "array_registers": ("array_registers",),
    "front_end": ("front_end_multipliers",),
    "wide_adders": ("bins", "drain"),
}
# A float's operand has a leading one that never toggles, so a fair coin per bit is no reference for
# its multiplier: that is what the same nets do on random numbers.
_REFERENCE_DATA = {"front_end": "random"}


# Structure triple has no nets of its own for the addition to the accumulator but its sums.
_WITHOUT_OPERANDS = {"accumulators": ("accumulator_sums",)}


def rows_of_record(record: Mapping) -> list[dict[str, object]]:
    """Return the rows of ``activity.json`` for a record of ``benchmarks/activity.py``."""
    rows = []
    for engine in record["results"]["engines"].values():
        config = engine["config"]
        fallback = {} if "accumulators" in engine["bits"] else _WITHOUT_OPERANDS
        toggles = {
            net_class: {
                kind: _spread(engine["bits"], found, parts)
                for kind, found in engine["data"].items()
            }
            for net_class, parts in (_OF | fallback).items()
        }
        rows.append(
            {name: config[name] for name in (*_KIND, "k_par", "n_par")} | {"toggles": toggles}
        )
    return rows


def _spread(bits: Mapping[str, int], found: Mapping, parts: Iterable[str]) -> dict[str, float]:
    """Return low, mean and high toggles per bit over the layers; parts weighted by their bits."""

    def mean(toggles: Mapping[str, float]) -> float:
        here = [part for part in parts if part in toggles]
        return sum(bits[p] * toggles[p] for p in here) / sum(bits[p] for p in here)

    pooled = mean(found["toggles_per_bit"])
    layers = [mean(layer) for layer in found["layers"].values()]
    return {"low": min(pooled, *layers), "mean": pooled, "high": max(pooled, *layers)}


@cache
def _table() -> tuple[str, list[dict]]:
    content = json.loads(_DATA.read_text(encoding="utf-8"))
    return content["source"], content["rows"]


def check_data(name: str) -> str:
    """Return `name` if it is one of ``ACTIVITIES``; raises InputError otherwise."""
    if name not in ACTIVITIES:
        raise InputError(f"activity must be one of {', '.join(ACTIVITIES)}, not {name!r}")
    return name


def calibrated(array: ArrayShape, data: str = "real") -> Activity:
    """Return the activity of an engine's nets on `data`, one of ``ACTIVITIES``.

    Raises
    ------
    InputError
        If there is no such data.
    """
    if check_data(data) == "none":
        return UNCALIBRATED
    return _calibrated(*(getattr(array, name) for name in (*_KIND, "k_par", "n_par")), data)


@cache
def _calibrated(
    structure: str, group: int, act_bits: int, ternary: bool, k_par: int, n_par: int, data: str
) -> Activity:
    source, rows = _table()
    known = any(row["structure"] == structure for row in rows)
    of_structure = [
        row for row in rows if row["structure"] == (structure if known else "direct")
    ]
    row = min(of_structure, key=lambda row: (abs(row["act_bits"] - act_bits), row["act_bits"]))
    same = all(
        row[name] == value
        for name, value in zip(
            (*_KIND, "k_par", "n_par"),
            (structure, group, act_bits, ternary, k_par, n_par), strict=True,
        )
    )
    mark: Mark = "measured" if same else "modelled" if known and not ternary else "assumed"
    factors = {name: _factor(name, kinds, data) for name, kinds in row["toggles"].items()}
    factors["array_registers"] = _register_factor(factors["array_registers"])
    return Activity(
        factors=factors, source=source, data=data, marks=dict.fromkeys(factors, mark)
    )


def _factor(net_class: str, kinds: Mapping[str, Mapping[str, float]], data: str) -> Interval:
    reference = (
        kinds[_REFERENCE_DATA[net_class]]["mean"]
        if net_class in _REFERENCE_DATA else REFERENCE_TOGGLES
    )
    return Interval(
        min(kinds[kind]["low"] for kind in _RANGE) / reference,
        kinds[data]["mean"] / reference,
        max(kinds[kind]["high"] for kind in _RANGE) / reference,
    )


def _register_factor(toggles: Interval) -> Interval:
    """Return the factor of a flip-flop's energy, part of which its clock takes whatever its data.

    How much is assumed: half, from nothing to all.
    """
    return Interval(
        min(toggles.low, 1.0), (1.0 + toggles.nominal) / 2, max(toggles.high, 1.0)
    )
