"""Named DRAM channels and memory systems made of them."""

from __future__ import annotations

from ..errors import InputError
from ..interval import Interval
from .config import MemoryConfig
from .timing import DramTiming

_DRAMSIM3 = "github.com/umd-memsys/DRAMsim3"
_RAMULATOR2 = "github.com/CMU-SAFARI/ramulator2"

DDR4_3200 = DramTiming(
    name="ddr4-3200",
    source=f"{_DRAMSIM3} configs/DDR4_8Gb_x8_3200.ini (8 Gb x8, 22-22-22); tRFC 350 ns: JESD79-4",
    rate_mt_s=3200, width_bits=64, burst_length=8, bank_groups=4, banks_per_group=4,
    page_bytes=8192, t_ck=0.625, t_rcd=13.75, t_rp=13.75, t_ras=32.5, t_ccd_s=2.5, t_ccd_l=5.0,
    t_rrd_s=2.5, t_rrd_l=5.0, t_faw=21.25, t_rfc=350, t_refi=7800, t_cl=13.75, t_cwl=10.0,
    t_rtp=7.5, t_wr=15.0, t_wtr=7.5, t_rtrs=0.625,
)
DDR4_2400 = DramTiming(
    name="ddr4-2400",
    source=(
        "JESD79-4: 8 Gb x16 as on the KV260 (two bank groups, 2 KB pages), 17-17-17 bin, tCCD_L "
        "5 ns, tFAW 30 ns, tRFC 350 ns; the same in "
        f"{_DRAMSIM3} configs/DDR4_8Gb_x16_2400.ini up to rounding to clocks (unverified)"
    ),
    rate_mt_s=2400, width_bits=64, burst_length=8, bank_groups=2, banks_per_group=4,
    page_bytes=8192, t_ck=0.8333, t_rcd=14.16, t_rp=14.16, t_ras=32.0, t_ccd_s=3.333, t_ccd_l=5.0,
    t_rrd_s=5.3, t_rrd_l=6.4, t_faw=30.0, t_rfc=350, t_refi=7800, t_cl=14.16, t_cwl=10.0,
    t_rtp=7.5, t_wr=15.0, t_wtr=7.5, t_rtrs=0.8333,
)
LPDDR4X_4266 = DramTiming(
    name="lpddr4x-4266",
    source="JESD209-4, 8 Gb a channel, 2 KB pages (unverified: quoted from memory)",
    rate_mt_s=4266, width_bits=16, burst_length=16, bank_groups=1, banks_per_group=8,
    page_bytes=2048, t_ck=0.46875, t_rcd=18.0, t_rp=18.0, t_ras=42.0, t_ccd_s=3.75, t_ccd_l=3.75,
    t_rrd_s=7.5, t_rrd_l=7.5, t_faw=30.0, t_rfc=280, t_refi=3904, t_cl=16.9, t_cwl=8.4,
    t_rtp=7.5, t_wr=18.0, t_wtr=10.0, t_rtrs=1.0,
)
LPDDR5_6400 = DramTiming(
    name="lpddr5-6400",
    source=(
        f"{_RAMULATOR2} src/dram/impl/LPDDR5.cpp, 16 Gb x16: nRCD 15, nRP 15, nRAS 34, nRRD 4, "
        "nFAW 16, nCL 20, nCWL 11, nWTRL 10 of 1.25 ns, tRFCab 280, tREFI 3906; burst of 16 in "
        "bank-group mode (JESD209-5): 2.5 ns to other groups, 5 ns in one"
    ),
    rate_mt_s=6400, width_bits=16, burst_length=16, bank_groups=4, banks_per_group=4,
    page_bytes=2048, t_ck=1.25, t_rcd=18.75, t_rp=18.75, t_ras=42.5, t_ccd_s=2.5, t_ccd_l=5.0,
    t_rrd_s=5.0, t_rrd_l=5.0, t_faw=20.0, t_rfc=280, t_refi=3906, t_cl=25.0, t_cwl=13.75,
    t_rtp=5.0, t_wr=35.0, t_wtr=12.5, t_rtrs=2.5,
)
GDDR6_14000 = DramTiming(
    name="gddr6-14000",
    source=(
        f"{_RAMULATOR2} src/dram/impl/GDDR6.cpp, row GDDR6_2000_1350mV_double, clocks of 0.57 ns; "
        "tCCD_L 3 clocks, tCCD_S a burst (unverified)"
    ),
    rate_mt_s=14000, width_bits=16, burst_length=16, bank_groups=4, banks_per_group=4,
    page_bytes=2048, t_ck=0.571, t_rcd=14.8, t_rp=14.8, t_ras=30.2, t_ccd_s=1.143, t_ccd_l=1.714,
    t_rrd_s=4.0, t_rrd_l=4.0, t_faw=16.0, t_rfc=120, t_refi=1900, t_cl=13.7, t_cwl=3.4,
    t_rtp=2.3, t_wr=14.8, t_wtr=6.3, t_rtrs=1.0,
)
_HBM2 = {
    "width_bits": 64, "burst_length": 4, "bank_groups": 4, "banks_per_group": 4,
    "page_bytes": 1024, "t_rcd": 14.0, "t_rp": 14.0, "t_ras": 34.0, "t_rrd_s": 4.0,
    "t_rrd_l": 6.0, "t_faw": 30.0, "t_rfc": 260, "t_refi": 3900, "t_cl": 14.0, "t_cwl": 4.0,
    "t_rtp": 6.0, "t_wr": 16.0, "t_wtr": 8.0, "t_rtrs": 1.0,
}  # fmt: skip
_HBM2_SOURCE = (
    f"{_DRAMSIM3} configs/HBM2_8Gb_x128.ini, in pseudo-channel mode: 64 bits, bursts of 4, 1 KB "
    "pages; tCCD_S one burst and tCCD_L two (JESD235, unverified)"
)
HBM2_2000 = DramTiming(
    name="hbm2-2000", source=_HBM2_SOURCE, rate_mt_s=2000, t_ck=1.0, t_ccd_s=2.0, t_ccd_l=4.0,
    **_HBM2,
)
HBM2_1800 = DramTiming(
    name="hbm2-1800", source=_HBM2_SOURCE, rate_mt_s=1800, t_ck=1.111, t_ccd_s=2.222,
    t_ccd_l=4.444, **_HBM2,
)
HBM2E_3200 = DramTiming(
    name="hbm2e-3200",
    source=f"{_HBM2_SOURCE}; the same nanoseconds at 3200 MT/s (assumed)",
    rate_mt_s=3200, t_ck=0.625, t_ccd_s=1.25, t_ccd_l=2.5, **_HBM2 | {"t_rfc": 350},
)
HBM3_6400 = DramTiming(
    name="hbm3-6400",
    source=(
        "tRCD 19.4, tRP 16.25, tRAS 28.1 ns, tRFC 350, tREFI 3900 (secondary source); the rest as "
        "HBM2, in nanoseconds (assumed: no public table)"
    ),
    rate_mt_s=6400, t_ck=0.625, t_ccd_s=1.25, t_ccd_l=2.5,
    **_HBM2 | {"width_bits": 32, "burst_length": 8, "t_rcd": 19.4, "t_rp": 16.25, "t_ras": 28.1,
               "t_rfc": 350},
)
DDR3_800 = DramTiming(
    name="ddr3-800",
    source=(
        "JESD79-3, 2 Gb x16 parts of the 1600 grade (13.75 ns, tRFC 160 ns) at 800 MT/s, as on the "
        "Arty A7 (unverified: quoted from memory)"
    ),
    rate_mt_s=800, width_bits=16, burst_length=8, bank_groups=1, banks_per_group=8,
    page_bytes=2048, t_ck=2.5, t_rcd=13.75, t_rp=13.75, t_ras=35.0, t_ccd_s=10.0, t_ccd_l=10.0,
    t_rrd_s=7.5, t_rrd_l=7.5, t_faw=40.0, t_rfc=160, t_refi=7800, t_cl=13.75, t_cwl=12.5,
    t_rtp=7.5, t_wr=15.0, t_wtr=10.0, t_rtrs=2.5,
)
SDRAM_133 = DramTiming(
    name="sdram-133",
    source=(
        "256 Mb x16 SDR SDRAM at 133 MHz, bursts of 8: tRCD 15, tRP 15, tRAS 37.5, tRFC 60 ns, "
        "8192 rows in 64 ms (usual data sheets of that grade, unverified)"
    ),
    rate_mt_s=133, width_bits=16, burst_length=8, bank_groups=1, banks_per_group=4,
    page_bytes=1024, t_ck=7.5, t_rcd=15.0, t_rp=15.0, t_ras=37.5, t_ccd_s=60.0, t_ccd_l=60.0,
    t_rrd_s=15.0, t_rrd_l=15.0, t_faw=60.0, t_rfc=60, t_refi=7812, t_cl=22.5, t_cwl=7.5,
    t_rtp=7.5, t_wr=15.0, t_wtr=7.5, t_rtrs=7.5,
)  # fmt: skip

CHANNELS: dict[str, DramTiming] = {
    timing.name: timing
    for timing in (
        DDR4_2400, DDR4_3200, LPDDR4X_4266, LPDDR5_6400, GDDR6_14000, HBM2_1800, HBM2_2000,
        HBM2E_3200, HBM3_6400, DDR3_800, SDRAM_133,
    )
}
"""Named channels."""

_GIB = 1 << 30

_DDR4_ENERGY = Interval(15.0, 20.3, 40.6)
_DDR4_ENERGY_SOURCE = (
    "nominal: 1300 pJ per 64 bits, the lower of the 1300-2600 in Horowitz, ISSCC 2014 (secondary "
    "source); high: 2600; low: 15 (unverified). DRAMsim3's DDR4 core energy: 18.0-21.6"
)
_LPDDR5_ENERGY = Interval(3.0, 4.5, 8.0)
_LPDDR5_ENERGY_SOURCE = (
    "about 4 for LPDDR5 and 4-6 for LPDDR4X (unverified); high: low end of the published 8-14 for "
    "LPDDR4"
)
_HBM2_ENERGY = Interval(3.9, 5.5, 7.0)
_HBM2_ENERGY_SOURCE = (
    "low: 3.9, Accelergy's HBM2 (activate 1.21, transfer 2.54, I/O 0.22); high: 450 pJ per 64 "
    "bits, Jouppi et al. 2021 (unverified); nominal: the middle; a maker's page gives 6.0 for HBM2E"
)


def _memory(
    name: str, timing: DramTiming, channels: int, gib: float, energy: Interval, source: str
) -> MemoryConfig:
    return MemoryConfig.of_channels(
        name=name,
        timing=timing,
        channels=channels,
        capacity_bytes=int(gib * _GIB),
        energy_pj_per_bit=energy,
        energy_source=source,
    )


MEMORIES: dict[str, MemoryConfig] = {
    memory.name: memory
    for memory in (
        _memory("ddr4-2400-x64", DDR4_2400, 1, 4, _DDR4_ENERGY, _DDR4_ENERGY_SOURCE),
        _memory("ddr4-3200-x64", DDR4_3200, 1, 8, _DDR4_ENERGY, _DDR4_ENERGY_SOURCE),
        _memory(
            "lpddr4x-4266-x32", LPDDR4X_4266, 2, 4, Interval(4.0, 5.0, 8.0),
            "4-6 (unverified); high: low end of the published 8-14 for LPDDR4",
        ),
        _memory("lpddr5-6400-x32", LPDDR5_6400, 2, 8, _LPDDR5_ENERGY, _LPDDR5_ENERGY_SOURCE),
        _memory("lpddr5-6400-x128", LPDDR5_6400, 8, 16, _LPDDR5_ENERGY, _LPDDR5_ENERGY_SOURCE),
        _memory(
            "gddr6-14000-x256", GDDR6_14000, 16, 8, Interval(5.5, 7.5, 8.0),
            "nominal: 7.5, a maker's page; low and high: 350-480 pJ per 64 bits and above, Jouppi "
            "et al. 2021 (unverified)",
        ),
        _memory("hbm2", HBM2_2000, 16, 8, _HBM2_ENERGY, _HBM2_ENERGY_SOURCE),
        _memory("hbm2-u280", HBM2_1800, 32, 8, _HBM2_ENERGY, _HBM2_ENERGY_SOURCE),
        _memory(
            "hbm2e", HBM2E_3200, 16, 16, Interval(3.9, 6.0, 7.0),
            "nominal: 6.0, a maker's page; low and high as HBM2",
        ),
        _memory(
            "hbm3", HBM3_6400, 32, 16, Interval(2.5, 4.05, 7.0),
            "nominal: 4.05 (secondary source); range assumed, high as HBM2",
        ),
        _memory(
            "ddr3-800-x16", DDR3_800, 1, 0.25, Interval(20.0, 40.0, 80.0),
            "no source found: 1.35 to 1.5 V parts, above DDR4's 20 (assumed), half to double",
        ),
        _memory(
            "sdram-133-x16", SDRAM_133, 1, 1 / 32, Interval(30.0, 100.0, 300.0),
            "no source found: 3.3 V single-rate parts, about 0.1 W at 0.27 GB/s (assumed), a third "
            "to triple",
        ),
    )
}
"""Named memory systems."""


def named_memory(name: str) -> MemoryConfig:
    """Return the memory called `name`; raises InputError with the known names otherwise."""
    if name not in MEMORIES:
        raise InputError(f"a memory is one of {', '.join(MEMORIES)}, not {name!r}")
    return MEMORIES[name]


def named_channel(name: str) -> DramTiming:
    """Return the DRAM channel called `name`; raises InputError with the known names otherwise."""
    if name not in CHANNELS:
        raise InputError(f"a DRAM channel is one of {', '.join(CHANNELS)}, not {name!r}")
    return CHANNELS[name]
