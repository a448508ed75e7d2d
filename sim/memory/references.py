"""What others achieved of DRAM bandwidth on hardware, beside what the closed forms say.

``benchmarks/dram.py`` sets them beside another simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .presets import DDR3_800, HBM2_1800


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
        ``published``; by whom.
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


REFERENCES: tuple[Reference, ...] = (
    Reference(
        "HBM2-1800 on an Alveo U280, sequential", HBM2_1800.sequential_share, 425 / 460,
        "published", "Wang et al., arXiv 2005.04324: 425 of 460 GB/s",
    ),
    Reference(
        "DDR3-800 x16 on an Arty A7, sequential", DDR3_800.sequential_share, 1.42 / 1.6,
        "published", "ternfpga: 1.42 of 1.6 GB/s",
        "theirs goes through LiteDRAM and a bus; the closed form is the parts' own limit",
    ),
)
"""All references; nothing is tuned to any of them."""
