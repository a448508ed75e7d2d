"""Machines against baselines, point by point: who is faster, who needs less energy, from where on.

At every point each of our machines meets the fastest baseline there for speed, and the one with
the least energy a token for energy: never a slower one that happens to be of the same make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from golden.config import ModelConfig
from sim.baselines import Record
from sim.errors import InputError
from sim.interval import Interval
from sim.system import SystemConfig

from .baselines import Other, baseline_entries
from .estimates import our_entry
from .figures import Absent, Entry

SPEED, ENERGY = "speed", "energy"
ASPECTS = (SPEED, ENERGY)
"""What is judged."""


@dataclass(frozen=True)
class Verdict:
    """How one of our machines stands to the best baseline of its point.

    Parameters
    ----------
    aspect
        ``speed`` or ``energy``.
    machine, against, batch, context
        Ours, the baseline, the point.
    gain
        Tokens a second over the baseline's, or the baseline's J/token over ours: above 1 is better.
    mark
        ``modelled``: one side is.
    """

    aspect: str
    machine: str
    against: str
    batch: int
    context: int
    gain: Interval
    mark: str = "modelled"

    @property
    def winner(self) -> str:
        """``ours``, ``baseline``, or ``open`` if the interval holds 1."""
        if self.gain.low > 1:
            return "ours"
        return "baseline" if self.gain.high < 1 else "open"

    def to_dict(self) -> dict[str, object]:
        """Return the fields and the winner."""
        return {
            "aspect": self.aspect, "machine": self.machine, "against": self.against,
            "batch": self.batch, "context": self.context,
            "gain": {**self.gain.to_dict(), "mark": self.mark}, "winner": self.winner,
        }


@dataclass(frozen=True)
class Crossover:
    """Two neighbouring batches between which the nominal winner changes; nothing is interpolated.

    ``before`` is the nominal winner at ``batches[0]``: ``ours`` or ``baseline``.
    """

    aspect: str
    machine: str
    context: int
    batches: tuple[int, int]
    before: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return {
            "aspect": self.aspect, "machine": self.machine, "context": self.context,
            "batches": list(self.batches), "before": self.before, "mark": "modelled",
        }


def gain(aspect: str, ours: Entry, other: Entry) -> Interval | None:
    """Return how much better `ours` is than `other` (above 1: better), None without energies."""
    if aspect == SPEED:
        return ours.tokens_per_second.value * other.tokens_per_second.value.reciprocal()
    if ours.joule_per_token is None or other.joule_per_token is None:
        return None
    return other.joule_per_token.value * ours.joule_per_token.value.reciprocal()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that tables, plots and reports show.

    Parameters
    ----------
    name, model
        What the model is called, and its shape.
    phase
        ``decode`` or ``prefill``.
    batches, contexts
        Points asked for, ascending.
    systems
        Our machines.
    ours, baselines
        Entries at these points.
    absent
        Machines without figures at a point, and why.
    others
        Published figures of other models, or whose source states no context.
    """

    name: str
    model: ModelConfig
    phase: str = "decode"
    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    systems: tuple[SystemConfig, ...]
    ours: tuple[Entry, ...]
    baselines: tuple[Entry, ...]
    absent: tuple[Absent, ...]
    others: tuple[Other, ...]
    verdicts: tuple[Verdict, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = []
        for entry in self.ours:
            for aspect in ASPECTS:
                best = self.best(aspect, *entry.point)
                amount = None if best is None else gain(aspect, entry, best)
                if best is not None and amount is not None:
                    found.append(Verdict(aspect, entry.machine, best.machine, *entry.point, amount))
        object.__setattr__(self, "verdicts", tuple(found))

    @property
    def points(self) -> tuple[tuple[int, int], ...]:
        """Batch and context of every point."""
        return tuple((batch, context) for batch in self.batches for context in self.contexts)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Ours, then the baselines."""
        return (*self.ours, *self.baselines)

    def missing_at(self, batch: int, context: int) -> tuple[Absent, ...]:
        """Return the machines without figures at a point, ours first."""
        here = [entry for entry in self.absent if (entry.batch, entry.context) == (batch, context)]
        return tuple(sorted(here, key=lambda entry: not entry.ours))

    @property
    def machines(self) -> tuple[str, ...]:
        """Names of all machines, ours first, each once."""
        named = [system.name for system in self.systems]
        return tuple(dict.fromkeys([*named, *(entry.machine for entry in self.baselines)]))

    def at(self, batch: int, context: int) -> tuple[Entry, ...]:
        """Return the entries of a point."""
        return tuple(entry for entry in self.entries if entry.point == (batch, context))

    def best(self, aspect: str, batch: int, context: int) -> Entry | None:
        """Return the fastest baseline of a point, or that of least energy; None without one."""
        here = [entry for entry in self.baselines if entry.point == (batch, context)]
        if aspect == SPEED:
            return max(here, key=lambda e: e.tokens_per_second.value.nominal, default=None)
        known = [entry for entry in here if entry.joule_per_token is not None]
        return min(known, key=lambda e: e.joule_per_token.value.nominal, default=None)

    def verdict(self, aspect: str, machine: str, batch: int, context: int) -> Verdict | None:
        """Return the verdict on a machine at a point; None if there is no baseline for it."""
        wanted = (aspect, machine, batch, context)
        for entry in self.verdicts:
            if (entry.aspect, entry.machine, entry.batch, entry.context) == wanted:
                return entry
        return None

    def crossovers(self) -> tuple[Crossover, ...]:
        """Return where the nominal winner changes with the batch, at the points there are."""
        found = []
        for aspect in ASPECTS:
            for system in self.systems:
                for context in self.contexts:
                    line = [
                        (batch, verdict.gain.nominal > 1)
                        for batch in self.batches
                        if (verdict := self.verdict(aspect, system.name, batch, context))
                    ]
                    found += [
                        Crossover(aspect, system.name, context, (b0, b1),
                                  "ours" if before else "baseline")
                        for (b0, before), (b1, after) in pairwise(line)
                        if before != after
                    ]
        return tuple(found)


def compare(
    name: str,
    model: ModelConfig,
    systems: Sequence[SystemConfig],
    *,
    batches: Iterable[int],
    contexts: Iterable[int],
    phase: str = "decode",
    files: Iterable[str | Path | Record] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Comparison:
    """Estimate `systems` at all points and set them beside the baselines of the model `name`.

    Parameters
    ----------
    phase
        ``decode``, or ``prefill``: contexts are lengths of prompts.
    files
        Baselines files, or records of such files, besides the shipped ones.
    progress
        Called with the number of estimates done.

    Raises
    ------
    InputError
        If a baselines file breaks its schema, or calls a baseline like one of `systems`.
    """
    batches, contexts = tuple(sorted(set(batches))), tuple(sorted(set(contexts)))
    points = [(batch, context) for batch in batches for context in contexts]
    loaded, others, gaps = baseline_entries(name, model, files, phase)
    order = list(dict.fromkeys(entry.machine for entry in loaded))
    for system in systems:
        if system.name in order or any(machine == system.name for machine, *_ in gaps):
            raise InputError(
                f"the name of a baseline must not be that of a system it is compared with, "
                f"{system.name}: give it another name, or a path"
            )
    asked = sorted(
        (entry for entry in loaded if entry.point in points),
        key=lambda entry: (order.index(entry.machine), entry.point),
    )
    ours: list[Entry] = []
    absent: list[Absent] = []
    for system in systems:
        for batch, context in points:
            entry = our_entry(model, system, batch=batch, context=context, phase=phase)
            (ours if isinstance(entry, Entry) else absent).append(entry)
            progress(len(ours) + len(absent))
    there = {(entry.machine, *entry.point) for entry in asked}
    absent += [
        Absent(machine=machine, ours=False, batch=batch, context=context,
               reason=gaps.get((machine, batch, context), "no baseline for this point"))
        for machine in dict.fromkeys([*(entry.machine for entry in loaded),
                                      *(machine for machine, *_ in gaps)])
        for batch, context in points
        if (machine, batch, context) not in there
    ]  # fmt: skip
    return Comparison(
        name=name, model=model, phase=phase, batches=batches, contexts=contexts,
        systems=tuple(systems),
        ours=tuple(ours), baselines=tuple(asked), absent=tuple(absent), others=tuple(others),
    )
