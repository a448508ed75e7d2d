"""Which Verilog a configuration's parts are."""

from __future__ import annotations

from golden.errors import InputError
from hw.config import EngineConfig

from .flow import Design

PARTS = ("engine", "array", "row")
"""The engine; the array with accumulators of one token vector; one row of that."""


def check_part(part: str) -> None:
    """Raise InputError unless `part` is the name of a part."""
    if part not in PARTS:
        raise InputError(f"a part is one of {', '.join(PARTS)}, not {part!r}")


def part_design(config: EngineConfig, part: str) -> tuple[Design, int]:
    """Return the Verilog of a part, and how many lanes it has.

    Raises
    ------
    InputError
        If there is no such part.
    """
    from hw import verilog

    check_part(part)
    if part == "array":
        generated = verilog.generate_array(config)
        # The array of one token vector: the others have one each of the same.
        return Design(verilog=generated.text, top=generated.top), config.lanes // config.m_par
    generated = verilog.generate(config)
    if part == "engine":
        return Design(verilog=generated.text, top=generated.top), config.lanes
    # The engine's text has the row as a module of its own.
    return Design(verilog=generated.text, top=f"{generated.top}_row"), config.k_par
