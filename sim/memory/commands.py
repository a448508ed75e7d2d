"""A small DRAM simulator: replays a trace command by command, to check the closed forms.

One channel, open rows, first-ready first-come scheduling over a window of requests, writes
gathered and drained in batches, all-bank refresh. Row and column commands obey the parameters of
:class:`~sim.memory.timing.DramTiming` in nanoseconds; the command bus itself is not a limit. It
shares those parameters with the closed forms, but no formula.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .timing import DramTiming


@dataclass(frozen=True)
class Request:
    """One burst: rank, bank group, bank of the group, row, and whether it writes."""

    rank: int
    group: int
    bank: int
    row: int
    write: bool = False

    @property
    def place(self) -> tuple[int, int, int]:
        """The bank: rank, group, bank of the group."""
        return self.rank, self.group, self.bank


@dataclass
class _Bank:
    row: int | None = None
    column_from: float = 0.0  # row open, first column command
    precharge_from: float = 0.0
    activate_from: float = 0.0


@dataclass
class _Rank:
    activations: deque = field(default_factory=lambda: deque(maxlen=4))
    last_activate: float = -1e9
    last_group: int = -1


def address(timing: DramTiming, burst: int, *, interleaved: bool = True) -> Request:
    """Return where burst number `burst` of a linear address space lies, as a read.

    Interleaved: bank group lowest, then column, bank, rank, row. Else column lowest, then bank of
    the group, group, rank, row: a stream stays in one bank group for a row.
    """
    columns = timing.page_bytes // timing.burst_bytes
    if interleaved:
        burst, group = divmod(burst, timing.bank_groups)
        burst, _ = divmod(burst, columns)
        burst, bank = divmod(burst, timing.banks_per_group)
    else:
        burst, _ = divmod(burst, columns)
        burst, bank = divmod(burst, timing.banks_per_group)
        burst, group = divmod(burst, timing.bank_groups)
    row, rank = divmod(burst, timing.ranks)
    return Request(rank, group, bank, row)


Bursts = list[tuple[int, bool]]
"""Numbers of bursts in a linear address space, in order of arrival, and whether each writes."""


def sequential_bursts(bursts: int) -> Bursts:
    """Return a sequential read of `bursts` bursts."""
    return [(burst, False) for burst in range(bursts)]


def chunk_bursts(timing: DramTiming, size: int, bursts: int, *, seed: int) -> Bursts:
    """Return reads of `size` bytes at random multiples of `size`, about `bursts` bursts in all."""
    draw = random.Random(seed)
    each = -(-size // timing.burst_bytes)
    starts = [draw.randrange(1 << 28) for _ in range(-(-bursts // each))]
    return [(start * each + offset, False) for start in starts for offset in range(each)]


def mixed_bursts(bursts: int, every: int) -> Bursts:
    """Return a sequential stream in which one of `every` bursts writes to another region."""
    found, written = [], 1 << 24
    for burst in range(bursts):
        write = burst % every == every - 1
        found.append((written if write else burst, write))
        written += write
    return found


def placed(timing: DramTiming, bursts: Bursts, *, interleaved: bool = True) -> list[Request]:
    """Return the requests of `bursts` under one of the two mappings of `address`."""
    return [
        replace(address(timing, burst, interleaved=interleaved), write=write)
        for burst, write in bursts
    ]


def sequential(timing: DramTiming, bursts: int, *, interleaved: bool = True) -> list[Request]:
    """Return the requests of `sequential_bursts`."""
    return placed(timing, sequential_bursts(bursts), interleaved=interleaved)


def chunks(
    timing: DramTiming, size: int, bursts: int, *, seed: int, interleaved: bool = True
) -> list[Request]:
    """Return the requests of `chunk_bursts`."""
    return placed(timing, chunk_bursts(timing, size, bursts, seed=seed), interleaved=interleaved)


def mixed(
    timing: DramTiming, bursts: int, every: int, *, interleaved: bool = True
) -> list[Request]:
    """Return the requests of `mixed_bursts`."""
    return placed(timing, mixed_bursts(bursts, every), interleaved=interleaved)


class Channel:
    """State of one channel while a trace is replayed."""

    def __init__(self, timing: DramTiming):
        self._timing = timing
        self._banks: dict[tuple[int, int, int], _Bank] = {}
        self._ranks = [_Rank() for _ in range(timing.ranks)]
        self._column = -1e9  # time of the last column command
        self._last: Request | None = None
        self._data_end = 0.0
        self._refresh_at = timing.t_refi
        self.now = 0.0

    def _bank(self, request: Request) -> _Bank:
        return self._banks.setdefault(request.place, _Bank())

    def open_row_of(self, request: Request) -> int | None:
        """Return the row that is open, or opening, in the request's bank."""
        return self._bank(request).row

    def open_row(self, request: Request) -> None:
        """Precharge and activate for `request` as early as its bank and rank allow."""
        timing, bank = self._timing, self._bank(request)
        if bank.row == request.row:
            return
        start = max(self.now, bank.activate_from)
        if bank.row is not None:
            start = max(start, max(self.now, bank.precharge_from) + timing.t_rp)
        rank = self._ranks[request.rank]
        spacing = timing.t_rrd_l if rank.last_group == request.group else timing.t_rrd_s
        start = max(start, rank.last_activate + spacing)
        if len(rank.activations) == 4:
            start = max(start, rank.activations[0] + timing.t_faw)
        rank.activations.append(start)
        rank.last_activate, rank.last_group = start, request.group
        bank.row = request.row
        bank.column_from = start + timing.t_rcd
        bank.precharge_from = start + timing.t_ras
        bank.activate_from = start + timing.t_rc

    def column_time(self, request: Request) -> float:
        """Return the earliest column command for `request`, whose row is open or opening."""
        timing, last = self._timing, self._last
        time = max(self.now, self._bank(request).column_from)
        if last is None:
            return time
        same_group = (last.rank, last.group) == (request.rank, request.group)
        time = max(time, self._column + (timing.t_ccd_l if same_group else timing.t_ccd_s))
        latency = timing.t_cwl if request.write else timing.t_cl
        gap = timing.t_rtrs if last.rank != request.rank else 0.0
        if request.write and not last.write:
            gap = max(gap, 2 * timing.t_ck)
        if last.write and not request.write:  # written data must be in before a read command
            time = max(time, self._data_end + timing.t_wtr)
        return max(time, self._data_end + gap - latency)

    def issue(self, request: Request) -> None:
        """Issue the column command of `request` and move time there."""
        timing, bank = self._timing, self._bank(request)
        time = self.column_time(request)
        self._data_end = time + (timing.t_cwl if request.write else timing.t_cl) + timing.burst_ns
        if request.write:
            bank.precharge_from = max(bank.precharge_from, self._data_end + timing.t_wr)
        else:
            bank.precharge_from = max(bank.precharge_from, time + timing.t_rtp)
        self._column, self._last, self.now = time, request, time

    def refresh_if_due(self) -> None:
        """Close all rows and refresh if the time has come."""
        if self.now < self._refresh_at:
            return
        timing = self._timing
        closed = max(
            [self.now, *(b.precharge_from for b in self._banks.values() if b.row is not None)]
        )
        done = closed + timing.t_rp + timing.t_rfc
        for bank in self._banks.values():
            bank.row, bank.activate_from = None, max(bank.activate_from, done)
        self.now = done
        self._refresh_at += timing.t_refi

    @property
    def data_end(self) -> float:
        """Time at which the last burst has passed the data bus."""
        return self._data_end


def replay(
    timing: DramTiming, trace: Iterable[Request], *, queue: int = 32, drain: int = 32
) -> float:
    """Return the share of peak that `trace` gets, first data to last.

    Parameters
    ----------
    timing
        The channel.
    trace
        Bursts in order of arrival, always available.
    queue
        Requests that the scheduler sees.
    drain
        Writes gathered before they are drained together.
    """
    channel, source = Channel(timing), iter(trace)
    reads: list[Request] = []
    writes: list[Request] = []
    draining, more, count = False, True, 0
    while True:
        while more and len(reads) < queue and len(writes) < drain:
            request = next(source, None)
            if request is None:
                more = False
            else:
                (writes if request.write else reads).append(request)
        if len(writes) >= drain or (not reads and writes):
            draining = True
        if not writes:
            draining = False
        window = writes if draining else reads
        if not window:
            return count * timing.burst_ns / channel.data_end
        channel.refresh_if_due()
        seen = window[:queue]
        wanted = {(request.place, request.row) for request in seen}
        for request in {r.place: r for r in reversed(seen)}.values():  # the oldest of every bank
            if (request.place, channel.open_row_of(request)) not in wanted:
                channel.open_row(request)
        ready = [request for request in seen if channel.open_row_of(request) == request.row]
        chosen = min(ready, key=channel.column_time)
        window.remove(chosen)
        channel.issue(chosen)
        count += 1
