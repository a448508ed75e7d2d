"""By how much a constant would have to be wrong to change who wins, by bisection on its factor.

One constant at a time, or DRAM bandwidth and clock together, is multiplied by a factor, all others
stay at their nominal values; the nominal verdict is that of speed or of energy at one point. The
measured figures of the baseline are constants like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from golden.config import ModelConfig
from hw.config import EngineConfig
from sim.errors import InputError
from sim.interval import Interval
from sim.system import SystemConfig, estimate

from .comparison import ASPECTS, ENERGY, SPEED, Comparison
from .figures import Entry

WIDEST = 100.0
"""Factors from 1/100 to 100 are searched."""

_FASTEST_MHZ = 100_000.0  # the highest clock that an EngineConfig takes

PRECISION = 1e-3
"""Relative precision of a factor."""

SHOWN = 3
"""Constants told for each verdict."""


@dataclass(frozen=True)
class Knob:
    """A constant of a system, and how the system looks with it multiplied by a factor.

    ``low`` and ``high`` are the factors that its own range spans; 1 where it has none.
    """

    name: str
    apply: Callable[[SystemConfig, float], SystemConfig]
    low: float = 1.0
    high: float = 1.0


@dataclass(frozen=True)
class Flip:
    """The factor of one constant at which a verdict turns.

    ``inside`` says whether the factor lies in the constant's own range; None if it has no range.
    """

    aspect: str
    machine: str
    against: str
    batch: int
    context: int
    constant: str
    side: str
    factor: float
    low: float
    high: float

    @property
    def inside(self) -> bool | None:
        """Whether the constant's own range reaches the factor."""
        if self.low == self.high:
            return None
        return self.low <= self.factor <= self.high

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return {
            "aspect": self.aspect, "machine": self.machine, "against": self.against,
            "batch": self.batch, "context": self.context, "constant": self.constant,
            "side": self.side, "factor": self.factor, "range": [self.low, self.high],
            "inside_range": self.inside, "mark": "modelled",
        }


def turning_factor(gain: Callable[[float], float]) -> float | None:
    """Return the factor nearest to 1 at which ``gain`` passes 1; None within ``WIDEST``.

    `gain` is taken to be monotonic on each side of 1. Nearest is by ``|log factor|``.
    """
    won = gain(1.0) > 1
    found = []
    for edge in (1 / WIDEST, WIDEST):
        if (gain(edge) > 1) == won:
            continue
        inner, outer = 0.0, math.log(edge)  # logs: the verdict stands at inner, not at outer
        while abs(outer - inner) > PRECISION:
            middle = (inner + outer) / 2
            if (gain(math.exp(middle)) > 1) == won:
                inner = middle
            else:
                outer = middle
        found.append(math.exp(outer))
    return min(found, key=lambda factor: abs(math.log(factor)), default=None)


def _span(value: Interval) -> dict[str, float]:
    if not value.nominal:
        return {}
    return {"low": value.low / value.nominal, "high": value.high / value.nominal}


def _engine(system: SystemConfig, **changes: object) -> SystemConfig:
    engine: EngineConfig = replace(system.engine, **changes)
    return replace(system, engine=engine)


def _bandwidth(system: SystemConfig, factor: float) -> SystemConfig:
    memory = replace(system.memory, peak_gb_s=system.memory.peak_gb_s * factor)
    return replace(system, memory=memory)


def _memory_energy(system: SystemConfig, factor: float) -> SystemConfig:
    energy = system.memory.energy_pj_per_bit * factor
    return replace(system, memory=replace(system.memory, energy_pj_per_bit=energy))


def _static(system: SystemConfig, factor: float) -> SystemConfig:
    return replace(system, static_power_w=system.static_power_w * factor)


def _vector(system: SystemConfig, factor: float) -> SystemConfig:
    return replace(system, vector_lanes=max(1, round(system.vector_lanes * factor)))


def _clock(system: SystemConfig, factor: float) -> SystemConfig:
    return _engine(system, clock_mhz=min(_FASTEST_MHZ, system.engine.clock_mhz * factor))


_LOGIC = {
    "energy of integer additions": ("int_add_8", "int_add_32"),
    "energy of 16-bit float operations": ("fp16_mul", "fp16_add"),
    "energy of registers": ("register_bit",),
    "energy of on-chip memory": ("sram_read_bit", "sram_write_bit"),
}  # constants of one kind move together: additions of other widths lie on a line through two


def _logic(system: SystemConfig, label: str) -> Knob:
    constants = [getattr(system.technology, name).value for name in _LOGIC[label]]
    spans = [_span(value) for value in constants if value.nominal]

    def apply(changed: SystemConfig, factor: float) -> SystemConfig:
        technology = changed.technology
        values = {}
        for name in _LOGIC[label]:
            constant = getattr(technology, name)
            values[name] = replace(constant, value=constant.value * factor)
        return replace(changed, technology=replace(technology, **values))

    return Knob(
        label, apply,
        low=min((span["low"] for span in spans), default=1.0),
        high=max((span["high"] for span in spans), default=1.0),
    )  # fmt: skip


def knobs(aspect: str, system: SystemConfig) -> list[Knob]:
    """Return the constants of `system` that `aspect` depends on."""
    share = system.memory.efficiency
    found = [
        Knob("DRAM bandwidth", _bandwidth, **_span(share)),
        Knob("clock", _clock),
        # Of a balanced machine each waits for the other: alone, neither turns what both do.
        Knob("DRAM bandwidth and clock", lambda s, factor: _clock(_bandwidth(s, factor), factor)),
        Knob("vector lanes", _vector),
    ]
    if aspect == ENERGY:
        found += [
            Knob("DRAM energy per bit", _memory_energy, **_span(system.memory.energy_pj_per_bit)),
            Knob("static power", _static, **_span(system.static_power_w)),
        ]
        found += [_logic(system, label) for label in _LOGIC]
    return found


def _nominal(aspect: str, entry: Entry) -> float:
    figure = entry.tokens_per_second if aspect == SPEED else entry.joule_per_token
    return figure.value.nominal


def _ours(model: ModelConfig, system: SystemConfig, aspect: str, batch: int, context: int) -> float:
    result = estimate(model, system, batch=batch, context=context)
    quantity = result.tokens_per_second if aspect == SPEED else result.energy_per_token_j
    return quantity.nominal


def flips(
    model: ModelConfig, system: SystemConfig, aspect: str, baseline: Entry
) -> list[Flip]:
    """Return every constant that can turn the verdict against `baseline`, the nearest first.

    Raises
    ------
    InputError
        If the system cannot be estimated at the baseline's point.
    """
    batch, context = baseline.point
    other = _nominal(aspect, baseline)
    sides: list[tuple[Knob, str, Callable[[float], float]]] = []
    for knob in knobs(aspect, system):

        def gain(factor: float, knob: Knob = knob) -> float:
            mine = _ours(model, knob.apply(system, factor), aspect, batch, context)
            return mine / other if aspect == SPEED else other / mine

        sides.append((knob, "ours", gain))
    mine = _ours(model, system, aspect, batch, context)
    measured = baseline.tokens_per_second if aspect == SPEED else baseline.joule_per_token
    name = "tokens/s of the baseline" if aspect == SPEED else "J/token of the baseline"
    sides.append((
        Knob(name, lambda system, factor: system, **_span(measured.value)), "baseline",
        lambda factor: mine / (other * factor) if aspect == SPEED else other * factor / mine,
    ))  # fmt: skip
    found = []
    for knob, side, gain in sides:
        factor = turning_factor(gain)
        if factor is not None:
            found.append(
                Flip(aspect, system.name, baseline.machine, batch, context, knob.name, side,
                     factor, knob.low, knob.high)
            )  # fmt: skip
    return sorted(found, key=lambda flip: abs(math.log(flip.factor)))


def sensitivity(
    result: Comparison, progress: Callable[[int], None] = lambda done: None
) -> list[Flip]:
    """Return the ``SHOWN`` nearest constants by machine and aspect, at its first judged point.

    A verdict that no single constant turns within ``WIDEST`` gives none.
    """
    found: list[Flip] = []
    for index, system in enumerate(result.systems):
        for aspect in ASPECTS:
            mine = [v for v in result.verdicts if (v.aspect, v.machine) == (aspect, system.name)]
            if mine:
                verdict = mine[0]
                best = result.best(aspect, verdict.batch, verdict.context)
                try:
                    found += flips(result.model, system, aspect, best)[:SHOWN]
                except InputError as error:  # a factor that no machine can have
                    raise InputError(f"sensitivity of {system.name}: {error}") from None
        progress(index + 1)
    return found
