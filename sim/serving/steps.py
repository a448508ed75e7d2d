"""Times of iterations in whole picoseconds: ``Machine.step`` rounded; runs of them at once.

A decode iteration of `b` sequences that attend to `s` positions in all is followed by one that
attends to `s + b`, as long as nobody joins or leaves. Prefix sums over such chains give the time of
any number of iterations by one subtraction, and the iteration that a given time falls into by
bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from ..errors import InputError
from ..system import Machine
from ..workload import Pass
from .requests import PS

CASES = ("low", "nominal", "high")
"""Bounds of a step's time."""

BIN = 1.01
"""Ratio of the edges of a bin of the histogram of gaps."""


def _edges() -> list[int]:
    edges, value = [], 1000  # 1 ns
    while value < 10**18:
        edges.append(value)
        value = int(value * BIN)
    return edges


EDGES = _edges()
"""Edges of bins of gaps between tokens, ps: bin i is from EDGES[i - 1] to below EDGES[i]."""
_EDGE_ARRAY = np.array(EDGES, dtype=np.int64)


def gap_bin(gap: int) -> int:
    """Return the bin of a gap in ps."""
    return bisect_right(EDGES, gap)


class DecodeRuns:
    """Decode iterations of one batch size.

    Parameters
    ----------
    batch
        Sequences.
    width
        Entries of a chain; positions attended to are below ``batch * (width - 1)``.
    sums
        For chain ``r = attended % batch``, entry ``r * width + q``: the time of the iterations at
        ``r, r + batch, ...`` before ``r + q * batch``, ps.
    bins
        Bins (see :data:`EDGES`) of the iteration at each place.
    """

    __slots__ = ("batch", "bins", "nbytes", "sums", "width")

    def __init__(self, batch: int, times: np.ndarray) -> None:
        chains, entries = times.shape
        sums = np.zeros((chains, entries + 1), dtype=np.int64)
        np.cumsum(times, axis=1, out=sums[:, 1:])
        bins = np.searchsorted(_EDGE_ARRAY, sums[:, 1:] - sums[:, :-1], side="right")
        padded = np.zeros(sums.shape, dtype=np.uint16)
        padded[:, :-1] = bins
        self.batch, self.width = batch, entries + 1
        # memoryviews give Python integers, faster than arrays do
        self.sums, self.bins = memoryview(sums.reshape(-1)), memoryview(padded.reshape(-1))
        self.nbytes = sums.nbytes + padded.nbytes

    def place(self, attended: int) -> int:
        """Return where the iteration that attends to `attended` positions stands."""
        rows, chain = divmod(attended, self.batch)
        return chain * self.width + rows

    def iterations(self, place: int, time: int, most: int) -> int:
        """Return the fewest iterations from `place` on that take at least `time` ps, or `most`."""
        sums = self.sums
        return bisect_left(sums, sums[place] + time, place + 1, place + most) - place

    def count_gaps(self, place: int, end: int, gaps: dict[int, int]) -> None:
        """Add the gaps of iterations from `place` to before `end`, one a sequence, to a histogram.

        Within a chain iterations only get longer, so equal bins lie side by side.
        """
        bins = self.bins
        last = bins[end - 1]
        while place < end:
            first = bins[place]
            until = end if first == last else bisect_right(bins, first, place, end)
            gaps[first] = gaps.get(first, 0) + (until - place) * self.batch
            place = until


class StepTimes:
    """What iterations of a machine take.

    Parameters
    ----------
    machine
        A model on a system of one pipeline stage.
    positions
        Positions that the KV cache holds: no pass attends to more at once.
    case
        ``low``, ``nominal`` or ``high``: which bound of a step's time to take.
    table_bytes
        Room for prefix sums; when it is full, those of the batch built first go.

    Raises
    ------
    InputError
        If the case is unknown, or the system is a pipeline of chips: its stages work on different
        passes at once, which is not simulated.
    """

    def __init__(
        self, machine: Machine, positions: int, case: str = "nominal",
        table_bytes: int = 512 * 1024 * 1024,
    ) -> None:
        if case not in CASES:
            raise InputError(f"a case of times is one of {', '.join(CASES)}, not {case!r}")
        if machine.system.stages > 1:
            raise InputError(
                f"serving needs a system of one pipeline stage (chips in tensor parallel), not "
                f"{machine.system.stages} stages"
            )
        self.machine, self.case, self._case = machine, case, CASES.index(case)
        self._positions, self._room = positions, table_bytes
        self._layers = machine.model.num_hidden_layers
        self._lanes, self._clock = machine.system.vector_lanes, machine.system.clock_hz
        self._latency = machine.system.vector_latency_cycles
        self._per_byte = machine.timer.seconds_per_byte["kv_read"][self._case]
        self._terms = tuple(
            (operator.macs, operator.vector_ops, operator.bytes)
            for operator in machine.shard.attention(1, 1)
        )
        self._fixed: dict[tuple[int, int], tuple[float, float, float]] = {}
        self._runs: dict[int, DecodeRuns] = {}

    def _parts(self, tokens: int, outputs: int) -> tuple[float, float, float]:
        key = (tokens, outputs)
        if key not in self._fixed:
            fixed, case = self.machine.fixed(tokens, outputs), self._case
            self._fixed[key] = fixed.first_s[case], fixed.layer_s[case], fixed.last_s[case]
        return self._fixed[key]

    def time(self, tokens: int, attended: int, cached: int, outputs: int) -> int:
        """Return the time of a pass (sums as in :class:`sim.workload.Pass`), ps."""
        first, layer, last = self._parts(tokens, outputs)
        lanes, latency, clock = self._lanes, self._latency, self._clock
        for macs, ops, amount in self._terms:  # as Machine.pass_time, one case of three
            cycles = -(-macs * attended // lanes) - (-ops * attended // lanes) + latency
            compute, memory = cycles / clock, amount * cached * self._per_byte
            layer += compute if compute > memory else memory
        return round((first + layer * self._layers + last) * PS)

    def runs(self, batch: int) -> DecodeRuns:
        """Return the decode iterations of `batch` sequences, computed once."""
        found = self._runs.get(batch)
        if found is None:
            found = DecodeRuns(batch, self._decode_times(batch))
            held = sum(runs.nbytes for runs in self._runs.values())
            while self._runs and held + found.nbytes > self._room:
                held -= self._runs.pop(next(iter(self._runs))).nbytes
            self._runs[batch] = found
        return found

    def _decode_times(self, batch: int) -> np.ndarray:
        """Return :meth:`time` of decode iterations, ``[attended % batch, attended // batch]``."""
        most = min(batch * self.machine.model.max_position_embeddings, self._positions)
        rows = np.arange(most // batch + 2, dtype=np.int64)
        attended = np.arange(batch, dtype=np.int64)[:, None] + batch * rows[None, :]
        first, layer, last = self._parts(batch, batch)
        lanes = self._lanes
        for macs, ops, amount in self._terms:
            cycles = -(-macs * attended // lanes) - (-ops * attended // lanes) + self._latency
            layer = layer + np.maximum(
                cycles / self._clock, amount * (attended - batch) * self._per_byte
            )
        return np.rint((first + layer * self._layers + last) * PS).astype(np.int64)


def pass_ps(machine: Machine, work: Pass, case: str = "nominal") -> int:
    """Return the time of one pass by ``Machine.step``, in ps: what :class:`StepTimes` must give."""
    return round(getattr(machine.step(work).time_s, case) * PS)
