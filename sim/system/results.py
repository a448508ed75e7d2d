"""What an estimate holds: phases, and what each operator costs in them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from golden.config import ModelConfig

from ..interval import Interval, total
from ..workload import BYTE_CATEGORIES, Operator
from .config import SystemConfig
from .cost import Machine
from .fit import held_bytes


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
