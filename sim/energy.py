"""Energy of on-chip events, by technology, each constant with range, source and mark.

All constants are picojoules per event. Marks: ``published`` (printed in the source named),
``unverified`` (said of the source named but not read there, with a wide range), ``scaled``
(computed from a published one by the formula named), ``assumed`` (no source found).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Literal, Protocol

from .errors import InputError
from .interval import Interval, total

Mark = Literal["published", "unverified", "scaled", "assumed"]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A physical constant with its range and where it comes from.

    Parameters
    ----------
    value
        Low, nominal and high, in `unit`.
    unit
        E.g. ``pJ``, ``pJ/bit``.
    mark
        ``published``, ``unverified``, ``scaled`` or ``assumed``.
    source
        Where nominal and range come from.
    """

    value: Interval
    unit: str
    mark: Mark
    source: str

    def to_dict(self) -> dict[str, object]:
        """Return the constant for a report."""
        return {
            **self.value.to_dict(),
            "unit": self.unit,
            "mark": self.mark,
            "source": self.source,
        }


@dataclass(frozen=True, kw_only=True)
class Technology:
    """Energy constants of one way to build the logic.

    Parameters
    ----------
    name, description
        What reports call it, and what it stands for.
    int_add_8, int_add_32
        One integer addition of 8 and of 32 bits; other widths lie on the line through the two.
    fp16_mul, fp16_add
        One 16-bit float multiplication and addition.
    register_bit
        One flip-flop clocked once, clock and data.
    sram_read_bit, sram_write_bit
        One bit read from, written to an on-chip memory of tens of kilobytes.
    """

    name: str
    description: str
    int_add_8: Constant
    int_add_32: Constant
    fp16_mul: Constant
    fp16_add: Constant
    register_bit: Constant
    sram_read_bit: Constant
    sram_write_bit: Constant

    def constants(self) -> dict[str, Constant]:
        """Return every constant by name."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Constant)
        }

    def int_add_pj(self, bits: int) -> Interval:
        """Return the energy of one integer addition of `bits` bits, pJ.

        ``E(b) = E8 + (b - 8) * (E32 - E8) / 24``, bound by bound: the line through the published
        8- and 32-bit additions. Legal from 4 bits on.
        """
        if not isinstance(bits, int) or isinstance(bits, bool) or bits < 4:
            raise InputError(f"an addition must be of at least 4 bits, not {bits!r}")
        eight, thirty_two = self.int_add_8.value, self.int_add_32.value
        return Interval(
            *(
                getattr(eight, bound)
                + (bits - 8) * (getattr(thirty_two, bound) - getattr(eight, bound)) / 24
                for bound in ("low", "nominal", "high")
            )
        )


class ArrayShape(Protocol):
    """The part of an engine configuration that energy depends on."""

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
    structure direct a group is one input.
    """
    levels = []
    operands, width = array.groups, array.term_bits
    while operands > 1:
        width += 1
        levels.append((operands // 2, width))
        operands -= operands // 2
    return levels


def beat_add_pj(technology: Technology, array: ArrayShape) -> Interval:
    """Return the energy of all additions of one weight beat, pJ.

    ``n_par * (sum over tree levels of adders * E(width) + E(acc_bits))``. Conditional negation is
    taken to be folded into the adders. The sums shared by all outputs are left out.
    """
    per_output = technology.int_add_pj(array.acc_bits)
    for adders, width in tree_levels(array):
        per_output = per_output + technology.int_add_pj(width) * adders
    return per_output * array.n_par


def sign_accumulate_pj(technology: Technology, array: ArrayShape) -> Interval:
    """Return the energy of the addition of one sign-accumulate, pJ: a beat's share of one lane."""
    return beat_add_pj(technology, array) * (1 / (array.k_par * array.n_par))


def beat_register_bits(array: ArrayShape) -> int:
    """Return the flip-flops clocked by one weight beat.

    Twice the weight beat (input register slice), the activation word, one pipeline register after
    every `levels_per_stage` tree levels (and after the last), and the accumulators. Every bit is
    counted as clocked in every beat.
    """
    bits = 2 * array.weight_beat_bits + array.k_par * array.act_bits
    levels = max(1, math.ceil(math.log2(array.groups))) if array.groups > 1 else 1
    per_output = array.acc_bits
    stage = 0
    while stage < levels:
        stage = min(stage + array.levels_per_stage, levels)
        per_output += -(-array.groups // (1 << stage)) * (array.term_bits + stage)
    return bits + array.n_par * per_output


@dataclass(frozen=True, kw_only=True)
class Events:
    """What happens in a piece of work, in counts; DRAM and static power are priced elsewhere.

    Parameters
    ----------
    weight_beats
        Beats of the array; padded lanes are counted, because they are clocked.
    wide_adds
        Integer additions of the exact beta*x sum and of the drain, `wide_bits` each.
    wide_bits
        Width of those.
    front_end_muls
        fp16 multiplications of the engine's front end (alpha*x and beta*x).
    macs, vector_ops
        Of the vector unit. A MAC is one fp16 multiplication and one addition; an elementwise
        operation is priced as a MAC, too, which is too much for most of them.
    sram_read_bits, sram_write_bits
        Of on-chip memories.
    """

    weight_beats: int = 0
    wide_adds: int = 0
    wide_bits: int = 32
    front_end_muls: int = 0
    macs: int = 0
    vector_ops: int = 0
    sram_read_bits: int = 0
    sram_write_bits: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counts for a report."""
        return asdict(self)


ENERGY_PARTS = ("array", "front_end_and_drain", "vector_unit", "sram", "dram", "static")
"""What energy is broken down into."""


def on_chip_energy_j(
    technology: Technology, array: ArrayShape, events: Events
) -> dict[str, Interval]:
    """Return the joules of `events` by part: array, front end and drain, vector unit, SRAM."""
    register = technology.register_bit.value * beat_register_bits(array)
    mac = technology.fp16_mul.value + technology.fp16_add.value
    pico = {
        "array": (beat_add_pj(technology, array) + register) * events.weight_beats,
        "front_end_and_drain": technology.fp16_mul.value * events.front_end_muls
        + technology.int_add_pj(events.wide_bits) * events.wide_adds,
        "vector_unit": mac * (events.macs + events.vector_ops),
        "sram": total(
            (
                technology.sram_read_bit.value * events.sram_read_bits,
                technology.sram_write_bit.value * events.sram_write_bits,
            )
        ),
    }
    return {part: energy * 1e-12 for part, energy in pico.items()}


# ---- scaling -------------------------------------------------------------------------------

# Stillmaker & Baas, Integration 58 (2017): relative energy of an operation, E = a V^2 + b V + c.
STILLMAKER_ENERGY: dict[int, tuple[float, float, float]] = {
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    7: (0.1776, -0.09097, 0.02447),
}
"""Coefficients (a, b, c) by node in nm."""

HOROWITZ_VOLTAGE = 0.9
"""Supply of the 45 nm table of Horowitz, ISSCC 2014, in V."""


def energy_ratio(node_nm: int, volts: float) -> float:
    """Return the energy of an operation at `node_nm` and `volts` over that at 45 nm and 0.9 V."""
    if node_nm not in STILLMAKER_ENERGY:
        raise InputError(
            f"a node must be one of {', '.join(map(str, STILLMAKER_ENERGY))} nm, not {node_nm!r}"
        )

    def energy(node: int, supply: float) -> float:
        a, b, c = STILLMAKER_ENERGY[node]
        return a * supply**2 + b * supply + c

    return energy(node_nm, volts) / energy(45, HOROWITZ_VOLTAGE)


def _constant(value: Interval, mark: Mark, source: str, unit: str = "pJ") -> Constant:
    return Constant(value=value, unit=unit, mark=mark, source=source)


_HOROWITZ = "Horowitz, ISSCC 2014, 45 nm 0.9 V (secondary source)"
_HALF_TO_DOUBLE = "; range: half to double, a single figure without cell library or activity"
_ALADDIN = "Aladdin (Shao et al., ISCA 2014) 40 nm tables at 1 ns (secondary source)"

ASIC45 = Technology(
    name="45nm",
    description="45 nm standard cells at 0.9 V",
    int_add_8=_constant(
        Interval(0.015, 0.03, 0.063),
        "published",
        f"{_HOROWITZ}; high: 2.1 times, as {_ALADDIN} has 0.21 pJ for 32 bits; low: half",
    ),
    int_add_32=_constant(
        Interval(0.05, 0.1, 0.21),
        "published",
        f"{_HOROWITZ}; high: {_ALADDIN}, 0.21 pJ; low: half",
    ),
    fp16_mul=_constant(
        Interval.around(1.1, 0.5, 2), "published", _HOROWITZ + _HALF_TO_DOUBLE
    ),
    fp16_add=_constant(
        Interval.around(0.4, 0.5, 2), "published", _HOROWITZ + _HALF_TO_DOUBLE
    ),
    register_bit=_constant(
        Interval(0.003, 0.009, 0.018),
        "published",
        f"{_ALADDIN}, 0.009 pJ; range assumed: a third to double",
        "pJ/bit",
    ),
    sram_read_bit=_constant(
        Interval(0.037, 0.156, 0.3125),
        "published",
        f"nominal and high: {_HOROWITZ}, 10 and 20 pJ per 64 bits of 8 and 32 KB; low: CACTI 7 "
        "run, 16 KB",
        "pJ/bit",
    ),
    sram_write_bit=_constant(
        Interval(0.037, 0.156, 0.3125), "assumed", "taken as a read", "pJ/bit"
    ),
)
"""45 nm standard cells: the node of the published table that everything is scaled from."""

_JOUPPI = "Jouppi et al., ISCA 2021 (TPUv4i), table 2, 7 nm (unverified: quoted from memory)"
_THIRD_TO_TRIPLE = "; range assumed: a third to triple"
_SEVEN = energy_ratio(7, 0.7)

ASIC7 = Technology(
    name="7nm",
    description="7 nm standard cells",
    int_add_8=_constant(
        Interval.around(0.007, 1 / 3, 3), "unverified", _JOUPPI + _THIRD_TO_TRIPLE
    ),
    int_add_32=_constant(
        Interval.around(0.03, 1 / 3, 3), "unverified", _JOUPPI + _THIRD_TO_TRIPLE
    ),
    fp16_mul=_constant(
        Interval.around(0.34, 1 / 3, 3), "unverified", _JOUPPI + _THIRD_TO_TRIPLE
    ),
    fp16_add=_constant(
        Interval.around(0.16, 1 / 3, 3), "unverified", _JOUPPI + _THIRD_TO_TRIPLE
    ),
    register_bit=_constant(
        Interval(0.009 * _SEVEN, 0.0012, 0.009 * 0.3),
        "scaled",
        f"low: {_ALADDIN}, scaled by Stillmaker & Baas 45 nm 0.9 V -> 7 nm 0.7 V; high: by 0.3, "
        "the ratio of the 32-bit additions of the two nodes (unverified); nominal: geometric mean",
        "pJ/bit",
    ),
    sram_read_bit=_constant(
        Interval(0.005, 0.117, 0.25),
        "unverified",
        f"nominal: {_JOUPPI}, 7.5 pJ per 64 bits of 8 KB; low: below a CACTI 7 run at 22 nm "
        "(0.009); high: assumed, double",
        "pJ/bit",
    ),
    sram_write_bit=_constant(
        Interval(0.005, 0.117, 0.25), "assumed", "taken as a read (unverified)", "pJ/bit"
    ),
)
"""7 nm standard cells."""

FPGA_OVER_ASIC = Interval(12.0, 13.0, 14.0)
"""Dynamic power of FPGA core logic over standard cells of the same node.

Kuon & Rose: 12 (FPGA 2006) and 14 (IEEE TCAD 26, 2007), both 90 nm, look-up tables and flip-flops.
"""

FPGA_OVER_ASIC_HARD = Interval(1.0, 7.1, 14.0)
"""The same for hard multipliers and block memories: the gap "generally becomes smaller".

7.1 is a mean for designs that use both, unverified; 1 is a hard block as good as standard cells.
"""

FPGA_NODE_RATIO = Interval(energy_ratio(16, 0.72), energy_ratio(16, 0.85), energy_ratio(16, 1.0))
"""Energy at 16 nm over 45 nm 0.9 V, by Stillmaker & Baas.

At 0.72 V and 0.85 V, the two core supplies of UltraScale+ parts; 1.0 V bounds the fit's error.
"""


def _on_fpga(constant: Constant, *, hard: bool = False) -> Constant:
    gap, what = (
        (FPGA_OVER_ASIC_HARD, "1..7.1..14 (hard blocks, unverified)")
        if hard
        else (FPGA_OVER_ASIC, "12..13..14 (core logic)")
    )
    return Constant(
        value=constant.value * FPGA_NODE_RATIO * gap,
        unit=constant.unit,
        mark="scaled",
        source=(
            f"45 nm constant [{constant.source}] times Stillmaker & Baas 45 -> 16 nm at 0.72, "
            f"0.85, 1.0 V times FPGA over ASIC dynamic power of Kuon & Rose (90 nm) {what}"
        ),
    )


FPGA16 = Technology(
    name="fpga16",
    description="16 nm FPGA, UltraScale+ class: modelled, 45 nm constants scaled twice",
    int_add_8=_on_fpga(ASIC45.int_add_8),
    int_add_32=_on_fpga(ASIC45.int_add_32),
    fp16_mul=_on_fpga(ASIC45.fp16_mul, hard=True),
    fp16_add=_on_fpga(ASIC45.fp16_add),
    register_bit=_on_fpga(ASIC45.register_bit),
    sram_read_bit=_on_fpga(ASIC45.sram_read_bit, hard=True),
    sram_write_bit=_on_fpga(ASIC45.sram_write_bit, hard=True),
)
"""UltraScale+ class FPGA; no per-LUT figure with a source was found, so this is scaled."""

TECHNOLOGIES: dict[str, Technology] = {t.name: t for t in (ASIC45, ASIC7, FPGA16)}
"""Named technologies."""


def named_technology(name: str) -> Technology:
    """Return the technology called `name`; raises InputError with the known names otherwise."""
    if name not in TECHNOLOGIES:
        raise InputError(f"a technology is one of {', '.join(TECHNOLOGIES)}, not {name!r}")
    return TECHNOLOGIES[name]
