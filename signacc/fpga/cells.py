"""Counts cells of a mapped netlist in the units of the device: rules stated, nothing left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from golden.errors import InputError

from .targets import Target

_FREE = ("free", 0.0)


def _all(names: str, resource: str, weight: float = 1) -> dict[str, tuple[str, float]]:
    return dict.fromkeys(names.split(), (resource, weight))


# What a cell costs. "ramw" is not part of a LUT count: it stands beside it.
_RULES: dict[str, dict[str, tuple[str, float]]] = {
    "ecp5": {
        **_all("LUT4", "lut"),
        **_all("CCU2C", "carry", 2),
        **_all("TRELLIS_DPR16X4", "lutram", 4),
        **_all("PFUMX L6MUX21", "free"),
        **_all("TRELLIS_FF", "ff"),
        **_all("DP16KD PDPW16KD", "bram"),
        **_all("MULT18X18D", "dsp"),
        **_all("ALU54B EHXPLLL TRELLIS_IO", "other"),
    },
    "ice40": {
        **_all("SB_LUT4", "lut"),
        **_all("SB_CARRY", "free"),
        **_all("SB_DFF SB_DFFE SB_DFFSR SB_DFFR SB_DFFSS SB_DFFS SB_DFFESR SB_DFFER SB_DFFESS "
               "SB_DFFES SB_DFFN SB_DFFNE SB_DFFNSR SB_DFFNR SB_DFFNSS SB_DFFNS SB_DFFNESR "
               "SB_DFFNER SB_DFFNESS SB_DFFNES", "ff"),
        **_all("SB_RAM40_4K SB_RAM40_4KNR SB_RAM40_4KNW SB_RAM40_4KNRNW", "bram"),
        **_all("SB_MAC16", "dsp"),
        **_all("SB_SPRAM256KA SB_IO SB_GB", "other"),
    },
    "gowin": {
        **_all("LUT1 LUT2 LUT3 LUT4", "lut"),
        **_all("ALU", "carry"),
        **_all("MUX2_LUT5 MUX2_LUT6 MUX2_LUT7 MUX2_LUT8 GND VCC", "free"),
        **_all("RAM16SDP1 RAM16SP1", "lutram"),
        **_all("RAM16SDP2 RAM16SP2", "lutram", 2),
        **_all("RAM16SDP4 RAM16SP4", "lutram", 4),
        **_all("DFF DFFE DFFS DFFSE DFFR DFFRE DFFP DFFPE DFFC DFFCE DFFN DFFNE DFFNS DFFNSE "
               "DFFNR DFFNRE DFFNP DFFNPE DFFNC DFFNCE", "ff"),
        **_all("SP SPX9 SDPB SDPX9B DPB DPX9B pROM pROMX9", "bram"),
        **_all("MULT9X9", "dsp", 0.5),
        **_all("MULT18X18 MULT12X12", "dsp"),
        **_all("MULT27X36", "dsp", 2),
        **_all("MULT36X36", "dsp", 4),
        **_all("IBUF OBUF TBUF IOBUF", "other"),
    },
    "nexus": {
        **_all("LUT4 INV", "lut"),
        **_all("WIDEFN9", "lut", 2),
        **_all("CCU2", "carry", 2),
        **_all("DPR16X4", "lutram", 4),
        **_all("VHI VLO", "free"),
        **_all("FD1P3BX FD1P3DX FD1P3IX FD1P3JX", "ff"),
        **_all("PDP16K_MODE PDPSC16K_MODE DP16K_MODE SP16K_MODE PDPSC512K PDP16K PDPSC16K DP16K",
               "bram"),
        **_all("MULT9X9", "dsp", 0.5),
        **_all("MULT18X18", "dsp"),
        **_all("MULT18X36", "dsp", 2),
        **_all("MULT36X36", "dsp", 4),
        **_all("IB OB OBZ BB OSCA", "other"),
    },
    "xcup": {
        **_all("LUT1 LUT2 LUT3 LUT4 LUT5 LUT6 LUT6_2", "lut"),
        # The mapper leaves inverters of its own; a LUT each, unless a neighbour takes them in.
        **_all("INV", "lut"),
        **_all("CARRY4 CARRY8 MUXF7 MUXF8 MUXF9", "free"),
        **_all("RAM32X1S RAM64X1S SRL16E SRL16 SRLC16 SRLC16E SRLC32E", "lutram"),
        **_all("RAM32X1D RAM64X1D RAM128X1S", "lutram", 2),
        **_all("RAM32M RAM64M RAM128X1D RAM256X1S", "lutram", 4),
        **_all("RAM32M16 RAM64M8 RAM256X1D RAM512X1S", "lutram", 8),
        **_all("FDRE FDSE FDCE FDPE FDRE_1 FDSE_1 FDCE_1 FDPE_1", "ff"),
        **_all("RAMB36E2", "bram"),
        **_all("RAMB18E2", "bram", 0.5),
        **_all("DSP48E2", "dsp"),
        **_all("URAM288 BUFG IBUF OBUF", "other"),
    },
}

RULES: dict[str, str] = {
    "ecp5": "LUT4 + 2 per CCU2C (carry) + 4 per TRELLIS_DPR16X4 (RAM of 16x4); the 2 LUTs that "
    "such a RAM's write port (TRELLIS_RAMW) takes besides are stated apart; PFUMX and L6MUX21 are "
    "free",
    "ice40": "SB_LUT4; SB_CARRY lies in the same logic cell",
    "gowin": "LUT1 to LUT4 + 1 per ALU (carry) + 1, 2 or 4 per RAM16SDP1, 2 or 4; MUX2_LUT5 to 8 "
    "are free",
    "nexus": "LUT4 + 2 per WIDEFN9 + 2 per CCU2 (carry) + 4 per DPR16X4 (RAM of 16x4); the 2 LUTs "
    "of its write port are stated apart",
    "xcup": "every LUT1 to LUT6 counts 1, though two small ones may share a LUT6, and so does a "
    "LUT6_2, which is one LUT6 with both outputs used, + LUTs of RAM "
    "and shift registers (RAM32M 4, RAM32M16 8, RAM64M 4, RAM64M8 8, RAM32X1D 2, SRL16E and "
    "SRLC32E 1); CARRY8 and MUXF are free",
}
"""How LUTs are counted, by family: what reports print."""


@dataclass(frozen=True)
class Count:
    """Cells of a netlist in the units of its device.

    Attributes
    ----------
    lut
        All LUTs: logic, carry and RAM, by the family's rule.
    carry, lutram
        Those of them that carry chains and distributed RAM take.
    ramw
        LUTs that write ports of distributed RAM block besides (Lattice); not in `lut`.
    ff, bram, dsp
        Flip-flops, block RAMs and multipliers.
    cells
        Cells by type, all of them.
    unknown
        Types that no rule covers: they are not in any count above.
    """

    lut: int
    carry: int
    lutram: int
    ramw: int
    ff: int
    bram: float
    dsp: float
    cells: dict[str, int]
    unknown: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the counts for a report."""
        return {
            "lut": self.lut, "carry": self.carry, "lutram": self.lutram, "ramw": self.ramw,
            "ff": self.ff, "bram": self.bram, "dsp": self.dsp, "cells": self.cells,
            "unknown": list(self.unknown),
        }


def cells_of(module: Mapping[str, Any]) -> dict[str, int]:
    """Return how many cells of each type a module of a Yosys JSON netlist has."""
    result: dict[str, int] = {}
    for cell in module["cells"].values():
        kind = cell["type"]
        if kind != "$scopeinfo":  # a note on hierarchy, no hardware
            result[kind] = result.get(kind, 0) + 1
    return dict(sorted(result.items()))


def count(cells: Mapping[str, int], family: str) -> Count:
    """Count cells by the rules of a family."""
    rules = _RULES[family]
    sums: dict[str, float] = {}
    for kind, number in cells.items():
        resource, weight = rules.get(kind, _FREE)
        sums[resource] = sums.get(resource, 0) + number * weight
    carry, lutram = int(sums.get("carry", 0)), int(sums.get("lutram", 0))
    blocked = cells.get("TRELLIS_DPR16X4", 0) + (cells.get("DPR16X4", 0))
    return Count(
        lut=int(sums.get("lut", 0)) + carry + lutram,
        carry=carry,
        lutram=lutram,
        ramw=2 * blocked,
        ff=int(sums.get("ff", 0)),
        bram=_plain(sums.get("bram", 0)),
        dsp=_plain(sums.get("dsp", 0)),
        cells=dict(cells),
        unknown=tuple(sorted(set(cells) - set(rules))),
    )


def _plain(number: float) -> float:
    """Return a whole number as an int, so that reports do not show 4.0 block RAMs."""
    return int(number) if number == int(number) else number


def check_fit(counted: Count, target: Target, what: str) -> None:
    """Raise InputError if the cells are more than the device has, naming each excess."""
    needs = {
        "lut": counted.lut + counted.ramw, "ff": counted.ff, "bram": counted.bram,
        "dsp": counted.dsp,
    }
    excess = []
    for name, resource in target.resources.items():
        if needs[name] <= resource.available:
            continue
        times = (
            f"{needs[name] / resource.available:.2f} times too many"
            if resource.available else "it has none"
        )
        excess.append(f"{needs[name]:,} {resource.label} of {resource.available:,}: {times}")
    if excess:
        raise InputError(f"{what} does not fit {target.name}: it needs {'; '.join(excess)}")
