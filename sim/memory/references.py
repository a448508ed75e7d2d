"""What others measured of DRAM bandwidth, beside what the closed forms say.

Marks: ``measured elsewhere``: DRAMsim3, run once outside this repository (its configurations are
not in it); ``published``: achieved on hardware, by the authors named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .presets import DDR3_800, DDR4_3200, HBM2_1800, HBM2_2000


@dataclass(frozen=True)
class Reference:
    """A share of peak that somebody else found.

    Parameters
    ----------
    what
        Memory and pattern.
    share
        Closed form of the same, with the timing of the same parts.
    theirs
        The share found, 0 to 1.
    mark, source
        ``measured elsewhere`` or ``published``; by whom.
    note
        Why the two differ, where they differ by more than 5 points.
    """

    what: str
    share: Callable[[], float]
    theirs: float
    mark: str
    source: str
    note: str = ""

    @property
    def ours(self) -> float:
        """The closed form's share, 0 to 1."""
        return self.share()


# 16 GiB a channel of 8 Gb x8 parts, DRAMsim3's DDR4_8Gb_x8_3200: two ranks
_DDR4 = replace(DDR4_3200, ranks=2)
# DRAMsim3's HBM2_8Gb_x128: 128-bit channels, tCCD_L no longer than a burst
_HBM2 = replace(HBM2_2000, width_bits=128, page_bytes=2048, t_ccd_l=2.0)

_SIMULATOR = ("measured elsewhere", "DRAMsim3")

REFERENCES: tuple[Reference, ...] = (
    Reference(
        "DDR4-3200, sequential, bank groups interleaved", _DDR4.sequential_share, 0.954,
        *_SIMULATOR,
    ),
    Reference(
        "DDR4-3200, sequential, one bank group",
        lambda: _DDR4.sequential_share(interleaved=False), 0.66, *_SIMULATOR,
        "the closed form never reorders across rows; the replay, with a window of 32, is between",
    ),
    Reference(
        "DDR4-3200, 4 KB chunks, bank groups interleaved", lambda: _DDR4.chunk_share(4096), 0.92,
        *_SIMULATOR,
    ),
    Reference(
        "DDR4-3200, 4 KB chunks, one bank group",
        lambda: _DDR4.chunk_share(4096, interleaved=False), 0.76, *_SIMULATOR,
        "as above: chunks in other groups overtake",
    ),
    Reference(
        "DDR4-3200, random 64 B", lambda: _DDR4.chunk_share(64), 0.81, *_SIMULATOR
    ),
    Reference(
        "DDR4-3200, 7 reads a write, bank groups interleaved",
        lambda: _DDR4.mixed_share(1 / 8), 0.92, *_SIMULATOR,
    ),
    Reference(
        "DDR4-3200, 7 reads a write, one bank group",
        lambda: _DDR4.mixed_share(1 / 8, interleaved=False), 0.62, *_SIMULATOR, "as above",
    ),
    Reference("HBM2-2000, sequential", _HBM2.sequential_share, 0.907, *_SIMULATOR),
    Reference(
        "HBM2-2000, random 64 B", lambda: _HBM2.chunk_share(64), 0.465, *_SIMULATOR,
        "theirs is above what four activations in tFAW = 30 ns allow (27 %); their tRRD of 4 ns "
        "alone would give 47 %",
    ),
    Reference(
        "HBM2-1800 on an Alveo U280, sequential", HBM2_1800.sequential_share, 425 / 460,
        "published", "Wang et al., arXiv 2005.04324: 425 of 460 GB/s",
    ),
    Reference(
        "DDR3-800 x16 on an Arty A7, sequential", DDR3_800.sequential_share, 0.89, "published",
        "ternfpga: 1.42 of 1.6 GB/s",
        "theirs goes through LiteDRAM and a bus; the closed form is the parts' own limit",
    ),
)
"""All references; nothing is tuned to any of them."""
