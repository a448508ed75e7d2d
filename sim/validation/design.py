"""Machines that others built, as files: what runs on what, and where every number comes from.

``docs/validation.md`` has the keys of a design file. Every number of its ``system`` and ``runs``
needs an entry of ``parameters`` at its path or above it (:mod:`.sources`); results of the machine
have no place in it: they stand in ``published.json`` (:mod:`.figures`).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from golden.config import ModelConfig

from ..generic import GenericEngine
from ..jsonfile import Section, read
from ..system import SystemConfig, system_from_section
from ..system.files import SCHEMA as SYSTEM_SCHEMA
from ..workload import Formats
from .convolutions import Convolution
from .sources import Parameter, read_parameters

SCHEMA = "signacc-design-1"
"""Value of a design file's ``schema`` key."""

PHASES = ("decode", "prefill", "images")
"""What a run does."""

_FOLDER = Path(__file__).parent
_FORMATS = ("fp16", "int8", "engine")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was run on a machine.

    Parameters
    ----------
    name, phase
        What tables call it; one of ``PHASES``.
    model, formats
        Shape, and storage of head and KV cache; None for images.
    positions
        Positions attended to (decode) or tokens of the prompt (prefill); 0 for images.
    batch
        Sequences that run together.
    convolutions
        Layers of an image, else empty.
    """

    name: str
    phase: str
    model: ModelConfig | None = None
    formats: Formats | None = None
    positions: int = 0
    batch: int = 1
    convolutions: tuple[Convolution, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Design:
    """A machine that others built; see the module for its file."""

    name: str
    family: str
    title: str
    reference: str
    notes: str
    system: SystemConfig
    runs: tuple[Run, ...]
    parameters: tuple[Parameter, ...]
    section: Section

    @property
    def board(self) -> str | None:
        """Name of its board; None if it has none."""
        return self.section.data["system"].get("board")

    def corners(self) -> Iterator[Design]:
        """Yield the design with every combination of its assumed parameters' ends, if any."""
        ranged = [p for p in self.parameters if p.low is not None]
        if not ranged:
            return
        for ends in itertools.product(*((p.low, p.high) for p in ranged)):
            data = copy.deepcopy(self.section.data)
            for parameter, value in zip(ranged, ends, strict=True):
                *way, last = parameter.path.split(".")
                target = data
                for key in way:
                    target = target[key]
                target[last] = value
            yield _design(self.section.with_data(data))


def design_from_file(path: str | Path) -> Design:
    """Read a design file.

    Raises
    ------
    InputError
        If a key is unknown, missing or twice there, a value breaks its rule, or a number has no
        source; the message names the file, the line and the key.
    """
    return _design(read(path))


@lru_cache(maxsize=1)
def load_designs() -> tuple[Design, ...]:
    """Return all shipped designs, by name."""
    return tuple(design_from_file(path) for path in sorted((_FOLDER / "data").glob("*.json")))


@lru_cache(maxsize=1)
def boards() -> dict[str, dict[str, Any]]:
    """Return the boards that designs name: keys of a system file, by board."""
    return read(_FOLDER / "boards.json").data


def _design(section: Section) -> Design:
    section.keys(
        ("schema", "name", "family", "title", "reference", "system", "runs", "parameters"),
        ("notes",),
    )
    section.schema(SCHEMA)
    parameters = read_parameters(section)
    name = section.text("name")
    runs = section.section("runs")
    result = Design(
        name=name,
        family=section.text("family"),
        title=section.text("title"),
        reference=section.text("reference"),
        notes=section.text("notes") if "notes" in section.data else "",
        system=_system(section.section("system"), name),
        runs=tuple(_run(runs.section(key), key) for key in runs.data),
        parameters=parameters,
        section=section,
    )
    if not result.runs:
        raise section.fail("runs", "runs must hold at least one run, not none")
    images = any(run.phase == "images" for run in result.runs)
    if images and not isinstance(result.system.engine, GenericEngine):
        raise section.fail("runs", "a run of images must be on a generic engine")
    return result


def _system(section: Section, name: str) -> SystemConfig:
    data = dict(section.data)
    if "board" in data:
        board = section.text("board")
        if board not in boards():
            raise section.fail(
                "board", f"system.board must be one of {', '.join(boards())}, not {board!r}"
            )
        del data["board"]
        data = {**boards()[board], **data}
        data.pop("description", None)
    for key in ("schema", "name"):
        if key in section.data:
            raise section.fail(key, f"system.{key} must not be given: the design has it")
    data = {"schema": SYSTEM_SCHEMA, "name": name, **data}
    return system_from_section(section.with_data(data))


def _run(section: Section, name: str) -> Run:
    phase = section.data.get("phase")
    if phase not in PHASES:
        raise section.fail(
            "phase", f"{section.name('phase')} must be one of {', '.join(PHASES)}, not {phase!r}"
        )
    if "." in name:
        raise section.fail(None, f"the name of a run must be without dots, not {name!r}")
    if phase == "images":
        section.keys(("phase", "convolutions"))
        return Run(name=name, phase=phase, convolutions=_convolutions(section))
    positions = "context" if phase == "decode" else "tokens"
    section.keys(("phase", "model", positions), ("batch", "kv_bits", "head"))
    inner = section.section("model")
    inner.keys((), tuple(field.name for field in fields(ModelConfig)))
    model = section.checked("model", lambda: ModelConfig.from_dict(inner.data, where="model"))
    head = section.data.get("head", "fp16")
    if head not in _FORMATS:
        raise section.fail(
            "head", f"{section.name('head')} must be one of {', '.join(_FORMATS)}, not {head!r}"
        )
    formats = section.checked(
        "kv_bits",
        lambda: Formats(
            kv_bits=section.data.get("kv_bits", 16), head="binary" if head == "engine" else head
        ),
    )
    return Run(
        name=name, phase=phase, model=model, formats=formats,
        positions=section.integer(positions, 1),
        batch=section.integer("batch", 1) if "batch" in section.data else 1,
    )


def _convolutions(section: Section) -> tuple[Convolution, ...]:
    layers = section.data["convolutions"]
    if not isinstance(layers, list) or not layers:
        raise section.fail("convolutions", "convolutions must be a list of layers, not empty")
    known = tuple(field.name for field in fields(Convolution))
    result = []
    for index, layer in enumerate(layers):
        if not isinstance(layer, dict) or set(layer) - set(known):
            raise section.fail(
                "convolutions",
                f"convolutions[{index}] must be an object with keys among {', '.join(known)}, "
                f"not {layer!r}",
            )
        try:
            result.append(Convolution(**layer))
        except TypeError:
            raise section.fail(
                "convolutions", f"convolutions[{index}] must give {', '.join(known[:-1])}"
            ) from None
        except ValueError as error:
            raise section.fail("convolutions", f"convolutions[{index}]: {error}") from None
    return tuple(result)
