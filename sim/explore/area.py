"""LUTs of an engine's arrays, from the measured area table.

``area.json`` holds the figures of the arrays (with their accumulators) in
``benchmarks/results/pnr.json``, routed ones where there are; a test holds the two together. Nothing
is interpolated:

- ``measured``: the table has this very array;
- ``modelled``: it has the structure, group and activation width, in another size; LUTs are those
  per lane of the largest measured array of that kind, times the lanes;
- else there is no figure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hw.config import EngineConfig

from ..errors import InputError

_TABLE = Path(__file__).parent / "data" / "area.json"

TARGETS = {"fpga16": "xcup-k26", "ecp5": "ecp5-85k"}
"""Device of the area table that stands for a technology."""

_KIND = ("structure", "group", "act_bits", "ternary")
# act_par decides how tables are made
_SIZE = ("k_par", "n_par", "k_max", "n_max", "act_par", "out_par", "levels_per_stage")


@dataclass(frozen=True)
class Area:
    """LUTs of arrays: how many, how sure (``measured`` or ``modelled``), and from which figure."""

    lut: int
    mark: str
    rule: str


def rows_of_record(record: dict) -> list[dict[str, object]]:
    """Return the rows of ``area.json``: arrays on devices that stand for a technology.

    Parameters
    ----------
    record : what ``benchmarks/pnr.py`` wrote
    """
    rows = []
    for case in record["results"]["cases"]:
        if case["part"] == "array" and case["target"]["name"] in TARGETS.values():
            config = case["config"]
            routed = case.get("place_and_route")
            rows.append(
                {"target": case["target"]["name"], "lanes": case["lanes"],
                 "lut": (routed or case["synthesis"])["lut"],
                 "step": "place and route" if routed else "synthesis"}
                | {name: config[name] for name in (*_KIND, *_SIZE)}
            )
    return rows


@cache
def _table() -> list[dict]:
    return json.loads(_TABLE.read_text(encoding="utf-8"))["rows"]


def array_area(engine: EngineConfig, technology: str) -> Area:
    """Return the LUTs of an engine's ``m_par`` arrays: LUT6 on ``fpga16``, LUT4 on ``ecp5``.

    Raises
    ------
    InputError
        If the technology is no FPGA, or the table has no array of the engine's structure, group
        and activation width for it.
    """
    if technology not in TARGETS:
        raise InputError(
            f"LUTs are those of a technology among {', '.join(TARGETS)}, not of {technology!r}"
        )
    target = TARGETS[technology]
    kind = [
        row for row in _table()
        if row["target"] == target and all(row[name] == getattr(engine, name) for name in _KIND)
    ]
    if not kind:
        ternary = "ternary " if engine.ternary else ""
        raise InputError(
            f"an area needs a measured array of its structure, group and act_bits; there is none "
            f"for {ternary}{engine.structure}, group {engine.group}, {engine.act_bits} bits on "
            f"{target}"
        )
    for row in kind:
        if engine.m_par == 1 and all(row[name] == getattr(engine, name) for name in _SIZE):
            return Area(row["lut"], "measured", f"{row['step']} of this array for {target}")
    base = max(kind, key=lambda row: row["lanes"])
    each = base["lut"] / base["lanes"]
    return Area(
        round(each * engine.lanes), "modelled",
        f"lanes · {each:.2f} LUT, measured on {base['k_par']} x {base['n_par']} lanes of the same "
        f"structure, group and act_bits for {target}",
    )
