"""The one place that reads the schema of ``sim.baselines``: its entries as entries of a comparison.

Fields that only newer baselines files have are used where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from golden.config import FBI_LINEARS, ModelConfig
from sim.baselines import Baseline, Gap, Provenance, Record, load_records
from sim.errors import InputError
from sim.interval import Interval
from sim.workload import COEFFICIENT_BYTES_PER_INPUT

from ..baseline.work import decode_bytes, decode_flops, weights_used
from .figures import Entry, Figure, Roof
from .machines import facts_of

_WEIGHT_BITS = {"bf16": 16, "fp16": 16, "int8": 8, "int4": 4, "sign": 1, "sign1": 1}

_WIDEST_SPREAD = 2.0
"""(max - min) / median from which half of it to each side would reach down to no speed at all."""


@dataclass(frozen=True)
class Other:
    """A published figure of another model, or of no stated context: shown, never compared."""

    machine: str
    model: str
    batch: int
    context: int | None
    tokens_per_second: Figure
    joule_per_token: Figure | None
    source: str
    notes: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        energy = self.joule_per_token
        return {
            "machine": self.machine, "model": self.model, "batch": self.batch,
            "context": self.context, "tokens_per_second": self.tokens_per_second.to_dict(),
            "joule_per_token": None if energy is None else energy.to_dict(),
            "source": self.source, "notes": self.notes,
        }


def _path(entry: Baseline | Gap) -> str:
    """Return which arithmetic the baseline runs, or an empty text: a field, else in its name."""
    path = getattr(entry, "path", None)
    if path:
        return str(path)
    return next((part for part in entry.name.split("-") if part in _WEIGHT_BITS), "")


def _machine(entry: Baseline | Gap) -> str:
    path = _path(entry)
    return entry.name if path in entry.name else f"{entry.name}-{path}"


def _speed(entry: Baseline) -> Figure:
    """Return tokens a second; half the spread of repeats to each side, where it is recorded."""
    half = (getattr(entry, "spread", None) or 0.0) / 2
    value = Interval.around(entry.tokens_per_second, max(0.0, 1 - half), 1 + half)
    return Figure(value, entry.mark)


def _energy(entry: Baseline) -> Figure | None:
    if entry.joule_per_token is None:
        return None
    return Figure(Interval.exactly(entry.joule_per_token), entry.mark)


def step_bytes(model: ModelConfig, weight_bits: int, batch: int, context: int) -> int:
    """Return the bytes that a decode step must read: linears, 16-bit head, keys and values.

    1-bit linears have two 16-bit coefficients an input; the coefficients of wider formats depend
    on the library, and are left out.
    """
    linears = model.binary_weights * weight_bits // 8
    if weight_bits == 1:
        inputs = sum(model.linear_shape(name)[1] for name in FBI_LINEARS)
        linears += COEFFICIENT_BYTES_PER_INPUT * inputs * model.num_hidden_layers
    return decode_bytes(model, linears, batch, context)


_Peaks = tuple[float, float | None, str, str]
"""Bytes and operations a second of a machine, their mark, and their source."""


def _peaks(entry: Baseline, provenance: Provenance | None) -> _Peaks | None:
    """Return a machine's public peaks; of one without, the ceilings measured with the entry."""
    facts = facts_of(entry.name)
    if facts is not None and facts.peak_gb_s is not None:
        peak = facts.peak_tera_operations_s
        operations = None if peak is None else peak * 1e12
        return facts.peak_gb_s * 1e9, operations, "published", facts.peak_source or ""
    if provenance is None:
        return None
    return (
        provenance.copy_bytes_per_second, provenance.matmul_flop_per_second, "measured",
        f"a copy, read and written, and a bfloat16 matrix product on {provenance.gpu}, in the "
        "same run",
    )


def _roof(entry: Baseline, model: ModelConfig, peaks: _Peaks | None) -> Roof | None:
    bits = _WEIGHT_BITS.get(_path(entry).split("-")[0])
    if peaks is None or bits is None:
        return None
    bandwidth, operations, mark, source = peaks
    return Roof(
        operations=decode_flops(model, entry.batch, entry.context),
        bytes=step_bytes(model, bits, entry.batch, entry.context),
        bytes_per_second=bandwidth,
        operations_per_second=operations,
        mark=mark,
        source=source,
    )


def _phase(entry: Baseline) -> str:
    return getattr(entry, "phase", None) or "decode"


def _usable(entry: Baseline) -> bool:
    """Whether the entry holds a speed: a point that did not fit a GPU's memory has none."""
    return getattr(entry, "tokens_per_second", None) is not None


def _missing(entry: Baseline, peaks: _Peaks | None) -> dict[str, str]:
    """Return why an entry lacks figures: those that its source or record does not have."""
    stated = entry.mark == "published"
    reasons = {
        "joule_per_token": "energy not stated by the source" if stated
        else "energy not measured here",
        "linear_cycles": "a baseline: no engine",
    }
    if peaks is None:
        reasons["limit_share"] = "peak of its memory not on record, nor a copy in its file"
    else:
        reasons["limit_share"] = "bytes of its weights not known"
    return reasons


def _check_names(record: Record) -> None:
    """Refuse a file in which name and path of two entries of a point make one name in tables."""
    seen: dict[tuple[object, ...], Baseline] = {}
    for entry in record.baselines:
        key = _machine(entry), entry.model, entry.phase, entry.batch, entry.context
        other = seen.setdefault(key, entry)
        if other is not entry:
            raise InputError(
                f"name and path must tell the machines of a baselines file apart at {entry.model}, "
                f"{entry.phase}, batch {entry.batch}, context {entry.context}; name {entry.name!r} "
                f"with path {entry.path!r} and name {other.name!r} with path {other.path!r} are "
                f"both called {_machine(entry)}"
            )


Points = dict[tuple[str, int, int], str]
"""Reasons by machine, batch and context."""


def baseline_entries(
    name: str, model: ModelConfig, files: Iterable[str | Path | Record], phase: str = "decode"
) -> tuple[list[Entry], list[Other], Points]:
    """Return baselines of the model called `name`, published ones of others, and known gaps.

    An entry of a later file stands in for an earlier one of the same machine and point, and for a
    gap there. A gap is a point that could not be measured, with the reason. A published figure
    whose source states no context stands with those of other models.

    Parameters
    ----------
    phase
        ``decode`` or ``prefill``.

    Raises
    ------
    InputError
        If a file breaks its schema (the message names the field), or gives two figures of one
        point that tables would call alike.
    """
    records = load_records(files)
    for record in records:
        _check_names(record)
    gaps = {
        (_machine(gap), gap.batch, gap.context): gap.reason
        for record in records
        for gap in record.gaps
        if gap.model == name and gap.phase == phase
    }
    found: dict[tuple[str, int, int], Entry] = {}
    others = []
    pairs = ((entry, record.provenance) for record in records for entry in record.baselines)
    for entry, provenance in pairs:
        if _phase(entry) != phase or not _usable(entry):
            continue
        if entry.model != name or entry.context is None:
            if entry.mark == "published":
                others.append(
                    Other(
                        _machine(entry), entry.model, entry.batch, entry.context,
                        _speed(entry), _energy(entry), entry.source, entry.notes,
                    )
                )
            continue
        texts = {
            key: getattr(entry, key) for key in ("source", "command", "date", "notes")
        }
        key = _machine(entry), entry.batch, entry.context
        gaps.pop(key, None)
        if (entry.spread or 0.0) >= _WIDEST_SPREAD:
            found.pop(key, None)
            gaps[key] = f"its repeats spread by {entry.spread:.0%} of their median: no figure"
            continue
        peaks = _peaks(entry, provenance)
        found[key] = Entry(
            machine=_machine(entry),
            ours=False,
            phase=phase,
            batch=entry.batch,
            context=entry.context,
            weights=weights_used(model),
            tokens_per_second=_speed(entry),
            joule_per_token=_energy(entry),
            roof=_roof(entry, model, peaks) if phase == "decode" else None,
            missing=_missing(entry, peaks),
            provenance={key: text for key, text in texts.items() if text},
        )
    return list(found.values()), others, gaps
