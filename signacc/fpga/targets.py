"""Devices that the open tools know: how to call the tools for them, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from golden.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind of cell that a device has so many of.

    Attributes
    ----------
    label
        What reports call it, with the unit in which it is counted.
    available
        How many the device has.
    """

    label: str
    available: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device, and the options that make the tools work for it.

    Attributes
    ----------
    name
        What the command line calls it.
    family
        Names the cell library: ecp5, ice40, gowin, nexus or xcup.
    device
        Device and package as the maker names them.
    synthesis
        Yosys command and its options, without the top module.
    nextpnr
        Program that places and routes, or None: synthesis only.
    options
        Options of that program, ``{speed}`` standing for the speed grade.
    speeds
        Speed grades, slowest first; the slowest is the default. One empty name: no choice.
    lut, ff, bram, dsp
        Capacities.
    source
        Where the capacities come from.
    pins
        Pins of the frame's ports, where the tool insists on pins.
    """

    name: str
    family: str
    device: str
    synthesis: tuple[str, ...]
    nextpnr: str | None
    options: tuple[str, ...]
    speeds: tuple[str, ...]
    lut: Resource
    ff: Resource
    bram: Resource
    dsp: Resource
    source: str
    pins: Mapping[str, str] | None = None

    @property
    def pin_file(self) -> str | None:
        """Return the frame's pins in the tool's own format, or None."""
        if self.pins is None:
            return None
        line = (
            "ldc_set_location -site {{{pin}}} [get_ports {port}]" if self.family == "nexus"
            else 'IO_LOC "{port}" {pin};'
        )
        return "".join(line.format(port=p, pin=pin) + "\n" for p, pin in self.pins.items())

    @property
    def resources(self) -> dict[str, Resource]:
        """Return the capacities by the names that reports use."""
        return {"lut": self.lut, "ff": self.ff, "bram": self.bram, "dsp": self.dsp}

    def speed(self, grade: str | None) -> str:
        """Return the speed grade to use.

        Raises
        ------
        InputError
            If the device has no such grade.
        """
        if grade is None:
            return self.speeds[0]
        if grade not in self.speeds or not grade:
            known = ", ".join(filter(None, self.speeds)) or "none to choose"
            raise InputError(f"speed grades of {self.name}: {known}; not {grade!r}")
        return grade


def _resources(lut: int, ff: int, bram: int, dsp: int, *, luts: str, brams: str, dsps: str):
    return {
        "lut": Resource(label=luts, available=lut),
        "ff": Resource(label="flip-flops", available=ff),
        "bram": Resource(label=brams, available=bram),
        "dsp": Resource(label=dsps, available=dsp),
    }


def _ecp5(size: str, luts: int, bram: int, dsp: int) -> Target:
    return Target(
        name=f"ecp5-{size}",
        family="ecp5",
        device=f"LFE5U-{size[:-1].upper()}F CABGA381",
        synthesis=("synth_ecp5",),
        nextpnr="nextpnr-ecp5",
        options=(f"--{size}", "--package", "CABGA381", "--speed", "{speed}",
                 "--lpf-allow-unconstrained"),
        speeds=("6", "7", "8"),
        source="nextpnr-ecp5 0.11.1 device database; Lattice FPGA-DS-02012, table 1.1",
        **_resources(luts, luts, bram, dsp, luts="LUT4", brams="18 kb block RAMs",
                     dsps="18x18 multipliers"),
    )


def _ice40(size: str, device: str, package: str, synthesis: tuple[str, ...],
           counts: tuple[int, int, int, int]) -> Target:
    return Target(
        name=f"ice40-{size}",
        family="ice40",
        device=device,
        synthesis=("synth_ice40", *synthesis),
        nextpnr="nextpnr-ice40",
        options=(f"--{size}", "--package", package, "--pcf-allow-unconstrained"),
        speeds=("",),
        source="nextpnr-ice40 0.11.1 device database; Lattice FPGA-DS-02029 (HX), FPGA-DS-02008 "
        "(UltraPlus)",
        **_resources(*counts, luts="LUT4", brams="4 kb block RAMs", dsps="16x16 multipliers"),
    )


def _gowin(name: str, device: str, family: str, yosys: str, pins: Mapping[str, str],
           counts: tuple[int, int, int, int]) -> Target:
    return Target(
        name=name,
        family="gowin",
        device=device,
        synthesis=("synth_gowin", "-family", yosys),
        nextpnr="nextpnr-himbaechel-gowin",
        options=("--device", device, "--vopt", f"family={family}", "--vopt", "cst=pins.txt"),
        speeds=("",),
        pins=pins,
        source="Gowin DS226 (GW2A), DS1103 (GW5A); LUT4 and flip-flops: nextpnr 0.11.1 device "
        "database",
        **_resources(*counts, luts="LUT4", brams="18 kb block RAMs", dsps="18x18 multipliers"),
    )


def _xcup(name: str, device: str, counts: tuple[int, int, int, int], source: str) -> Target:
    return Target(
        name=name,
        family="xcup",
        device=device,
        synthesis=("synth_xilinx", "-family", "xcup", "-flatten", "-noiopad", "-noclkbuf"),
        nextpnr=None,
        options=(),
        speeds=("",),
        source=source,
        **_resources(*counts, luts="LUT6", brams="36 kb block RAMs", dsps="DSP48E2"),
    )


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _ecp5("25k", 24288, 56, 28),
        _ecp5("45k", 43848, 108, 72),
        _ecp5("85k", 83640, 208, 156),
        _ice40("hx8k", "iCE40HX8K CT256", "ct256", ("-device", "hx"), (7680, 7680, 32, 0)),
        _ice40("up5k", "iCE40UP5K SG48", "sg48", ("-device", "u"), (5280, 5280, 30, 8)),
        _gowin("gowin-gw2a18", "GW2A-LV18PG256C8/I7", "GW2A-18", "gw2a",
               {"clk": "H11", "feed": "T10", "fold": "L14"}, (20736, 15552, 46, 48)),
        _gowin("gowin-gw5a25", "GW5A-LV25MG121NC1/I0", "GW5A-25A", "gw5a",
               {"clk": "E2", "feed": "B3", "fold": "C3"}, (23040, 23040, 56, 28)),
        Target(
            name="nexus-40",
            family="nexus",
            device="LIFCL-40 CABGA400",
            synthesis=("synth_nexus", "-family", "lifcl"),
            nextpnr="nextpnr-nexus",
            options=("--device", "LIFCL-40-{speed}BG400C", "--pdc", "pins.txt"),
            speeds=("7", "8", "9"),
            pins={"feed": "E17", "fold": "F13"},
            source="nextpnr-nexus 0.11.1 device database; Lattice FPGA-DS-02049, table 1.1",
            **_resources(32256, 32256, 84, 56, luts="LUT4", brams="18 kb block RAMs",
                         dsps="18x18 multipliers"),
        ),
        _xcup("xcup-k26", "XCK26 (Kria K26, KV260)", (117120, 234240, 144, 1248),
              "AMD DS987, Kria K26 SOM data sheet"),
        _xcup("xcup-u280", "XCU280 (Alveo U280)", (1303680, 2607360, 2016, 9024),
              "AMD DS963, Alveo U280 data sheet"),
    )
}
"""Devices by the names that scripts rely on."""


def named_target(name: str) -> Target:
    """Return the target called `name`; raises InputError with the known names otherwise."""
    if name not in TARGETS:
        raise InputError(f"a target is one of {', '.join(TARGETS)}, not {name!r}")
    return TARGETS[name]
