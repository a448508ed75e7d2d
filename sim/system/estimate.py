"""Whole-model estimates: phases of passes, their time, bytes and energy, by operator.

``time of a step = max(compute cycles / clock, memory bytes / bandwidth)``, where memory runs ahead
of an array that does not take weights yet only as far as the weight buffer goes
``time of a pass = sum over steps``, because a step needs the result of the one before
``energy = sum of event counts * constants + DRAM and link bits * pJ/bit + static power * time``

A step is a group of operators that run back to back (q/k/v; gate/up) or a single operator. Cycles
of FBI-linears come from the engine's cycle model, which equals the RTL; all else is modelled.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from golden.config import ModelConfig

from ..energy import ENERGY_PARTS, Events
from ..errors import InputError
from ..interval import ZERO, Interval, total
from ..workload import BYTE_CATEGORIES, PUBLISHED, Formats, Operator, Pass, prefill_passes
from .config import SystemConfig
from .cost import NO_TIME, Machine, OperatorCost, Times, add_times, scaled
from .events import operator_events
from .fit import check_fit, held_bytes


@dataclass(frozen=True, kw_only=True)
class OperatorEstimate:
    """What one operator costs in a phase, all its instances, layers and passes together.

    Counts are of one chip of a tensor-parallel group, energy of all chips.

    Parameters
    ----------
    operator
        What it is; its own counts are of the last instance alone.
    instances
        How often it ran.
    cycles, cycles_mark
        Compute cycles: ``rtl-exact`` for FBI-linears, else ``modelled``.
    counts
        Sums of ``sign_accumulates``, ``weight_beats``, ``macs``, ``vector_ops``, ``link_bytes``.
    bytes_by_category
        Bytes of memory.
    memory_time_s
        Time of its bytes alone, s.
    time_s
        Its share of the steps' time, s.
    bound_by
        What takes most of its nominal time: ``array``, ``memory``, ``vector`` or ``link``.
    time_by_bound
        Nominal seconds by what bounds them.
    energy_j
        Dynamic energy, memory and link included, static power not, J.
    """

    operator: Operator
    instances: int
    cycles: int
    cycles_mark: str
    counts: dict[str, int]
    bytes_by_category: dict[str, int]
    memory_time_s: Interval
    time_s: Interval
    bound_by: str
    time_by_bound: dict[str, float]
    energy_j: Interval


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A prefill, or the decode steps after it.

    Parameters
    ----------
    name
        ``prefill`` or ``decode``.
    tokens
        Tokens that it reads (prefill) or writes (decode), all sequences.
    steps
        Decode steps; 1 for a prefill.
    passes
        Passes of all steps.
    operators
        Cost by operator, in order of execution.
    time_s
        Time of the phase, s.
    first_step_s, last_step_s
        Nominal time of its first and last step, s.
    energy_parts_j
        Energy of the phase by part (``sim.energy.ENERGY_PARTS``), J.
    """

    name: str
    tokens: int
    steps: int
    passes: int
    operators: tuple[OperatorEstimate, ...]
    time_s: Interval
    first_step_s: float
    last_step_s: float
    energy_parts_j: dict[str, Interval]

    @property
    def energy_j(self) -> Interval:
        """Energy of the phase, J."""
        return total(self.energy_parts_j.values())

    @property
    def tokens_per_second(self) -> Interval:
        """Tokens a second, all sequences."""
        return self.time_s.reciprocal() * self.tokens

    def bytes_by_category(self) -> dict[str, int]:
        """Return the bytes of memory of one chip for every category, zeros included."""
        totals = dict.fromkeys(BYTE_CATEGORIES, 0)
        for entry in self.operators:
            for category, amount in entry.bytes_by_category.items():
                totals[category] += amount
        return totals

    def time_by_bound(self) -> dict[str, float]:
        """Return nominal seconds of operators by what bounds them."""
        times = dict.fromkeys(("array", "memory", "vector", "link"), 0.0)
        for entry in self.operators:
            for bound, seconds in entry.time_by_bound.items():
                times[bound] += seconds
        return times


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate: its machine and its phases. Its headline figures are those of the last phase.

    Parameters
    ----------
    machine
        What was estimated.
    batch, prefill, decode, context
        Sequences; prompt tokens, decode steps, and positions at the end, of each.
    phases
        One or two.
    """

    machine: Machine
    batch: int
    prefill: int
    decode: int
    context: int
    phases: tuple[Phase, ...]

    @property
    def system(self) -> SystemConfig:
        """The system."""
        return self.machine.system

    @property
    def model(self) -> ModelConfig:
        """The model's shape."""
        return self.machine.model

    @property
    def main(self) -> Phase:
        """The phase of the headline figures: decode, or prefill if nothing is decoded."""
        return self.phases[-1]

    @property
    def operators(self) -> tuple[OperatorEstimate, ...]:
        """Operators of the main phase."""
        return self.main.operators

    @property
    def tokens_per_second(self) -> Interval:
        """Tokens a second of the main phase, all sequences."""
        return self.main.tokens_per_second

    @property
    def time_per_token_s(self) -> Interval:
        """Time of the main phase by its tokens, s."""
        return self.main.time_s * (1 / self.main.tokens)

    @property
    def energy_per_token_j(self) -> Interval:
        """Energy of the main phase by its tokens, J."""
        return self.main.energy_j * (1 / self.main.tokens)

    @property
    def energy_parts_j(self) -> dict[str, Interval]:
        """Energy per token of the main phase, by part, J."""
        return {
            part: energy * (1 / self.main.tokens)
            for part, energy in self.main.energy_parts_j.items()
        }

    @property
    def bandwidth_limit_tokens_per_second(self) -> float:
        """Tokens a second of the main phase if the DRAM's peak bandwidth were the only limit."""
        amounts = self.main.bytes_by_category()
        dram = sum(amounts[category] for category in self.machine.dram_categories)
        if not dram:
            return math.inf
        return self.system.memory.peak_gb_s * 1e9 * self.system.stages / dram * self.main.tokens

    def resident_bytes(self) -> list[dict[str, int]]:
        """Return what each pipeline stage's chip holds, by category, in bytes."""
        return held_bytes(self.machine, positions=self.batch * self.context)

    def to_json(self) -> dict[str, object]:
        """Return the estimate as a dictionary that ``json.dumps`` takes (``sim.system.report``)."""
        from .report import to_json

        return to_json(self)


class _Sum:
    """Adds up an operator's instances over the passes of a phase."""

    def __init__(self) -> None:
        self.operator: Operator | None = None
        self.instances = self.cycles = 0
        self.counts: Counter = Counter()
        self.bytes: Counter = Counter()
        self.events = Events()
        self.memory: Times = NO_TIME
        self.time: Times = NO_TIME
        self.bounds: Counter = Counter()

    def add(self, cost: OperatorCost, events: Events, instances: int) -> None:
        operator = cost.operator
        self.operator = operator
        self.instances += instances
        self.cycles += cost.cycles * instances
        for name in ("sign_accumulates", "weight_beats", "macs", "vector_ops", "link_bytes"):
            self.counts[name] += getattr(operator, name) * instances
        for category, amount in operator.bytes_by_category.items():
            self.bytes[category] += amount * instances
        self.events = self.events + events.times(instances)
        self.memory = add_times((self.memory, scaled(cost.memory_s, instances)))
        self.time = add_times((self.time, scaled(cost.time_s, instances)))
        self.bounds[cost.bound] += cost.time_s[1] * instances


def _operators(
    machine: Machine, passes: Counter
) -> tuple[tuple[OperatorEstimate, ...], dict[str, Interval]]:
    """Add up operators over `passes` (a count of each); return them and the energy by part."""
    layers = machine.model.num_hidden_layers
    sums: dict[str, _Sum] = {}
    shapes: Counter = Counter()
    for work, count in passes.items():
        shapes[work.tokens, work.outputs] += count

    def add(costs: Iterable[OperatorCost], count: int) -> None:
        for cost in costs:
            events = operator_events(cost.operator, machine)
            sums.setdefault(cost.operator.name, _Sum()).add(cost, events, count)

    for (tokens, outputs), count in shapes.items():
        fixed = machine.fixed(tokens, outputs)
        add(fixed.first, count)
        add((*fixed.before, *fixed.after), count * layers)
        add(fixed.last, count)
    for work, count in passes.items():
        add(machine.attention(work), count * layers)

    parts = dict.fromkeys(ENERGY_PARTS, ZERO)
    entries = []
    for name in _in_order(sums, machine):
        entry = sums[name]
        dram = sum(entry.bytes[category] for category in machine.dram_categories)
        energy = machine.events_energy(entry.events, dram, entry.counts["link_bytes"])
        for part, joules in energy.items():
            parts[part] = parts[part] + joules
        entries.append(
            OperatorEstimate(
                operator=entry.operator,
                instances=entry.instances,
                cycles=entry.cycles,
                cycles_mark="rtl-exact" if entry.operator.kind == "fbi-linear" else "modelled",
                counts=dict(entry.counts),
                bytes_by_category=dict(entry.bytes),
                memory_time_s=Interval(*entry.memory),
                time_s=Interval(*entry.time),
                bound_by=entry.bounds.most_common(1)[0][0],
                time_by_bound=dict(entry.bounds),
                energy_j=total(energy.values()),
            )
        )
    for work, count in passes.items():
        parts["link"] = parts["link"] + machine.hop_energy(work.tokens) * count
    return tuple(entries), parts


def _in_order(names: Iterable[str], machine: Machine) -> list[str]:
    """Return operators' names in the order in which a pass runs them."""
    shard = machine.shard
    order = [
        operator.name
        for part in (
            (shard.embedding(1),), shard.before_attention(1), shard.attention(1, 1),
            shard.after_attention(1), shard.head(1),
        )
        for operator in part
    ]
    return sorted(names, key=order.index)


def _phase(machine: Machine, name: str, steps: list[list[Pass]], tokens: int) -> Phase:
    times = []
    for passes in steps:
        time = machine.passes_time(passes)
        times.append(time)
    counted = Counter(work for passes in steps for work in passes)
    operators, parts = _operators(machine, counted)
    time = Interval(*add_times(times))
    parts["static"] = machine.system.power_w * time
    return Phase(
        name=name,
        tokens=tokens,
        steps=len(steps),
        passes=sum(counted.values()),
        operators=operators,
        time_s=time,
        first_step_s=times[0][1],
        last_step_s=times[-1][1],
        energy_parts_j=parts,
    )


def _count(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise InputError(f"{name} must be an integer of at least {low}, not {value!r}")


def simulate(
    model: ModelConfig,
    system: SystemConfig,
    *,
    prefill: int,
    decode: int,
    batch: int = 1,
    formats: Formats = PUBLISHED,
) -> Estimate:
    """Estimate reading `batch` prompts of `prefill` tokens, then `decode` steps for all of them.

    Decode step i (from 1) attends to ``prefill + i`` positions, its own included.

    Parameters
    ----------
    model, system, formats
        Shape of the model, what it runs on, storage of KV cache and head.
    prefill, decode
        Prompt tokens and decode steps of every sequence, not both 0.
    batch
        Sequences that run together.

    Raises
    ------
    InputError
        If the positions are beyond the model, a layer does not fit the engine, or weights and KV
        cache do not fit a memory.
    """
    _count("prefill", prefill, 0)
    _count("decode", decode, 0)
    _count("batch", batch, 1)
    context, limit = prefill + decode, model.max_position_embeddings
    if not 1 <= context <= limit:
        raise InputError(
            f"prefill + decode must be from 1 to max_position_embeddings = {limit}, not {context}"
        )
    machine = Machine(model, system, formats)
    check_fit(machine, batch=batch, context=context)
    phases = []
    if prefill:
        passes = list(prefill_passes(batch, prefill, machine.most_tokens))
        phases.append(_phase(machine, "prefill", [passes], batch * prefill))
    if decode:
        steps = [machine.decode_step_passes(batch, prefill + i) for i in range(1, decode + 1)]
        phases.append(_phase(machine, "decode", steps, batch * decode))
    return Estimate(
        machine=machine, batch=batch, prefill=prefill, decode=decode, context=context,
        phases=tuple(phases),
    )


def estimate(
    model: ModelConfig,
    system: SystemConfig,
    *,
    context: int = 512,
    batch: int = 1,
    formats: Formats = PUBLISHED,
) -> Estimate:
    """Estimate one decode step: a token for each of `batch` sequences.

    Parameters
    ----------
    context
        Positions that each token attends to, its own included.

    The rest, and what is refused, are as for :func:`simulate`.
    """
    limit = model.max_position_embeddings
    if not isinstance(context, int) or isinstance(context, bool) or not 1 <= context <= limit:
        raise InputError(
            f"context must be an integer from 1 to max_position_embeddings = {limit}, "
            f"not {context!r}"
        )
    _count("batch", batch, 1)
    machine = Machine(model, system, formats)
    check_fit(machine, batch=batch, context=context)
    phase = _phase(
        machine, "decode", [machine.decode_step_passes(batch, context)], batch
    )
    return Estimate(
        machine=machine, batch=batch, prefill=0, decode=1, context=context, phases=(phase,)
    )
