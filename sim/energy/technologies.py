"""Named technologies: energy constants of the ways to build the logic, and how they are scaled."""

from __future__ import annotations

from ..errors import InputError
from ..interval import Interval
from .constants import Constant, Mark, Technology

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

_TO_20, _TO_32 = energy_ratio(20, 0.8), energy_ratio(32, 0.9)
_TO_28 = Interval(_TO_20, (_TO_20 * _TO_32) ** 0.5, _TO_32)
"""28/22 nm over 45 nm 0.9 V: 20 nm at 0.8 V, the geometric mean, 32 nm at 0.9 V."""


def _at_28(constant: Constant) -> Constant:
    return Constant(
        value=constant.value * _TO_28,
        unit=constant.unit,
        mark="scaled",
        source=(
            f"45 nm constant [{constant.source}] times Stillmaker & Baas 45 -> 20 nm at 0.8 V "
            "(low) and 32 nm at 0.9 V (high), which 28 and 22 nm lie between; nominal: their "
            "geometric mean"
        ),
    )


_SRAM_28 = Interval(0.009, 0.04, 0.156 * _TO_32)
_SRAM_28_SOURCE = (
    "low: CACTI 7 run, 16 KB at 22 nm; nominal: the same run's 64 to 256 KB (0.024 and 0.055); "
    "high: 10 pJ per 64 bits of 8 KB at 45 nm (Horowitz), scaled to 32 nm"
)

ASIC28 = Technology(
    name="28nm",
    description="28 or 22 nm standard cells at 0.8 to 0.9 V: modelled, scaled from 45 nm",
    int_add_8=_at_28(ASIC45.int_add_8),
    int_add_32=_at_28(ASIC45.int_add_32),
    fp16_mul=_at_28(ASIC45.fp16_mul),
    fp16_add=_at_28(ASIC45.fp16_add),
    register_bit=_at_28(ASIC45.register_bit),
    sram_read_bit=_constant(_SRAM_28, "scaled", _SRAM_28_SOURCE, "pJ/bit"),
    sram_write_bit=_constant(_SRAM_28, "assumed", "taken as a read", "pJ/bit"),
)
"""28 or 22 nm standard cells."""

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


_HARD = ("fp16_mul", "sram_read_bit", "sram_write_bit")
"""Constants of what FPGAs have as hard blocks."""

_ULTRASCALE_NODES = "45 -> 16 nm at 0.72, 0.85, 1.0 V"
_ECP5_NODES = "45 nm at 0.9, 1.1, 1.3 V (40 nm not told from 45)"


def _on_fpga(
    constant: Constant,
    *,
    hard: bool = False,
    node: Interval = FPGA_NODE_RATIO,
    nodes: str = _ULTRASCALE_NODES,
) -> Constant:
    gap, what = (
        (FPGA_OVER_ASIC_HARD, "1..7.1..14 (hard blocks, unverified)")
        if hard
        else (FPGA_OVER_ASIC, "12..13..14 (core logic)")
    )
    return Constant(
        value=constant.value * node * gap,
        unit=constant.unit,
        mark="scaled",
        source=(
            f"45 nm constant [{constant.source}] times Stillmaker & Baas {nodes} "
            f"times FPGA over ASIC dynamic power of Kuon & Rose (90 nm) {what}"
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

FPGA28 = Technology(
    name="fpga28",
    description="28 nm FPGA, 7 series class: modelled, 45 nm constants scaled twice",
    **{
        name: _on_fpga(
            getattr(ASIC45, name), hard=name in _HARD, node=_TO_28,
            nodes="45 nm -> between 20 nm at 0.8 V and 32 nm at 0.9 V",
        )
        for name in ASIC45.constants()
    },
)
"""7 series class FPGA."""

FPGA_ECP5_NODE_RATIO = Interval(energy_ratio(45, 0.9), energy_ratio(45, 1.1), energy_ratio(45, 1.3))
"""Energy at the 1.1 V core of a 40 nm ECP5 over 45 nm 0.9 V, by the supply alone.

The step from 45 to 40 nm is left out. Low: as if at 0.9 V; high: as if at 1.3 V (assumed).
"""

FPGA_ECP5 = Technology(
    name="ecp5",
    description="40 nm FPGA, ECP5 class: modelled, 45 nm constants scaled twice",
    int_add_8=_on_fpga(ASIC45.int_add_8, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES),
    int_add_32=_on_fpga(ASIC45.int_add_32, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES),
    fp16_mul=_on_fpga(
        ASIC45.fp16_mul, hard=True, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES
    ),
    fp16_add=_on_fpga(ASIC45.fp16_add, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES),
    register_bit=_on_fpga(ASIC45.register_bit, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES),
    sram_read_bit=_on_fpga(
        ASIC45.sram_read_bit, hard=True, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES
    ),
    sram_write_bit=_on_fpga(
        ASIC45.sram_write_bit, hard=True, node=FPGA_ECP5_NODE_RATIO, nodes=_ECP5_NODES
    ),
)
"""ECP5-class FPGA."""

TECHNOLOGIES: dict[str, Technology] = {
    t.name: t for t in (ASIC45, ASIC28, ASIC7, FPGA16, FPGA28, FPGA_ECP5)
}
"""Named technologies."""


def named_technology(name: str) -> Technology:
    """Return the technology called `name`; raises InputError with the known names otherwise."""
    if name not in TECHNOLOGIES:
        raise InputError(f"a technology is one of {', '.join(TECHNOLOGIES)}, not {name!r}")
    return TECHNOLOGIES[name]
