"""A baselines file: provenance, entries, and the points that could not be measured."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from ..checks import shown
from ..errors import InputError
from ..jsonfile import read
from .entry import (
    ENERGY_SOURCES,
    PHASES,
    Baseline,
    check_believed,
    check_count,
    check_label,
    check_text,
    is_date,
    is_text,
)

SCHEMA = "signacc-baselines-1"
"""Value of a file's ``schema`` key; entries with all their keys."""

SCHEMA_MEASURED = "signacc-baselines-2"
"""Value of the ``schema`` key of what ``signacc baseline`` writes: with provenance and gaps."""

_KEYS = {
    SCHEMA: ("schema", "baselines"),
    SCHEMA_MEASURED: ("schema", "provenance", "baselines", "gaps"),
}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the entries of a file were measured.

    Attributes
    ----------
    gpu, driver, command, date
        Texts; the date is ``YYYY-MM-DD``.
    versions
        Version by name of software.
    energy_source
        ``counter``, ``sampled``, or None if no energy was measured.
    idle_watts
        Power of the board without work, W; None if not measured.
    copy_bytes_per_second, matmul_flop_per_second
        Ceilings measured in the same run: a copy (read + written), a bf16 matrix product.
    int8_op_per_second
        The same of an int8 product; None where there is none, or in an older file, whose
        ``compute_share`` and ``limit_share`` of 8-bit paths are by the bf16 rate.
    checks
        What each path passed before it was timed: objects with ``path``, ``model``, ``what``,
        ``error``, ``allowed``.
    gemm
        Kernel of the 1-bit paths for many vectors, ``triton`` or ``warpgroup``; None if there is
        no such path, or in a file from before there were two (then it was ``triton``).

    Raises
    ------
    InputError
        If a value breaks its rule; the message names the field.
    """

    gpu: str
    driver: str
    versions: dict[str, str]
    command: str
    date: str
    energy_source: str | None
    idle_watts: float | None
    copy_bytes_per_second: float
    matmul_flop_per_second: float
    checks: list[dict[str, object]] = field(default_factory=list)
    gemm: str | None = None
    int8_op_per_second: float | None = None

    def __post_init__(self) -> None:
        for name in ("gpu", "driver", "command"):
            check_text(name, getattr(self, name))
        if not is_date(self.date):
            raise InputError(f"date must be YYYY-MM-DD, not {shown(self.date)}")
        if not isinstance(self.versions, dict) or not all(map(is_text, self.versions.values())):
            raise InputError(f"versions must map names to texts, not be {shown(self.versions)}")
        if self.energy_source not in (*ENERGY_SOURCES, None):
            raise InputError(
                f"energy_source must be one of {', '.join(ENERGY_SOURCES)} or null, "
                f"not {shown(self.energy_source)}"
            )
        optional = ("idle_watts", "int8_op_per_second")
        for name in ("copy_bytes_per_second", "matmul_flop_per_second", *optional):
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            check_believed(name, value)
        if not isinstance(self.checks, list) or not all(
            isinstance(check, dict) for check in self.checks
        ):
            raise InputError(f"checks must be a list of objects, not {shown(self.checks)}")
        check_text("gemm", self.gemm, optional=True)

    @property
    def source(self) -> str:
        """What an entry says of where it was measured."""
        gemm = "" if self.gemm is None else f", 1-bit GEMM {self.gemm}"
        return f"{self.gpu}, driver {self.driver}{gemm}"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A point that could not be measured, and why, such as ``out of memory``."""

    name: str
    model: str
    path: str
    phase: str
    batch: int
    context: int
    reason: str

    def __post_init__(self) -> None:
        for name in ("name", "model", "path"):
            check_label(name, getattr(self, name))
        check_text("reason", self.reason)
        if self.phase not in PHASES:
            raise InputError(f"phase must be one of {', '.join(PHASES)}, not {shown(self.phase)}")
        for name in ("batch", "context"):
            check_count(name, getattr(self, name))


@dataclass(frozen=True)
class Record:
    """The content of a baselines file; `provenance` is None in files without."""

    baselines: tuple[Baseline, ...]
    gaps: tuple[Gap, ...] = ()
    provenance: Provenance | None = None

    def to_json(self) -> dict[str, object]:
        """Return the content of a file that :func:`load_record` reads back.

        What all entries share with the provenance stands there alone.
        """
        if self.provenance is None:
            entries = [entry.to_dict() for entry in self.baselines]
            return {"schema": SCHEMA, "baselines": entries}
        shared = _shared(self.provenance)
        entries = [
            {k: v for k, v in entry.to_dict().items() if k not in shared or shared[k] != v}
            for entry in self.baselines
        ]
        return {
            "schema": SCHEMA_MEASURED,
            "provenance": dict(vars(self.provenance)),
            "baselines": entries,
            "gaps": [dict(vars(gap)) for gap in self.gaps],
        }


def _shared(provenance: Provenance) -> dict[str, object]:
    return {
        "mark": "measured",
        "source": provenance.source,
        "command": provenance.command,
        "date": provenance.date,
        "joule_per_token": None,
        "notes": "",
    }


def _build(cls: type, data: object, where: str) -> object:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be a JSON object, not {type(data).__name__}")
    known = {f.name for f in fields(cls)}
    needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    unknown = sorted(set(data) - known)
    if unknown:
        raise InputError(f"{where}: keys must be among {', '.join(sorted(known))}, "
                         f"not {', '.join(unknown)}")
    missing = sorted(needed - set(data))
    if missing:
        raise InputError(f"{where} must give {', '.join(missing)}")
    try:
        return cls(**data)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _list(data: dict[str, object], name: str, path: Path) -> list[object]:
    value = data.get(name)
    if not isinstance(value, list):
        raise InputError(f"{path}: {name} must be a list, not {type(value).__name__}")
    return value


def load_record(path: str | Path) -> Record:
    """Read a baselines file.

    Raises
    ------
    InputError
        If it cannot be read, is not of a known schema, has a key that the schema does not have, or
        holds an illegal entry (named by its index), gap or provenance; one figure twice; or an
        energy below what the idle board takes.
    """
    path = Path(path)
    file = read(path)
    data, schema = file.data, file.data.get("schema")
    if not isinstance(schema, str) or schema not in _KEYS:
        raise InputError(
            f"{path}: schema must be {SCHEMA!r} or {SCHEMA_MEASURED!r}, not {shown(schema)}"
        )
    file.keys(_KEYS[schema])
    provenance, gaps, defaults = None, (), None
    if schema == SCHEMA_MEASURED:
        provenance = _build(Provenance, data.get("provenance"), f"{path}: provenance")
        defaults = _shared(provenance)
        gaps = tuple(
            _build(Gap, gap, f"{path}: gaps[{index}]")
            for index, gap in enumerate(_list(data, "gaps", path))
        )
    baselines = tuple(
        Baseline.from_dict(entry, where=f"{path}: baselines[{index}]", defaults=defaults)
        for index, entry in enumerate(_list(data, "baselines", path))
    )
    seen: dict[tuple[object, ...], int] = {}
    for index, entry in enumerate(baselines):
        point = (entry.name, entry.path, entry.model, entry.phase, entry.batch, entry.context)
        if (first := seen.setdefault(point, index)) != index:
            raise InputError(
                f"{path}: baselines[{index}] must not repeat the point of baselines[{first}]: "
                f"{entry.name}, {entry.model}, {entry.phase}, batch {entry.batch}, "
                f"context {entry.context}"
            )
    idle = provenance.idle_watts if provenance is not None else None
    for index, entry in enumerate(baselines):
        if idle is not None and entry.watts is not None and entry.watts < idle:
            raise InputError(
                f"{path}: baselines[{index}]: joule_per_token must make at least the idle power "
                f"of {idle:g} W, not {entry.watts:.1f} W"
            )
    return Record(baselines, gaps, provenance)
