"""DRAM as seen by a long sequential stream: peak bandwidth, share of it that arrives, energy.

This is the first memory model: bytes / (peak * efficiency). Bursts, row misses, bank groups and
turnaround are inside the efficiency's range, not simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import InputError
from .interval import Interval


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """A DRAM system.

    Parameters
    ----------
    name
        What reports call it.
    peak_gb_s
        Peak bandwidth, 1e9 bytes/s.
    capacity_bytes
        Bytes that it holds.
    efficiency, efficiency_source
        Share of the peak that a long sequential read stream gets, above 0 and at most 1.
    energy_pj_per_bit, energy_source
        Energy per bit transferred, devices and their I/O, background power not included, pJ.

    Raises
    ------
    InputError
        If a number is outside its range.
    """

    name: str
    peak_gb_s: float
    capacity_bytes: int
    efficiency: Interval
    efficiency_source: str
    energy_pj_per_bit: Interval
    energy_source: str

    def __post_init__(self) -> None:
        peak = self.peak_gb_s
        if (
            not isinstance(peak, int | float)
            or isinstance(peak, bool)
            or not math.isfinite(peak)
            or peak <= 0
        ):
            raise InputError(f"peak_gb_s must be a finite number above 0, not {peak!r}")
        capacity = self.capacity_bytes
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
            raise InputError(f"capacity_bytes must be a positive integer, not {capacity!r}")
        if not (self.efficiency.low > 0 and self.efficiency.high <= 1):
            raise InputError(
                f"efficiency must be above 0 and at most 1, not from {self.efficiency.low!r} to "
                f"{self.efficiency.high!r}"
            )

    @property
    def bandwidth_bytes_s(self) -> Interval:
        """Bytes per second that arrive: peak times efficiency."""
        return self.efficiency * (self.peak_gb_s * 1e9)

    def transfer_time_s(self, amount: float) -> Interval:
        """Return the seconds that a sequential stream of `amount` bytes takes."""
        return self.bandwidth_bytes_s.reciprocal() * amount

    def transfer_energy_j(self, amount: float) -> Interval:
        """Return the joules that moving `amount` bytes takes: 8 bits a byte, pJ to J."""
        return self.energy_pj_per_bit * (8 * amount * 1e-12)


def refresh_bound(t_rfc_ns: float, t_refi_ns: float) -> float:
    """Return ``1 - tRFC/tREFI``: the share of time not lost to all-bank refresh."""
    if not 0 < t_rfc_ns < t_refi_ns:
        raise InputError(
            f"tRFC must be above 0 and below tREFI, not {t_rfc_ns!r} and {t_refi_ns!r}"
        )
    return 1 - t_rfc_ns / t_refi_ns


_GIB = 1 << 30

# DRAMsim3 runs (sequential reads): DDR4-3200 95.4 % of peak with bank-group bits lowest and 66 %
# with its shipped address mapping; HBM2 90.7 %, and 46.5 % for random 64-byte reads; LPDDR4-2400
# 95.0 %. The refresh bound reproduces the good mappings within 3 points.
_DDR4_EFFICIENCY = Interval(0.66, refresh_bound(360, 7800), refresh_bound(260, 7800))
_DDR4_EFFICIENCY_SOURCE = (
    "nominal: 1 - tRFC/tREFI = 1 - 360/7800 ns (8 Gb devices), which a DRAMsim3 run of sequential "
    "DDR4-3200 reads confirms (95.4 %, bank-group bits lowest); low: the same run with DRAMsim3's "
    "shipped address mapping, 66 %; high: tRFC 260 ns of 4 Gb devices (unverified)"
)
_DDR4_ENERGY = Interval(15.0, 20.3, 40.6)
_DDR4_ENERGY_SOURCE = (
    "nominal: 1300 pJ per 64 bits, the lower of the 1300-2600 in Horowitz, ISSCC 2014 (secondary "
    "source); high: 2600; low: 15 (unverified). DRAMsim3's DDR4 core energy: 18.0-21.6"
)
_HBM_EFFICIENCY = Interval(0.465, refresh_bound(350, 3900), refresh_bound(260, 3900))

MEMORIES: dict[str, MemoryConfig] = {
    memory.name: memory
    for memory in (
        MemoryConfig(
            name="ddr4-2400-x64",
            peak_gb_s=19.2,  # 2400 MT/s * 8 bytes
            capacity_bytes=4 * _GIB,
            efficiency=_DDR4_EFFICIENCY,
            efficiency_source=_DDR4_EFFICIENCY_SOURCE,
            energy_pj_per_bit=_DDR4_ENERGY,
            energy_source=_DDR4_ENERGY_SOURCE,
        ),
        MemoryConfig(
            name="ddr4-3200-x64",
            peak_gb_s=25.6,  # 3200 MT/s * 8 bytes
            capacity_bytes=8 * _GIB,
            efficiency=_DDR4_EFFICIENCY,
            efficiency_source=_DDR4_EFFICIENCY_SOURCE,
            energy_pj_per_bit=_DDR4_ENERGY,
            energy_source=_DDR4_ENERGY_SOURCE,
        ),
        MemoryConfig(
            name="lpddr5-6400-x32",
            peak_gb_s=25.6,  # 6400 MT/s * 4 bytes
            capacity_bytes=8 * _GIB,
            efficiency=Interval(0.66, refresh_bound(280, 3906), refresh_bound(140, 3906)),
            efficiency_source=(
                "nominal: 1 - tRFC/tREFI = 1 - 280/3906 ns (16 Gb, all-bank); high: per-bank "
                "refresh, 140 ns; low: taken over from DDR4 with a poor address mapping (assumed). "
                "A DRAMsim3 run of sequential LPDDR4-2400 reads gave 95.0 %"
            ),
            energy_pj_per_bit=Interval(3.0, 4.5, 8.0),
            energy_source=(
                "about 4 for LPDDR5 and 4-6 for LPDDR4X (unverified); high: low end of the "
                "published 8-14 for LPDDR4"
            ),
        ),
        MemoryConfig(
            name="hbm2-u280",
            peak_gb_s=460.0,
            capacity_bytes=8 * _GIB,
            efficiency=_HBM_EFFICIENCY,
            efficiency_source=(
                "nominal: 1 - tRFC/tREFI = 1 - 350/3900 ns, which a DRAMsim3 run of sequential "
                "HBM2 reads confirms (90.7 %); high: tRFC 260 ns; low: the same simulator on "
                "random 64-byte reads, 46.5 %"
            ),
            energy_pj_per_bit=Interval(3.9, 5.5, 7.0),
            energy_source=(
                "low: 3.9, Accelergy's HBM2 (activate 1.21, transfer 2.54, I/O 0.22); high: 450 pJ "
                "per 64 bits, Jouppi et al. 2021 (unverified); nominal: the middle; a maker's page "
                "gives 6.0 for HBM2E"
            ),
        ),
        MemoryConfig(
            name="hbm3",
            peak_gb_s=819.2,  # one stack: 6400 MT/s * 128 bytes
            capacity_bytes=16 * _GIB,
            efficiency=_HBM_EFFICIENCY,
            efficiency_source=(
                "nominal and high: 1 - tRFC/tREFI for 350 and 260 of 3900 ns; low: taken over from "
                "a DRAMsim3 run of random 64-byte HBM2 reads (no HBM3 run)"
            ),
            energy_pj_per_bit=Interval(2.5, 4.05, 7.0),
            energy_source="nominal: 4.05 (secondary source); range assumed, high as HBM2",
        ),
    )
}
"""Named DRAM systems."""


def named_memory(name: str) -> MemoryConfig:
    """Return the memory called `name`; raises InputError with the known names otherwise."""
    if name not in MEMORIES:
        raise InputError(f"a memory is one of {', '.join(MEMORIES)}, not {name!r}")
    return MEMORIES[name]
