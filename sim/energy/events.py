"""Countable on-chip events, and what they cost."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from ..interval import Interval, total
from .activity import UNCALIBRATED, Activity
from .constants import Technology


class ArrayShape(Protocol):
    """The part of an engine configuration that energy depends on."""

    @property
    def structure(self) -> str:
        """How a row finds the signed sum of a group of inputs."""

    @property
    def group(self) -> int:
        """Inputs of such a group."""

    @property
    def ternary(self) -> bool:
        """Whether a weight may be zero."""

    @property
    def k_par(self) -> int:
        """Inputs per beat."""

    @property
    def n_par(self) -> int:
        """Outputs per beat."""

    @property
    def act_bits(self) -> int:
        """Width of a quantized activation."""

    @property
    def groups(self) -> int:
        """Operands of one output's adder tree: groups of inputs whose sums are shared."""

    @property
    def term_bits(self) -> int:
        """Width of such an operand."""

    @property
    def weight_beat_bits(self) -> int:
        """Bits of a weight beat."""

    @property
    def acc_bits(self) -> int:
        """Width of an accumulator."""

    @property
    def levels_per_stage(self) -> int:
        """Levels of the adder tree between two pipeline registers."""


def tree_levels(array: ArrayShape) -> list[tuple[int, int]]:
    """Return ``(adders, width)`` of each level of one output's adder tree.

    `groups` operands of `term_bits` are added in pairs; a level's sums are one bit wider than its
    operands (an odd operand passes through). The adders of all levels are ``groups - 1``. With
    structures direct and triple a group is one input; an adder of three operands is priced as two.
    """
    levels = []
    operands, width = array.groups, array.term_bits
    while operands > 1:
        width += 1
        levels.append((operands // 2, width))
        operands -= operands // 2
    return levels


def beat_add_pj(
    technology: Technology, array: ArrayShape, activity: Activity = UNCALIBRATED
) -> Interval:
    """Return the energy of all additions of one weight beat, pJ.

    ``n_par * (sum over tree levels of adders * E(width) + E(acc_bits))``, the tree times the
    activity's factor of adders and ``E(acc_bits)`` times that of accumulators. Conditional negation
    is taken to be folded into the adders. The sums shared by all outputs are left out.
    For one token vector.
    """
    tree = total(technology.int_add_pj(width) * adders for adders, width in tree_levels(array))
    accumulator = technology.int_add_pj(array.acc_bits) * activity.factor("accumulators")
    return (tree * activity.factor("adders") + accumulator) * array.n_par


def sign_accumulate_pj(
    technology: Technology, array: ArrayShape, activity: Activity = UNCALIBRATED
) -> Interval:
    """Return the energy of the addition of one sign-accumulate, pJ: a beat's share of one lane."""
    return beat_add_pj(technology, array, activity) * (1 / (array.k_par * array.n_par))


def beat_register_bits(array: ArrayShape) -> tuple[int, int]:
    """Return the flip-flops clocked by one weight beat: once a beat, and once a token vector of it.

    Once: twice the weight beat (input register slice). For each token vector that shares the beat:
    the activation word, one pipeline register after every `levels_per_stage` tree levels (and after
    the last), and the accumulators. Every bit is counted as clocked in every beat.
    """
    levels = max(1, math.ceil(math.log2(array.groups))) if array.groups > 1 else 1
    per_output = array.acc_bits
    stage = 0
    while stage < levels:
        stage = min(stage + array.levels_per_stage, levels)
        per_output += -(-array.groups // (1 << stage)) * (array.term_bits + stage)
    return 2 * array.weight_beat_bits, array.k_par * array.act_bits + array.n_par * per_output


@dataclass(frozen=True, kw_only=True)
class Events:
    """What happens in a piece of work, in counts; DRAM and static power are priced elsewhere.

    Parameters
    ----------
    weight_beats, vector_beats
        Beats of the arrays, and their sum over the token vectors that share them; padded lanes are
        counted, because they are clocked.
    wide_adds
        Integer additions of the exact beta*x sum, the reducer and the drain, `wide_bits` each.
    wide_bits
        Width of those.
    front_end_muls
        fp16 multiplications of the engine's front end (alpha*x and beta*x).
    macs, vector_ops
        Of the vector unit. A MAC is one fp16 multiplication and one addition; an elementwise
        operation is priced as a MAC, too, which is too much for most of them.
    array_float_adds, array_float_muls
        16-bit float additions and multiplications of arrays that are not sign-accumulate arrays.
    sram_read_bits, sram_write_bits
        Of on-chip memories.
    """

    weight_beats: int = 0
    vector_beats: int = 0
    wide_adds: int = 0
    wide_bits: int = 32
    front_end_muls: int = 0
    macs: int = 0
    vector_ops: int = 0
    array_float_adds: int = 0
    array_float_muls: int = 0
    sram_read_bits: int = 0
    sram_write_bits: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counts for a report."""
        return asdict(self)

    def __add__(self, other: Events) -> Events:
        """Return the counts of both; additions of different width are not merged."""
        if not isinstance(other, Events):
            return NotImplemented
        if self.wide_adds and other.wide_adds and self.wide_bits != other.wide_bits:
            raise ValueError(
                f"events of one engine must have one width, not {self.wide_bits} and "
                f"{other.wide_bits}"
            )
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name != "wide_bits"
        }
        return Events(**sums, wide_bits=self.wide_bits if self.wide_adds else other.wide_bits)

    def times(self, count: int) -> Events:
        """Return the counts of `count` such pieces of work."""
        counts = {
            f.name: getattr(self, f.name) * count for f in fields(self) if f.name != "wide_bits"
        }
        return Events(**counts, wide_bits=self.wide_bits)


ENERGY_PARTS = ("array", "front_end_and_drain", "vector_unit", "sram", "dram", "link", "static")
"""What energy is broken down into."""


def on_chip_energy_j(
    technology: Technology,
    array: ArrayShape,
    events: Events,
    activity: Activity = UNCALIBRATED,
) -> dict[str, Interval]:
    """Return the joules of `events` by part: array, front end and drain, vector unit, SRAM."""
    once, each = beat_register_bits(array)
    clocked = once * events.weight_beats + each * events.vector_beats
    mac = technology.fp16_mul.value + technology.fp16_add.value
    pico = {
        "array": total(
            (
                beat_add_pj(technology, array, activity) * events.vector_beats,
                technology.register_bit.value * clocked * activity.factor("array_registers"),
                (
                    technology.fp16_add.value * events.array_float_adds
                    + technology.fp16_mul.value * events.array_float_muls
                )
                * activity.factor("adders"),
            )
        ),
        "front_end_and_drain": (
            technology.fp16_mul.value * events.front_end_muls * activity.factor("front_end")
            + technology.int_add_pj(events.wide_bits)
            * events.wide_adds
            * activity.factor("wide_adders")
        ),
        "vector_unit": mac * (events.macs + events.vector_ops) * activity.factor("vector_unit"),
        "sram": total(
            (
                technology.sram_read_bit.value * events.sram_read_bits,
                technology.sram_write_bit.value * events.sram_write_bits,
            )
        )
        * activity.factor("on_chip_memory"),
    }
    return {part: energy * 1e-12 for part, energy in pico.items()}
