"""Whole-model estimates: phases of passes, their time, bytes and energy, by operator.

``time of a step = max(compute cycles / clock, memory bytes / bandwidth)``, where memory runs ahead
of an array that does not take weights yet only as far as the weight buffer goes
``time of a pass = sum over steps``, because a step needs the result of the one before
``energy = sum of event counts * constants + DRAM and link bits * pJ/bit + static power * time``

A step is a group of operators that run back to back (q/k/v; gate/up) or a single operator. Cycles
of FBI-linears come from the engine's cycle model, which equals the RTL; all else is modelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from golden.config import ModelConfig

from ..checks import check_integer
from ..energy import ENERGY_PARTS, Events
from ..errors import InputError
from ..generic import GenericEngine
from ..interval import ZERO, Interval, total
from ..workload import PUBLISHED, Formats, Operator, Pass, prefill_passes
from .config import SystemConfig
from .cost import Machine
from .events import operator_events
from .fit import check_fit
from .results import Estimate, OperatorEstimate, Phase
from .timing import NO_TIME, OperatorCost, Times, add_times, scaled

MOST_BATCH = 65_536
"""Most sequences that run together; ``signacc baseline`` takes no more either."""


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
            events = operator_events(cost.operator, machine.system)
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
                cycles_mark=_mark(machine, entry.operator),
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


def _mark(machine: Machine, operator: Operator) -> str:
    exact = not isinstance(machine.system.engine, GenericEngine)
    return "rtl-exact" if exact and operator.kind == "fbi-linear" else "modelled"


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


def check_batch(batch: object, name: str = "batch") -> None:
    """Raise InputError if `batch`, called `name`, is no integer from 1 to MOST_BATCH."""
    check_integer(name, batch, 1)
    if batch > MOST_BATCH:
        raise InputError(
            f"{name} must be at most {MOST_BATCH:,} sequences, beyond which no baseline is "
            f"measured, not {batch}"
        )


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
        Sequences that run together, 1 to ``MOST_BATCH``.

    Raises
    ------
    InputError
        If the positions are beyond the model, a layer does not fit the engine, or weights and KV
        cache do not fit a memory.
    """
    check_integer("prefill", prefill, 0)
    check_integer("decode", decode, 0)
    check_batch(batch)
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
    check_batch(batch)
    machine = Machine(model, system, formats)
    check_fit(machine, batch=batch, context=context)
    phase = _phase(
        machine, "decode", [machine.decode_step_passes(batch, context)], batch
    )
    return Estimate(
        machine=machine, batch=batch, prefill=0, decode=1, context=context, phases=(phase,)
    )
