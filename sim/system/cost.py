"""Time and energy of a pass on a machine; the one place where operators meet hardware.

Operators that depend on the number of tokens alone are computed once for it; attention grows with
the context and is a few multiplications. So after the first of its kind, a pass takes microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from golden.config import ModelConfig

from ..energy import Events, on_chip_energy_j
from ..errors import InputError
from ..interval import Interval, total
from ..workload import (
    FLOAT_BYTES,
    PUBLISHED,
    Formats,
    Operator,
    Pass,
    Shard,
    activation_bytes_per_token,
    decode_passes,
)
from .config import SystemConfig
from .events import operator_events
from .timing import NO_TIME, OperatorCost, OperatorTimer, Times, add_times, scaled


@dataclass(frozen=True)
class FixedCost:
    """The part of a pass that its tokens and outputs decide.

    Parameters
    ----------
    first, before, after, last
        Operators before the layers, in a layer before and after attention, and after the layers.
    first_s, layer_s, last_s
        Their times; `layer_s` is of one layer without attention, s.
    """

    first: tuple[OperatorCost, ...]
    before: tuple[OperatorCost, ...]
    after: tuple[OperatorCost, ...]
    last: tuple[OperatorCost, ...]
    first_s: Times
    layer_s: Times
    last_s: Times


@dataclass(frozen=True)
class StepCost:
    """Time and energy of a step: ``time_s`` in s, ``energy_j`` in J, static power included."""

    time_s: Interval
    energy_j: Interval


class Machine:
    """A model on a system, ready to cost passes.

    Parameters
    ----------
    model
        Shape of the model.
    system
        What it runs on.
    formats
        Storage of KV cache and head.

    Raises
    ------
    InputError
        If a layer does not fit the engine, chips do not divide the model, or the activations of
        one token do not fit their buffer.
    """

    def __init__(
        self, model: ModelConfig, system: SystemConfig, formats: Formats = PUBLISHED
    ) -> None:
        self.model, self.system, self.formats = model, system, formats
        self.shard = Shard(
            model=model,
            engine=system.engine,
            formats=formats,
            engines=system.engines,
            split=system.tensor_chips,
            kept_bytes=system.weight_buffer_bytes,
        )
        if system.stages > model.num_hidden_layers:
            raise InputError(
                f"chips in a pipeline must be at most num_hidden_layers = "
                f"{model.num_hidden_layers}, not {system.stages}"
            )
        vector = formats.kv_vector_bytes(model.head_dim)
        self.timer = OperatorTimer(
            system,
            {
                "kv_read": vector * formats.kv_block,
                "kv_write": vector,
                "embedding": FLOAT_BYTES * model.hidden_size,
            },
        )
        self._fixed: dict[tuple[int, int], FixedCost] = {}
        self._energy: dict[tuple[int, int], Times] = {}

    @cached_property
    def most_tokens(self) -> int:
        """Token vectors that a pass can have: as many as the activation buffer holds."""
        each = activation_bytes_per_token(self.shard)
        room = self.system.activation_buffer_bytes
        if each > room:
            raise InputError(
                f"the activations of one token must fit activation_buffer_bytes = {room}, "
                f"not {each} bytes ({each - room} too many)"
            )
        return room // each

    @cached_property
    def stage_layers(self) -> tuple[int, ...]:
        """Layers of each pipeline stage; the first ones take what is left over."""
        layers, stages = self.model.num_hidden_layers, self.system.stages
        return tuple(layers // stages + (i < layers % stages) for i in range(stages))

    # ---- time ----------------------------------------------------------------------------

    def fixed(self, tokens: int, outputs: int) -> FixedCost:
        """Return the cost of everything but attention, computed once for its arguments."""
        key = (tokens, outputs)
        if key not in self._fixed:
            shard = self.shard
            first = self.timer.costs([shard.embedding(tokens)], NO_TIME)[0]
            before = list(shard.before_attention(tokens))
            after = list(shard.after_attention(tokens))
            credit = NO_TIME
            for _ in range(2):  # the second time with what the layer before left DRAM to fetch
                costs_before, _ = self.timer.costs(before, credit)
                # Attention is taken to leave DRAM no time to fetch ahead.
                costs_after, credit = self.timer.costs(after, NO_TIME)
            last, _ = self.timer.costs(list(shard.head(outputs)), credit)
            self._fixed[key] = FixedCost(
                tuple(first), tuple(costs_before), tuple(costs_after), tuple(last),
                add_times(cost.time_s for cost in first),
                add_times(cost.time_s for cost in (*costs_before, *costs_after)),
                add_times(cost.time_s for cost in last),
            )
        return self._fixed[key]

    def attention(self, work: Pass) -> list[OperatorCost]:
        """Return the cost of one layer's attention."""
        return self.timer.costs(list(self.shard.attention(work.attended, work.cached)), NO_TIME)[0]

    def layer_time(self, work: Pass) -> Times:
        """Return the time of one layer of a pass, s."""
        fixed = self.fixed(work.tokens, work.outputs)
        lanes, clock = self.system.vector_lanes, self.system.clock_hz
        latency, attended = self.system.vector_latency_cycles, work.attended
        result = list(fixed.layer_s)
        for macs, ops, amount in self._attention_terms:  # as _other, without the objects
            cycles = -(-macs * attended // lanes) - (-ops * attended // lanes) + latency
            for case in range(3):
                memory = amount * work.cached * self.timer.seconds_per_byte["kv_read"][case]
                result[case] += max(cycles / clock, memory)
        return result[0], result[1], result[2]

    def pass_time(self, work: Pass) -> Times:
        """Return the time from a pass's start to its end, through all stages, s."""
        fixed = self.fixed(work.tokens, work.outputs)
        layers = scaled(self.layer_time(work), self.model.num_hidden_layers)
        hops = (self.system.stages - 1) * self.hop_time_s(work.tokens)
        return add_times((fixed.first_s, layers, fixed.last_s, (hops, hops, hops)))

    def stage_times(self, work: Pass) -> tuple[Times, ...]:
        """Return the time for which a pass occupies each pipeline stage, s."""
        fixed, layer = self.fixed(work.tokens, work.outputs), self.layer_time(work)
        times = [scaled(layer, count) for count in self.stage_layers]
        times[0] = add_times((fixed.first_s, times[0]))
        times[-1] = add_times((times[-1], fixed.last_s))
        return tuple(times)

    def schedule(self, passes: Sequence[Pass], case: int = 1) -> list[list[tuple[float, float]]]:
        """Return start and end of every pass in every stage, s, from 0 on.

        A pass enters a stage when it has been handed over by the stage before and the pass before
        it has left; `case` is 0 (low), 1 (nominal) or 2 (high).
        """
        free = [0.0] * self.system.stages
        result = []
        for work in passes:
            hop, arrival, spans = self.hop_time_s(work.tokens), 0.0, []
            for stage, time in enumerate(self.stage_times(work)):
                start = max(arrival, free[stage])
                free[stage] = start + time[case]
                arrival = free[stage] + hop
                spans.append((start, free[stage]))
            result.append(spans)
        return result

    def passes_time(self, passes: Sequence[Pass]) -> Times:
        """Return the time of passes that do not wait for one another's results, s.

        One stage: one after the other. A pipeline: see :meth:`schedule`.
        """
        if self.system.stages == 1:
            return add_times(self.pass_time(work) for work in passes)
        return tuple(self.schedule(passes, case)[-1][-1][1] for case in range(3))

    def decode_step_passes(self, batch: int, context: int) -> list[Pass]:
        """Return the passes of one decode step: in a pipeline, one for each stage to work on."""
        share = -(-batch // self.system.stages)
        return list(decode_passes(batch, context, min(share, self.most_tokens)))

    def hop_time_s(self, tokens: int) -> float:
        """Return the time of handing `tokens` vectors to the next stage, s; 0 with one stage."""
        if self.system.stages == 1:
            return 0.0
        return self.system.link.time_s(FLOAT_BYTES * self.model.hidden_size * tokens, 1)

    @cached_property
    def _attention_terms(self) -> tuple[tuple[int, int, int], ...]:
        """MACs and operations for one attended position, bytes for one cached one, by operator."""
        return tuple(
            (operator.macs, operator.vector_ops, operator.bytes)
            for operator in self.shard.attention(1, 1)
        )

    @property
    def dram_categories(self) -> frozenset[str]:
        """Categories of bytes that lie in DRAM."""
        return self.timer.dram_categories

    # ---- energy --------------------------------------------------------------------------

    def pass_energy(self, work: Pass) -> Times:
        """Return the dynamic energy of a pass on all chips, J (static power not included)."""
        key = (work.tokens, work.outputs)
        if key not in self._energy:
            energy = self._fixed_energy(self.fixed(*key), work.tokens)
            self._energy[key] = (energy.low, energy.nominal, energy.high)
        attended, cached = self.attention_energy
        return add_times(
            (self._energy[key], scaled(attended, work.attended), scaled(cached, work.cached))
        )

    def _fixed_energy(self, fixed: FixedCost, tokens: int) -> Interval:
        layers = self.model.num_hidden_layers
        parts = [
            self.operator_energy(cost.operator) for cost in (*fixed.first, *fixed.last)
        ] + [
            self.operator_energy(cost.operator, layers)
            for cost in (*fixed.before, *fixed.after)
        ]
        return total(e for part in parts for e in part.values()) + self.hop_energy(tokens)

    def hop_energy(self, tokens: int) -> Interval:
        """Return the energy of handing `tokens` vectors from stage to stage, J."""
        if self.system.stages == 1:
            return Interval.exactly(0.0)
        bits = 8 * FLOAT_BYTES * self.model.hidden_size * tokens * (self.system.stages - 1)
        return self.system.link.energy_pj_per_bit * (bits * 1e-12)

    @cached_property
    def attention_energy(self) -> tuple[Times, Times]:
        """Energy for one attended and for one cached position, all layers and chips, J."""
        result = []
        for attended, cached in ((1, 0), (0, 1)):
            energy = total(
                e
                for operator in self.shard.attention(attended, cached)
                for e in self.operator_energy(operator, self.model.num_hidden_layers).values()
            )
            result.append((energy.low, energy.nominal, energy.high))
        return result[0], result[1]

    def operator_energy(self, operator: Operator, instances: int = 1) -> dict[str, Interval]:
        """Return the dynamic energy of `instances` of an operator on all chips by part, J."""
        return self.events_energy(
            operator_events(operator, self.system).times(instances),
            sum(
                amount for category, amount in operator.bytes_by_category.items()
                if category in self.timer.dram_categories
            ) * instances,
            operator.link_bytes * instances,
        )

    def events_energy(self, events: Events, dram_bytes: int, link_bytes: int) -> dict:
        """Return the energy of what one tensor-parallel chip does, times those chips, by part."""
        system = self.system
        energy = on_chip_energy_j(system.technology, system.engine, events, system.switching)
        energy["dram"] = system.memory.transfer_energy_j(dram_bytes)
        if system.link is not None:
            energy["link"] = system.link.energy_pj_per_bit * (8 * link_bytes * 1e-12)
        return {part: joules * system.tensor_chips for part, joules in energy.items()}

    # ---- for schedulers ------------------------------------------------------------------

    def step(self, work: Pass) -> StepCost:
        """Return time and energy of one pass, static power included: what a scheduler asks.

        After the first call with its tokens and outputs, it takes microseconds.
        """
        time, energy = self.pass_time(work), self.pass_energy(work)
        power = self.system.power_w
        static = (power.low * time[0], power.nominal * time[1], power.high * time[2])
        return StepCost(Interval(*time), Interval(*add_times((energy, static))))
