"""Named systems: data files beside this module, one for each engine preset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hw.config import PRESETS, EngineConfig

from ..errors import InputError
from ..memory import named_memory
from .config import SystemConfig
from .files import system_from_file

_FOLDER = Path(__file__).parent / "data"

SYSTEM_NAMES: tuple[str, ...] = tuple(
    path.stem for path in sorted(_FOLDER.glob("*.json")) if path.stem in PRESETS
)
"""Names that ``named_system`` knows; they are names of engine presets."""


def named_system(
    name: str, *, engine: EngineConfig | None = None, memory: str | None = None
) -> SystemConfig:
    """Return the system called `name`, with its engine or its memory exchanged if given.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    if name not in SYSTEM_NAMES:
        raise InputError(f"a system is one of {', '.join(SYSTEM_NAMES)}, not {name!r}")
    system = system_from_file(_FOLDER / f"{name}.json")
    if engine is not None:
        system = replace(system, engine=engine)
    if memory is not None:
        system = replace(system, memory=named_memory(memory))
    return system
