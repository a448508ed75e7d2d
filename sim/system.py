"""Whole-model estimate: time and energy of one decoded token on an engine, a DRAM and a chip.

``time of a step    = max(compute cycles / clock, DRAM bytes / (peak * efficiency))``, where DRAM
runs ahead of an array that does not take weights yet only as far as the weight buffer goes
``time of a token   = sum over steps``, because a step needs the result of the one before
``energy of a token = sum of event counts * constants + DRAM bits * pJ/bit + static power * time``

A step is a group of operators that run back to back (q/k/v; gate/up) or a single operator. Cycles
of FBI-linears come from the engine's cycle model, which equals the RTL; all else is modelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from golden.config import ModelConfig
from hw.config import EngineConfig, named_preset

from .energy import (
    ENERGY_PARTS,
    FPGA16,
    Events,
    Technology,
    on_chip_energy_j,
    sign_accumulate_pj,
)
from .errors import InputError
from .interval import ZERO, Interval, total
from .memory import MemoryConfig, named_memory
from .workload import Operator, Workload, decode_step

EngineCycles = Callable[[EngineConfig, Sequence[tuple[int, int]]], int]
"""``(config, [(K, N), ...]) -> cycles`` of FBI-linears back to back, weights never stalling."""

Bound = Literal["array", "memory", "vector"]

RESULT_BITS = 16
"""Width of an engine result."""
PRODUCT_STORE_BITS = 32
"""Width at which alpha*x products wait to be quantized (modelled)."""
FLOAT_BITS = 16
"""Width of a vector-unit operand."""

ASSUMPTIONS = (
    "batch 1, decode only; one engine; one DRAM system shared by everything",
    "within a step, DRAM streaming and compute overlap; while the array takes no weights (loading "
    "activations, draining), DRAM runs ahead by at most weight_buffer_bytes",
    "dependent steps do not overlap, and no weights are fetched ahead across them",
    "weights are stored in the order in which the array consumes them, padded to whole weight "
    "beats; DRAM efficiency is that of a long sequential stream, for every category of bytes",
    "the array's cycles hold when weights never stall; where memory is the bound, the array waits "
    "and clock-gated lanes take no dynamic energy",
    "attention, norms, RoPE, SwiGLU, residuals, lm_head and sampling run on a vector unit without "
    "RTL: vector_lanes 16-bit float MACs or elementwise operations per cycle at the engine's clock",
    "activations stay on chip; the KV cache does not: earlier keys and values are read from DRAM "
    "for every token, once per key/value head",
    "every DRAM bit is written to and read from an on-chip buffer once",
    "host, sampling beyond arg max, tokenizer and start-up are not counted",
)
"""What an estimate takes for granted."""


@dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """An engine with the memory, technology and vector unit around it.

    Parameters
    ----------
    name
        What reports call it.
    engine
        Configuration of the sign-accumulate engine; its ``clock_mhz`` is the clock of all logic.
    memory
        DRAM system.
    technology
        Energy constants of the logic.
    vector_lanes
        16-bit float MACs (or elementwise operations) per cycle of the vector unit.
    vector_latency_cycles
        Cycles that a vector operator takes on top of its throughput (pipeline fill and drain).
    weight_buffer_bytes
        On-chip buffer between DRAM and the engine's weight port.
    static_power_w, static_power_source
        Power that flows whether or not there is work, in watts: leakage, clocks, processor system,
        DRAM background, regulators.

    Raises
    ------
    InputError
        If a count is not an integer in its range.
    """

    name: str
    engine: EngineConfig
    memory: MemoryConfig
    technology: Technology
    vector_lanes: int
    vector_latency_cycles: int = 32
    weight_buffer_bytes: int = 128 * 1024
    static_power_w: Interval
    static_power_source: str

    def __post_init__(self) -> None:
        for name, low in (
            ("vector_lanes", 1),
            ("vector_latency_cycles", 0),
            ("weight_buffer_bytes", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise InputError(f"{name} must be an integer of at least {low}, not {value!r}")

    @property
    def clock_hz(self) -> float:
        """Clock in Hz."""
        return self.engine.clock_mhz * 1e6


_KV260_POWER = Interval(3.3, 3.6, 9.15)
_KV260_POWER_SOURCE = (
    "Simfero, 'What One Inference Costs in Watts' (2026), measured on a KV260: module sensors "
    "4.3-4.8 W under load less the 0.98 W that the load added (low 3.3, nominal 3.6); high: the "
    "whole idle kit at its 12 V input, 9.15 W with carrier card and fan. DRAM background power is "
    "inside"
)

_SYSTEMS: dict[str, str] = {"kv260": "kv260", "kv260_a8": "kv260_a8"}

SYSTEM_NAMES: tuple[str, ...] = tuple(_SYSTEMS)
"""Names that ``named_system`` knows; they are names of engine presets."""


def named_system(
    name: str, *, engine: EngineConfig | None = None, memory: str | None = None
) -> SystemConfig:
    """Return the system called `name`, with its engine or its memory exchanged if given.

    ``kv260`` is the Kria KV260 board: engine preset of the same name, 4 GiB of DDR4-2400 x64, and
    a vector unit of 64 lanes, which at 150 MHz takes 64 * 2 bytes * 150e6 = 19.2 GB/s of 16-bit
    operands: exactly the peak of that DRAM.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    if name not in _SYSTEMS:
        raise InputError(f"a system is one of {', '.join(_SYSTEMS)}, not {name!r}")
    system = SystemConfig(
        name=name,
        engine=named_preset(_SYSTEMS[name]),
        memory=named_memory("ddr4-2400-x64"),
        technology=FPGA16,
        vector_lanes=64,
        static_power_w=_KV260_POWER,
        static_power_source=_KV260_POWER_SOURCE,
    )
    if engine is not None:
        system = replace(system, engine=engine)
    if memory is not None:
        system = replace(system, memory=named_memory(memory))
    return system


@dataclass(frozen=True, kw_only=True)
class OperatorEstimate:
    """What one operator costs in one decode step, all its instances together.

    Parameters
    ----------
    operator
        What it is and what one instance does.
    cycles
        Compute cycles. An FBI-linear's are those that it adds to its group run back to back.
    cycles_mark
        ``rtl-exact`` or ``modelled`` (``injected`` if the caller gave a cycle model).
    memory_time_s
        Time of its DRAM bytes alone, s.
    time_s
        Its share of the step's time, s.
    bound_by
        Which of the two takes the nominal time: ``array`` or ``vector``, or ``memory``.
    energy_j
        Dynamic energy, DRAM included, static power not, J.
    """

    operator: Operator
    cycles: int
    cycles_mark: str
    memory_time_s: Interval
    time_s: Interval
    bound_by: Bound
    energy_j: Interval

    def to_dict(self) -> dict[str, object]:
        """Return the operator for a report."""
        operator = self.operator
        return {
            "name": operator.name,
            "kind": operator.kind,
            "step": operator.step,
            "count": operator.count,
            "shape_k_n": None if operator.shape is None else list(operator.shape),
            "sign_accumulates": operator.sign_accumulates * operator.count,
            "macs": operator.macs * operator.count,
            "vector_ops": operator.vector_ops * operator.count,
            "weight_beats": operator.weight_beats * operator.count,
            "dram_bytes": {
                category: amount * operator.count
                for category, amount in operator.dram_bytes.items()
            },
            "cycles": self.cycles,
            "cycles_mark": self.cycles_mark,
            "memory_time_s": self.memory_time_s.nominal,
            "time_s": self.time_s.nominal,
            "bound_by": self.bound_by,
            "energy_j": self.energy_j.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Time and energy of one decoded token.

    Parameters
    ----------
    system, workload
        What was estimated.
    operators
        Cost by operator, in order of execution.
    time_s
        Time of a token, s.
    energy_parts_j
        Energy of a token by part (``sim.energy.ENERGY_PARTS``), J.
    """

    system: SystemConfig
    workload: Workload
    operators: tuple[OperatorEstimate, ...]
    time_s: Interval
    energy_parts_j: dict[str, Interval]

    @property
    def energy_j(self) -> Interval:
        """Energy of a token, J."""
        return total(self.energy_parts_j.values())

    @property
    def tokens_per_second(self) -> Interval:
        """Decoded tokens per second at batch 1."""
        return self.time_s.reciprocal()

    @property
    def bandwidth_limit_tokens_per_second(self) -> float:
        """Tokens per second if DRAM's peak bandwidth were the only limit."""
        return self.system.memory.peak_gb_s * 1e9 / self.workload.bytes

    def time_by_bound(self) -> dict[str, float]:
        """Return nominal seconds by what bounds them."""
        times = dict.fromkeys(("array", "memory", "vector"), 0.0)
        for entry in self.operators:
            times[entry.bound_by] += entry.time_s.nominal
        return times

    def to_json(self) -> dict[str, object]:
        """Return the estimate as a dictionary that ``json.dumps`` takes.

        ``tokens_per_second`` and ``time_per_token_s`` are nominal; their ranges stand in
        ``tokens_per_second_range`` and ``time_per_token_range_s``. Units are in the key names.
        """
        return {
            "model": self.workload.model.to_dict(),
            "system": self.system.name,
            "context": self.workload.context,
            "tokens_per_second": self.tokens_per_second.nominal,
            "tokens_per_second_range": self.tokens_per_second.to_dict(),
            "time_per_token_s": self.time_s.nominal,
            "time_per_token_range_s": self.time_s.to_dict(),
            "energy_per_token_j": self.energy_j.to_dict(),
            "energy_parts_j": {
                part: energy.to_dict() for part, energy in self.energy_parts_j.items()
            },
            "time_by_bound_s": self.time_by_bound(),
            "bandwidth_limit_tokens_per_second": self.bandwidth_limit_tokens_per_second,
            "dram_bytes_per_token": self.workload.bytes_by_category(),
            "operators": [entry.to_dict() for entry in self.operators],
            "provenance": self._provenance(),
        }

    def _provenance(self) -> dict[str, object]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        try:
            signacc = version("signacc")
        except PackageNotFoundError:
            signacc = "not installed"
        system, memory = self.system, self.system.memory
        technology = system.technology
        cycles_marks = {
            entry.cycles_mark for entry in self.operators if entry.operator.kind == "fbi-linear"
        }
        return {
            "schema": "signacc-estimate-1",
            "versions": {"signacc": signacc, "python": platform.python_version()},
            "marks": {
                "dram_bytes": "derived from the model's shape",
                "cycles of fbi-linear": " ".join(sorted(cycles_marks)),
                "cycles of all others": "modelled",
                "memory_time_s": "modelled",
                "time_per_token_s": "modelled",
                "energy_per_token_j": "modelled",
            },
            "assumptions": list(ASSUMPTIONS),
            "engine": system.engine.to_dict(),
            "vector_unit": {
                "lanes": system.vector_lanes,
                "latency_cycles": system.vector_latency_cycles,
                "mark": "modelled",
            },
            "weight_buffer_bytes": system.weight_buffer_bytes,
            "memory": {
                "name": memory.name,
                "peak_gb_s": memory.peak_gb_s,
                "capacity_bytes": memory.capacity_bytes,
                "resident_bytes": self.workload.resident_bytes,
                "efficiency": memory.efficiency.to_dict(),
                "efficiency_source": memory.efficiency_source,
                "energy_pj_per_bit": memory.energy_pj_per_bit.to_dict(),
                "energy_source": memory.energy_source,
            },
            "technology": {
                "name": technology.name,
                "description": technology.description,
                "constants": {
                    name: constant.to_dict() for name, constant in technology.constants().items()
                },
                "sign_accumulate_pj": sign_accumulate_pj(technology, system.engine).to_dict(),
                "sign_accumulate_formula": (
                    "(sum over adder-tree levels of adders * E(width) + E(acc_bits)) / k_par, "
                    "E(b) = E8 + (b - 8) * (E32 - E8) / 24"
                ),
            },
            "static_power_w": system.static_power_w.to_dict(),
            "static_power_source": system.static_power_source,
        }


def _rtl_cycles(config: EngineConfig, shapes: Sequence[tuple[int, int]]) -> int:
    from .engine import vector_cycles

    return vector_cycles(config, list(shapes))


def _check_fit(workload: Workload, system: SystemConfig) -> None:
    memory = system.memory
    if workload.resident_bytes > memory.capacity_bytes:
        raise InputError(
            f"the weights and the KV cache of {workload.context} positions must fit the memory "
            f"{memory.name} of {memory.capacity_bytes} bytes, not {workload.resident_bytes} bytes"
        )
    for operator in workload.operators:
        if operator.kind == "fbi-linear":
            k, n = operator.shape
            try:
                system.engine.check_shape(k, n)
            except ValueError as error:
                raise InputError(
                    f"{operator.name} of {k} inputs and {n} outputs: {error}"
                ) from None


def _vector_cycles(operator: Operator, system: SystemConfig) -> int:
    lanes = system.vector_lanes
    cycles = -(-operator.macs // lanes) + -(-operator.vector_ops // lanes)
    return cycles + system.vector_latency_cycles if cycles else 0


def operator_events(operator: Operator, system: SystemConfig) -> Events:
    """Return the countable events of one instance of `operator`.

    FBI-linear of K inputs and N outputs: 2K front-end multiplications (alpha*x and beta*x), K wide
    additions of beta*x and 2N in the drain (add beta*x, round); on-chip memory: every product
    written and read once, every quantized activation written once, one activation word read per
    beat, every result written and read once. With structure tables, instead of a word per beat:
    every entry of every table of every output written once per word (and its word read), and in a
    beat one entry per group and output read, every partial sum read and written; a look-up is
    priced like any bit of memory, which is too much for look-up RAM. Vector unit: a MAC reads one
    operand from on-chip memory (the other streams in), an elementwise operation reads two and
    writes one. In addition, every DRAM bit passes an on-chip buffer.
    """
    stream_bits = 8 * operator.bytes
    if operator.kind == "fbi-linear":
        engine = system.engine
        k, n = operator.shape
        stored = PRODUCT_STORE_BITS * k + RESULT_BITS * n
        beats = operator.weight_beats
        read, written = beats * engine.k_par * engine.act_bits, 0
        if engine.words_outer:
            steps = -(-k // engine.k_par) * len(engine.entries)
            entry = engine.groups * engine.term_bits
            sums = beats * engine.n_par * engine.acc_bits
            read = steps * engine.k_par * engine.act_bits + beats * engine.n_par * entry + sums
            written = steps * engine.n_par * entry + sums
        return Events(
            weight_beats=beats,
            front_end_muls=2 * k,
            wide_adds=k + 2 * n,
            wide_bits=engine.wide_bits,
            sram_read_bits=stream_bits + stored + read,
            sram_write_bits=stream_bits + stored + k * engine.act_bits + written,
        )
    return Events(
        macs=operator.macs,
        vector_ops=operator.vector_ops,
        sram_read_bits=stream_bits + FLOAT_BITS * (operator.macs + 2 * operator.vector_ops),
        sram_write_bits=stream_bits + FLOAT_BITS * operator.vector_ops,
    )


def _compute_cycles(
    group: list[Operator], system: SystemConfig, engine_cycles: EngineCycles
) -> list[int]:
    """Return cycles per instance that each operator adds to its group."""
    if group[0].kind != "fbi-linear":
        return [_vector_cycles(operator, system) for operator in group]
    shapes = [operator.shape for operator in group]
    ends = [engine_cycles(system.engine, shapes[: i + 1]) for i in range(len(shapes))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def array_step_time_s(
    cycles: int, beats: int, memory_bytes: int, system: SystemConfig
) -> tuple[Interval, Bound]:
    """Return the time of FBI-linears that run back to back, and what bounds it nominally.

    ``idle = (cycles - beats) / clock`` is time in which the array takes no weights, ``stream =
    beats / clock``, ``memory = bytes / bandwidth``. During idle time, DRAM runs ahead by
    ``ahead = min(idle, buffer / bandwidth, memory)``. Then

        ``time = idle + max(stream, memory - ahead)``

    With a boundless buffer that is ``max(cycles / clock, memory)``; without one, idle time and
    memory time add up where memory is the bound.

    Parameters
    ----------
    cycles
        Engine cycles of the run with weights never stalling.
    beats
        Weight beats among them.
    memory_bytes
        DRAM bytes of the run.
    """
    idle, stream = (cycles - beats) / system.clock_hz, beats / system.clock_hz
    times = []
    for bandwidth in ("high", "nominal", "low"):
        rate = getattr(system.memory.bandwidth_bytes_s, bandwidth)
        ahead = min(idle, min(system.weight_buffer_bytes, memory_bytes) / rate)
        times.append(idle + max(stream, memory_bytes / rate - ahead))
    by_memory = times[1] > idle + stream
    return Interval(*times), "memory" if by_memory else "array"


def estimate(
    model: ModelConfig,
    system: SystemConfig,
    *,
    context: int = 512,
    engine_cycles: EngineCycles | None = None,
) -> Estimate:
    """Estimate time and energy of decoding one token at batch 1.

    Parameters
    ----------
    model
        Shape of the model.
    system
        What it runs on.
    context
        Positions that the token attends to, its own included.
    engine_cycles
        Cycle model of the engine; the RTL-exact one of ``sim.engine`` unless given.

    Raises
    ------
    InputError
        If `context` is beyond the model, a layer does not fit the engine, or weights and KV cache
        do not fit the memory.
    """
    workload = decode_step(model, system.engine, context=context)
    _check_fit(workload, system)
    array_mark = "rtl-exact" if engine_cycles is None else "injected"
    cycles_of = engine_cycles or _rtl_cycles

    entries: list[OperatorEstimate] = []
    parts = dict.fromkeys(ENERGY_PARTS, ZERO)
    times: list[Interval] = []
    for _, members in groupby(workload.operators, key=lambda operator: operator.step):
        group = list(members)
        count = group[0].count
        on_array = group[0].kind == "fbi-linear"
        cycles = _compute_cycles(group, system, cycles_of)
        memory_times = [system.memory.transfer_time_s(operator.bytes) for operator in group]
        if on_array:
            beats = sum(operator.weight_beats for operator in group)
            amount = sum(operator.bytes for operator in group)
            step_time, bound = array_step_time_s(sum(cycles), beats, amount, system)
        else:
            memory_time, compute_time = total(memory_times), sum(cycles) / system.clock_hz
            step_time = memory_time.at_least(compute_time)
            bound = "memory" if memory_time.nominal > compute_time else "vector"
        weights = [t.nominal for t in memory_times] if bound == "memory" else cycles
        times.append(step_time * count)
        for operator, own_cycles, own_memory, weight in zip(
            group, cycles, memory_times, weights, strict=True
        ):
            share = weight / math.fsum(weights) if any(weights) else 1.0
            energy = on_chip_energy_j(
                system.technology, system.engine, operator_events(operator, system)
            )
            energy["dram"] = system.memory.transfer_energy_j(operator.bytes)
            energy = {part: joules * count for part, joules in energy.items()}
            for part, joules in energy.items():
                parts[part] = parts[part] + joules
            entries.append(
                OperatorEstimate(
                    operator=operator,
                    cycles=own_cycles * count,
                    cycles_mark=array_mark if on_array else "modelled",
                    memory_time_s=own_memory * count,
                    time_s=step_time * share * count,
                    bound_by=bound,
                    energy_j=total(energy.values()),
                )
            )
    time = total(times)
    parts["static"] = system.static_power_w * time
    return Estimate(
        system=system,
        workload=workload,
        operators=tuple(entries),
        time_s=time,
        energy_parts_j=parts,
    )
