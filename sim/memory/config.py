"""A memory system as its traffic sees it: peak, the share that arrives, capacity, energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..checks import check_integer, check_number
from ..errors import InputError
from ..interval import Interval
from .timing import DramTiming

BEST_REFRESH = 0.5
"""Refresh time of smaller dies, or of one bank at a time, over the channel's own (high bound)."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """A memory system of equal channels; addresses are spread over the channels.

    Parameters
    ----------
    name
        What reports call it.
    peak_gb_s
        Peak bandwidth of all channels, 1e9 bytes/s.
    capacity_bytes
        Bytes that it holds.
    efficiency, efficiency_source
        Share of the peak that a long sequential read stream gets, above 0 and at most 1.
    energy_pj_per_bit, energy_source
        Energy per bit transferred, devices and their I/O, background power not included, pJ.
    timing
        Timing of one channel, from which the shares of other patterns follow. Without it, every
        pattern gets `efficiency`.

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
    timing: DramTiming | None = None

    def __post_init__(self) -> None:
        check_number("peak_gb_s", self.peak_gb_s, above_zero=True)
        capacity = self.capacity_bytes
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
            raise InputError(f"capacity_bytes must be a positive integer, not {capacity!r}")
        if not (self.efficiency.low > 0 and self.efficiency.high <= 1):
            raise InputError(
                f"efficiency must be above 0 and at most 1, not from {self.efficiency.low!r} to "
                f"{self.efficiency.high!r}"
            )

    @classmethod
    def of_channels(
        cls,
        *,
        name: str,
        timing: DramTiming,
        channels: int,
        capacity_bytes: int,
        energy_pj_per_bit: Interval,
        energy_source: str,
    ) -> MemoryConfig:
        """Return `channels` channels of `timing`, with the shares that follow from it.

        Nominal: bank groups interleaved. Low: not interleaved, a poor address mapping. High:
        interleaved, and half of the refresh time.
        """
        check_integer("channels", channels, 1)
        return cls(
            name=name,
            peak_gb_s=timing.peak_gb_s * channels,
            capacity_bytes=capacity_bytes,
            efficiency=_share(timing, None),
            efficiency_source=(
                f"sequential reads of {timing.name} by the closed form of sim.memory.timing: bank "
                "groups interleaved; low: not interleaved; high: half of the refresh time. Timing: "
                f"{timing.source}"
            ),
            energy_pj_per_bit=energy_pj_per_bit,
            energy_source=energy_source,
            timing=timing,
        )

    def share(self, chunk_bytes: int | None = None) -> Interval:
        """Return the share of peak of sequential reads, or of reads of `chunk_bytes` at random."""
        if chunk_bytes is None or self.timing is None:
            return self.efficiency
        return _share(self.timing, chunk_bytes)

    @property
    def bandwidth_bytes_s(self) -> Interval:
        """Bytes per second that arrive of a sequential stream: peak times efficiency."""
        return self.efficiency * (self.peak_gb_s * 1e9)

    def transfer_time_s(self, amount: float, chunk_bytes: int | None = None) -> Interval:
        """Return the seconds that `amount` bytes take, sequential or in chunks."""
        return (self.share(chunk_bytes) * (self.peak_gb_s * 1e9)).reciprocal() * amount

    def transfer_energy_j(self, amount: float) -> Interval:
        """Return the joules that moving `amount` bytes takes: 8 bits a byte, pJ to J."""
        return self.energy_pj_per_bit * (8 * amount * 1e-12)


@lru_cache(maxsize=1024)
def _share(timing: DramTiming, chunk_bytes: int | None) -> Interval:
    """Return the share of sequential reads, or of chunks, with its range."""

    def share(interleaved: bool) -> float:
        if chunk_bytes is None:
            return timing.sequential_share(interleaved=interleaved)
        return timing.chunk_share(chunk_bytes, interleaved=interleaved)

    nominal, other = share(True), share(False)
    lost = 1 - timing.refresh_share()
    quick = nominal * (1 - BEST_REFRESH * lost) / (1 - lost)
    return Interval(min(nominal, other), nominal, max(nominal, min(1.0, quick)))
