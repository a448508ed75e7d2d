"""A space of designs: a base system and the axes along which it is varied; a JSON file.

``docs/explore.md`` has the table of keys.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import golden.config
import hw.config
from golden.config import ModelConfig, named_model
from golden.errors import InputError as ModelError
from hw.config import STRUCTURES, EngineConfig

from ..checks import is_integer, is_number
from ..errors import InputError
from ..generic import GenericEngine
from ..jsonfile import Section, read
from ..memory import named_memory
from ..system import SYSTEM_NAMES, SystemConfig, named_system, system_from_file
from ..workload import Formats

SCHEMA = "signacc-space-1"
_FOLDER = Path(__file__).parent / "data"
SPACE_NAMES: tuple[str, ...] = tuple(
    path.stem.removeprefix("space-") for path in sorted(_FOLDER.glob("space-*.json"))
)
"""Names that ``named_space`` knows."""

ENGINE_AXES = ("k_par", "n_par", "m_par", "act_bits", "act_par", "out_par")
SYSTEM_AXES = ("engines", "vector_lanes", "weight_buffer_kib", "activation_buffer_kib")
TEXT_AXES = ("model", "memory", "structure", "head")
INTEGER_AXES = (*ENGINE_AXES, *SYSTEM_AXES, "batch", "kv_bits")
AXES = ("model", "memory", "structure", *ENGINE_AXES, "clock_mhz", *SYSTEM_AXES, "batch",
        "kv_bits", "head")
"""Axes, in the order in which a space is walked."""

_STRUCTURE = re.compile(rf"({'|'.join(STRUCTURES)})(\d*)")
Design = Mapping[str, int | float | str]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a design costs, US dollars: assumptions of the space's author.

    ``usd = chips · (chip + per_1000_lut · LUTs / 1000 + memory)``
    """

    chip: float
    per_1000_lut: float
    memory: Mapping[str, float]
    source: str


@dataclass(frozen=True, kw_only=True)
class Space:
    """A space of designs.

    Parameters
    ----------
    name
        What reports call it.
    system
        The base: what no axis names is its.
    axes
        Values by axis (``AXES``); the designs are their product.
    context
        Positions that the costed token attends to, if `prefill` and `decode` are 0.
    prefill, decode
        Prompt tokens and decode steps of a run instead.
    prices
        Or None: then no design has a price.
    other_lut, other_lut_source
        LUTs of one engine besides its arrays, for which there is no area table; where the number
        comes from.
    models
        Shapes by name, for models of the ``model`` axis that are not named ones.
    """

    name: str
    system: SystemConfig
    axes: Mapping[str, tuple]
    context: int = 512
    prefill: int = 0
    decode: int = 0
    prices: Prices | None = None
    other_lut: int = 0
    other_lut_source: str = "not counted"
    models: Mapping[str, ModelConfig] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Designs of the space."""
        return math.prod(len(values) for values in self.axes.values())

    def designs(self) -> Iterator[dict[str, int | float | str]]:
        """Yield the designs: a value for each axis."""
        names = [name for name in AXES if name in self.axes]
        for values in product(*(self.axes[name] for name in names)):
            yield dict(zip(names, values, strict=True))

    def with_models(self, models: Mapping[str, ModelConfig]) -> Space:
        """Return the space with other models on its ``model`` axis."""
        axes = {"model": tuple(models), **{k: v for k, v in self.axes.items() if k != "model"}}
        return replace(self, axes=axes, models={**self.models, **models})

    def model(self, design: Design) -> ModelConfig:
        """Return the model's shape of a design."""
        name = design["model"]
        return self.models[name] if name in self.models else named_model(name)

    def engine(self, design: Design) -> EngineConfig:
        """Return a design's engine; raises ConfigError if it is illegal."""
        changes = {name: design[name] for name in (*ENGINE_AXES, "clock_mhz") if name in design}
        if "structure" in design:
            structure, group = _STRUCTURE.fullmatch(design["structure"]).groups()
            changes |= {"structure": structure, "group": int(group or 1)}
        return replace(self.system.engine, **changes)

    def build(self, design: Design) -> SystemConfig:
        """Return a design's system; raises ConfigError or InputError if it is illegal."""
        changes: dict[str, object] = {"engine": self.engine(design)}
        if "memory" in design:
            changes["memory"] = named_memory(design["memory"])
        for name in SYSTEM_AXES:
            if name in design:
                kib = name.endswith("_kib")
                changes[name.replace("_kib", "_bytes")] = design[name] * (1024 if kib else 1)
        return replace(self.system, **changes)

    def formats(self, design: Design) -> Formats:
        """Return a design's formats of KV cache and head."""
        chosen = {name: design[name] for name in ("kv_bits", "head") if name in design}
        return Formats(**chosen)

    @cached_property
    def digest(self) -> str:
        """Content of all that designs share: base system, workload, prices, the code itself."""
        shared = {
            "code": code_digest(),
            "system": asdict(self.system),
            "models": {name: asdict(model) for name, model in self.models.items()},
            "rest": [self.context, self.prefill, self.decode, self.other_lut,
                     None if self.prices is None else asdict(self.prices)],
        }
        return _sha(shared)

    def key(self, design: Design) -> str:
        """Return the content key of a design's result."""
        return _sha([self.digest, design])


def _sha(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def code_digest() -> str:
    """Return a digest of the sources that results depend on: sim, and the configurations."""
    root = Path(__file__).parent.parent
    files = [path for path in root.rglob("*") if path.suffix in (".py", ".json")]
    files += [Path(hw.config.__file__), Path(golden.config.__file__)]
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.as_posix()):
        name = path.name if root not in path.parents else path.relative_to(root).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def named_space(name: str) -> Space:
    """Return the space called `name`; raises InputError with the known names otherwise."""
    if name not in SPACE_NAMES:
        raise InputError(f"a space is one of {', '.join(SPACE_NAMES)}, not {name!r}")
    return space_from_file(_FOLDER / f"space-{name}.json")


def space_from_file(path: str | Path) -> Space:
    """Read a space from a JSON file.

    Raises
    ------
    InputError
        If a key is unknown, missing or twice there, or a value breaks its rule; the message names
        the file, the line and the key.
    """
    section = read(path)
    section.keys(
        ("schema", "name", "system", "axes"),
        ("description", "context", "prefill", "decode", "prices", "other_lut", "other_lut_source"),
    )
    section.schema(SCHEMA)
    if "description" in section.data:
        section.text("description")  # for people alone
    values: dict[str, object] = {
        "name": section.text("name"),
        "system": _system(section, Path(path).parent),
        "axes": _axes(section.section("axes")),
    }
    for name, low in (("context", 1), ("prefill", 0), ("decode", 0), ("other_lut", 0)):
        if name in section.data:
            values[name] = section.integer(name, low)
    if "context" in values and (values.get("prefill") or values.get("decode")):
        raise section.fail("context", "a space has a context, or prefill and decode, not both")
    if ("other_lut" in values) != ("other_lut_source" in section.data):
        raise section.fail("other_lut", "other_lut and other_lut_source must stand together")
    if "other_lut" in values:
        values["other_lut_source"] = section.text("other_lut_source")
    if "prices" in section.data:
        values["prices"] = _prices(section.section("prices"))
    return Space(**values)


def _system(section: Section, folder: Path) -> SystemConfig:
    name = section.text("system")
    if name in SYSTEM_NAMES:
        return named_system(name)
    if not name.endswith(".json"):
        raise section.fail(
            "system",
            f"system must be one of {', '.join(SYSTEM_NAMES)}, or a .json file, not {name!r}",
        )
    system = system_from_file(folder / name)
    if isinstance(system.engine, GenericEngine):
        raise section.fail(
            "system", f"system must have an engine with RTL, whose area is known, not {name!r}"
        )
    return system


def _axes(section: Section) -> dict[str, tuple]:
    section.keys(("model",), AXES)
    axes = {}
    for name in section.data:
        values = section.data[name]
        if not isinstance(values, list) or not values:
            raise section.fail(name, f"axes.{name} must be a list of values, not {values!r}")
        for value in values:
            _check_value(section, name, value)
        if len(set(values)) < len(values):
            raise section.fail(name, f"axes.{name} must hold each value once, not {values!r}")
        axes[name] = tuple(values)
    return axes


def _check_value(section: Section, name: str, value: object) -> None:
    """Refuse values that no design could have; combinations are refused design by design."""
    if name in INTEGER_AXES and (not is_integer(value) or value < 1):
        raise section.fail(name, f"axes.{name} must hold integers of at least 1, not {value!r}")
    if name == "clock_mhz" and (not is_number(value) or value <= 0):
        raise section.fail(name, f"axes.{name} must hold finite numbers above 0, not {value!r}")
    if name in TEXT_AXES and not isinstance(value, str):
        raise section.fail(name, f"axes.{name} must hold texts, not {value!r}")
    if name == "structure" and not _STRUCTURE.fullmatch(value):
        raise section.fail(
            name, f"axes.structure must hold a structure with its group, like tables4, shared2 or "
            f"direct, not {value!r}",
        )
    check = {
        "memory": named_memory, "model": named_model,
        "kv_bits": lambda bits: Formats(kv_bits=bits), "head": lambda head: Formats(head=head),
    }.get(name)
    if check is not None:
        try:
            check(value)
        except (InputError, ModelError) as error:
            raise section.fail(name, f"axes.{name}: {error}") from None


def _prices(section: Section) -> Prices:
    section.keys(("chip", "per_1000_lut", "memory", "source"))
    memory = section.section("memory")
    for name in memory.data:
        memory.checked(name, lambda name=name: named_memory(name))
    return Prices(
        chip=section.number("chip"),
        per_1000_lut=section.number("per_1000_lut"),
        memory={name: memory.number(name) for name in memory.data},
        source=section.text("source"),
    )
