"""Time of operators on one chip: array, vector unit, link, memory.

Every time is computed for three cases of DRAM bandwidth at once: (low, nominal, high) of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal

from ..errors import InputError
from ..generic import Engine, GenericEngine, generic_run_ends
from ..interval import Interval
from ..runs import Run, run_ends
from ..workload import BYTE_CATEGORIES, Operator
from .config import SystemConfig

Bound = Literal["array", "memory", "vector", "link"]
Times = tuple[float, float, float]
"""Seconds: low, nominal, high."""

NO_TIME: Times = (0.0, 0.0, 0.0)

ENGINE_CATEGORIES = ("packed_weights", "coefficients")
"""Categories of bytes that the engines take from memory; the vector unit takes the others."""


@dataclass(frozen=True)
class OperatorCost:
    """What one instance of an operator costs in a pass.

    Parameters
    ----------
    operator
        What it is and what it does.
    cycles
        Compute cycles; an FBI-linear's are those that it adds to its group run back to back.
    memory_s
        Time of its memory traffic alone, s.
    time_s
        Its share of its step's time, s.
    bound
        What takes the nominal time.
    """

    operator: Operator
    cycles: int
    memory_s: Times
    time_s: Times
    bound: Bound


def add_times(times: Iterable[Times]) -> Times:
    """Return the sum, bound by bound."""
    low = nominal = high = 0.0
    for time in times:
        low += time[0]
        nominal += time[1]
        high += time[2]
    return low, nominal, high


def scaled(time: Times, factor: float) -> Times:
    """Return `time` times `factor`."""
    return time[0] * factor, time[1] * factor, time[2] * factor


class OperatorTimer:
    """Costs operators on a system.

    Parameters
    ----------
    system
        The machine.
    chunks
        Bytes that lie side by side, by category of bytes; those of other categories are sequential.
    """

    def __init__(self, system: SystemConfig, chunks: Mapping[str, int]) -> None:
        self.system, self._chunks = system, chunks

    @cached_property
    def seconds_per_byte(self) -> dict[str, Times]:
        """Seconds of memory time for a byte of each category."""
        system = self.system
        result = {}
        for category in BYTE_CATEGORIES:
            rate = system.memory.share(self._chunks.get(category)) * (system.memory.peak_gb_s * 1e9)
            limit = self._port_limit(category)
            time = Interval(*(min(each, limit) for each in (rate.low, rate.nominal, rate.high)))
            time = time.reciprocal()
            if system.on_chip is not None and category in system.on_chip.holds:
                time = Interval.exactly(1 / (system.on_chip.bytes_per_cycle() * system.clock_hz))
            result[category] = (time.low, time.nominal, time.high)
        if system.engine.resident:
            result["packed_weights"] = NO_TIME  # read beat by beat from the engine's own memory
        return result

    def _port_limit(self, category: str) -> float:
        """Return the bytes per second at which `category` can leave DRAM; infinite if no limit."""
        system = self.system
        if system.vector_bandwidth_gb_s is not None and category not in ENGINE_CATEGORIES:
            return system.vector_bandwidth_gb_s * 1e9
        return math.inf if system.memory_ports is None else system.memory_ports.gb_s * 1e9

    @property
    def dram_categories(self) -> frozenset[str]:
        """Categories of bytes that lie in DRAM."""
        held = set(self.system.on_chip.holds) if self.system.on_chip else set()
        if self.system.engine.resident:
            held.add("packed_weights")
        return frozenset(self.seconds_per_byte) - held

    def _memory_s(self, operator: Operator) -> tuple[Times, Times]:
        """Return the time of an operator's DRAM and on-chip traffic."""
        dram, on_chip = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        in_dram = self.dram_categories
        for category, amount in operator.bytes_by_category.items():
            target = dram if category in in_dram else on_chip
            for case, each in enumerate(self.seconds_per_byte[category]):
                target[case] += amount * each
        return tuple(dram), tuple(on_chip)

    def costs(
        self, operators: list[Operator], credit: Times
    ) -> tuple[list[OperatorCost], Times]:
        """Cost operators in order; return them, and the DRAM time left over for fetching ahead."""
        result: list[OperatorCost] = []
        for _, members in groupby(operators, key=lambda operator: operator.step):
            group = list(members)
            if group[0].kind == "fbi-linear":
                result += self._array_group(group, credit)
                credit = NO_TIME
            else:
                for operator in group:
                    cost, idle = self._other(operator)
                    result.append(cost)
                    credit = add_times((credit, idle)) if self.system.prefetch else NO_TIME
        return result, credit

    def _other(self, operator: Operator) -> tuple[OperatorCost, Times]:
        """Cost an operator of the vector unit or the link; return it with DRAM's idle time."""
        system = self.system
        dram, on_chip = self._memory_s(operator)
        memory = tuple(map(max, dram, on_chip))
        if operator.kind == "link":
            cycles, compute = 0, system.link.time_s(operator.link_bytes, operator.link_hops)
            name: Bound = "link"
        else:
            cycles = vector_cycles(operator, system)
            compute, name = cycles / system.clock_hz, "vector"
        time = tuple(max(each, compute) for each in memory)
        bound = "memory" if memory[1] > compute else name
        idle = tuple(t - d for t, d in zip(time, dram, strict=True))
        return OperatorCost(operator, cycles, memory, time, bound), idle

    def _array_group(self, group: list[Operator], credit: Times) -> list[OperatorCost]:
        """Cost FBI-linears that run back to back."""
        system = self.system
        runs = tuple(run for operator in group for run in operator.runs)
        try:
            ends = _ends(system.engine, runs)
        except ValueError as error:
            raise InputError(f"{group[0].name}: {error}") from None
        cycles, begin, position = [], 0, 0
        for operator in group:
            position += len(operator.runs)
            cycles.append(ends[position - 1] - begin)
            begin = ends[position - 1]
        beats = sum(operator.weight_beats for operator in group)
        commands = sum(-(-tokens // system.engine.m_par) for _, _, tokens, _ in runs)
        parts = [self._memory_s(operator) for operator in group]
        memories = [tuple(map(max, dram, on_chip)) for dram, on_chip in parts]
        memory = add_times(memories)
        time, by_memory = self._array_time(sum(cycles), beats, memory, commands, credit)
        weights = [m[1] for m in memories] if by_memory else cycles
        whole = sum(weights)
        return [
            OperatorCost(
                operator, own, own_memory, scaled(time, weight / whole),
                "memory" if by_memory else "array",
            )
            for operator, own, own_memory, weight in zip(
                group, cycles, memories, weights, strict=True
            )
        ]

    def _array_time(
        self, cycles: int, beats: int, memory: Times, commands: int, credit: Times
    ) -> tuple[Times, bool]:
        """Return the time of FBI-linears back to back, and whether memory bounds the nominal one.

        See :func:`array_time_s`; the buffer's time is that of a full one.
        """
        system = self.system
        idle, stream = (cycles - beats) / system.clock_hz, beats / system.clock_hz
        each = self.seconds_per_byte["packed_weights"]
        times = tuple(
            array_time_s(
                idle, stream, memory[case], system.weight_buffer_bytes * each[case], commands,
                credit[case],
            )
            for case in range(3)
        )
        return times, times[1] > (idle + stream) * (1 + 1e-12)


def _ends(engine: Engine, runs: tuple[Run, ...]) -> tuple[int, ...]:
    if isinstance(engine, GenericEngine):
        return generic_run_ends(engine, runs)
    return run_ends(engine, runs)


def vector_cycles(operator: Operator, system: SystemConfig) -> int:
    """Return ``ceil(MACs / lanes) + ceil(operations / lanes) + latency``; 0 if there is no work."""
    lanes = system.vector_lanes
    cycles = -(-operator.macs // lanes) + -(-operator.vector_ops // lanes)
    return cycles + system.vector_latency_cycles if cycles else 0


def array_time_s(
    idle: float, stream: float, memory: float, buffer: float, commands: int = 1,
    credit: float = 0.0,
) -> float:
    """Return the time of `commands` equal commands back to back on the array, s.

    `idle` is time in which the array takes no weights, `stream` that of its beats, `memory` that
    of the traffic, `buffer` that of a full weight buffer. In the idle time of each command, memory
    runs ahead by at most the buffer:

        ``time = idle + max(stream, memory - ahead)``, ``ahead = min(idle, buffer, memory)``

    for each command. With a boundless buffer that is ``max(idle + stream, memory)``; without one,
    idle time and memory time add up where memory is the bound. `credit` is time for which memory
    could run ahead before the first command, up to the buffer again.
    """
    memory = max(0.0, memory - min(credit, buffer))
    ahead = min(idle, buffer * commands, memory)
    return idle + max(stream, memory - ahead)
