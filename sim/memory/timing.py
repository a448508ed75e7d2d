"""Timing of a DRAM channel, JEDEC's parameters, and the share of its peak that follows from them.

The shares are closed forms, each the slowest of what a pattern of accesses needs: the data bus,
the spacing of column commands (tCCD), of row activations (tRRD, tFAW), the row cycle of the banks
(tRC), refresh (tRFC of every tREFI), and the turns of the bus. ``sim.memory.commands`` replays
traces command by command and is what they are tested against.

All times are nanoseconds. Names are JEDEC's (JESD79-4 DDR4, JESD209-4/-5 LPDDR4/5, JESD250 GDDR6,
JESD235 HBM2, JESD238 HBM3).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..checks import check_number
from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class DramTiming:
    """One DRAM channel (a pseudo-channel for HBM).

    Parameters
    ----------
    name
        E.g. ``ddr4-3200``.
    source
        Where the numbers come from.
    rate_mt_s, width_bits, burst_length
        Transfers per second and pin in 1e6, data pins, transfers of a burst.
    ranks, bank_groups, banks_per_group
        Organisation. Without bank groups: one group, and ``t_ccd_s == t_ccd_l``.
    page_bytes
        Bytes of an open row across the channel.
    t_ck
        Clock period of the command bus.
    t_rcd, t_rp, t_ras
        Activate to column command, precharge, activate to precharge.
    t_ccd_s, t_ccd_l
        Between column commands to other bank groups, to the same one.
    t_rrd_s, t_rrd_l, t_faw
        Between activations to other bank groups, to the same one; window of four activations.
    t_rfc, t_refi
        All-bank refresh, and how often it is due.
    t_cl, t_cwl, t_rtp, t_wr, t_wtr, t_rtrs
        Read and write latency, read to precharge, write recovery, end of written data to a read
        command (same bank group), switch between ranks.

    Raises
    ------
    InputError
        If a number is not above 0, or refresh takes all the time.
    """

    name: str
    source: str
    rate_mt_s: float
    width_bits: int
    burst_length: int
    ranks: int = 1
    bank_groups: int
    banks_per_group: int
    page_bytes: int
    t_ck: float
    t_rcd: float
    t_rp: float
    t_ras: float
    t_ccd_s: float
    t_ccd_l: float
    t_rrd_s: float
    t_rrd_l: float
    t_faw: float
    t_rfc: float
    t_refi: float
    t_cl: float
    t_cwl: float
    t_rtp: float
    t_wr: float
    t_wtr: float
    t_rtrs: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("name", "source"):
                continue
            check_number(f"{field.name} of a DRAM", value, above_zero=True)
        if self.t_rfc + self.reopen_ns >= self.t_refi:
            raise InputError(
                f"tRFC and reopening the rows must take less than tREFI = {self.t_refi} ns, "
                f"not {self.t_rfc + self.reopen_ns} ns"
            )

    # ---- derived -------------------------------------------------------------------------

    @property
    def peak_gb_s(self) -> float:
        """Peak of the channel, 1e9 bytes/s."""
        return self.rate_mt_s * 1e-3 * self.width_bits / 8

    @property
    def burst_bytes(self) -> int:
        """Bytes of a burst."""
        return self.width_bits * self.burst_length // 8

    @property
    def burst_ns(self) -> float:
        """Time of a burst on the data bus."""
        return self.burst_length / self.rate_mt_s * 1e3

    @property
    def banks(self) -> int:
        """Banks of all ranks."""
        return self.ranks * self.bank_groups * self.banks_per_group

    @property
    def t_rc(self) -> float:
        """Activate to activate of one bank."""
        return self.t_ras + self.t_rp

    @property
    def activate_ns(self) -> float:
        """Mean spacing of activations: ``max(tRRD_S, tFAW / 4)``, ranks side by side."""
        return max(self.t_rrd_s, self.t_faw / 4) / self.ranks

    @property
    def reopen_ns(self) -> float:
        """What a refresh costs besides tRFC: last read to precharge, precharge, activate."""
        return self.t_rtp + self.t_rp + self.t_rcd

    def refresh_share(self) -> float:
        """Return the share of time that refresh leaves: ``1 - (tRFC + reopening) / tREFI``."""
        return 1 - (self.t_rfc + self.reopen_ns) / self.t_refi

    def column_ns(self, *, interleaved: bool = True) -> float:
        """Return the spacing of column commands of a stream.

        With bank-group bits lowest in the address (`interleaved`), consecutive bursts go to
        different groups; else a stream stays in one group and waits tCCD_L.
        """
        return max(self.burst_ns, self.t_ccd_s if interleaved else self.t_ccd_l)

    # ---- shares of peak ------------------------------------------------------------------

    def sequential_share(self, *, interleaved: bool = True) -> float:
        """Return the share of peak that a long sequential read gets.

        A row of n bursts takes ``max(n * column, activate, tRC / banks)``.
        """
        bursts = self.page_bytes // self.burst_bytes
        row = max(
            bursts * self.column_ns(interleaved=interleaved),
            self.activate_ns,
            self.t_rc / self.banks,
        )
        return bursts * self.burst_ns / row * self.refresh_share()

    def chunk_share(self, size: int, *, queue: int = 32, interleaved: bool = True) -> float:
        """Return the share of peak that reads of `size` bytes at random rows get.

        n bursts of a chunk lie in r rows, at least ``min(n, bank groups)``. It takes the longest
        of: n columns; its r activations; r row cycles on the banks that c waiting chunks keep busy;
        and, if the queue is shorter than a row takes to open, what of that it does not hide. Banks
        busy: ``banks * c / (c + banks / r - 1)``, the throughput of a closed queueing network of
        ``banks / r`` equal stations and c customers (Gordon and Newell, 1967).
        A switch of ranks between chunks costs tRTRS for the share that switches.

        Parameters
        ----------
        size
            Bytes of a chunk, at least 1; it is read in whole bursts, and what is left over of the
            last one is lost.
        queue
            Bursts that the controller looks ahead.
        interleaved
            Whether bank-group bits are lowest in the address.
        """
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"a chunk must be of at least 1 byte, not {size!r}")
        bursts = -(-size // self.burst_bytes)
        per_row = self.page_bytes // self.burst_bytes
        rows = -(-bursts // per_row)
        if interleaved:
            rows = max(rows, min(bursts, self.bank_groups))
        column = self.column_ns(interleaved=interleaved or bursts == 1)
        waiting = max(1.0, queue / bursts)
        busy = self.banks * waiting / (waiting + max(1.0, self.banks / rows) - 1)
        switch = self.t_rtrs * (1 - 1 / self.ranks)
        data = bursts * column + switch
        exposed = max(0.0, self.t_rp + self.t_rcd - queue * column)
        time = max(data, rows * self.activate_ns, rows * self.t_rc / busy) + exposed
        return size / self.burst_bytes * self.burst_ns / time * self.refresh_share()

    def mixed_share(
        self, write_fraction: float, *, batch: int = 32, interleaved: bool = True
    ) -> float:
        """Return the share of peak of sequential reads and writes in one stream.

        Writes wait in a queue and are drained `batch` bursts at a time. Each drain turns the bus
        twice: read to write costs 2 tCK of the data bus, write to read ``tWTR + CL``.
        """
        if not 0 <= write_fraction <= 1:
            raise InputError(f"a share of writes must be from 0 to 1, not {write_fraction!r}")
        steady = self.sequential_share(interleaved=interleaved)
        if write_fraction in (0, 1):
            return steady
        column = self.column_ns(interleaved=interleaved)
        period = batch / write_fraction * column
        turns = 2 * self.t_ck + self.t_wtr + self.t_cl
        return steady * period / (period + turns)
