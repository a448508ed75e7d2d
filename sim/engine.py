"""Engine timing, equal to the RTL's to the cycle.

The engine's control is a marked graph: queues of fixed depth, pipelines of fixed latency, and
credits. So every event's cycle is the maximum of the cycles of the events it waits for plus
constants, and the model is that recurrence, written once per block. Nothing here looks at the RTL;
``tests/cross`` compares the two.

Cycle 0 is the first cycle in which an idle engine's ports can transfer. In the equations, an event
"at cycle t" is the cycle in which the transfer happens; what it frees or fills is visible in t + 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hw.config import (
    BANKS,
    BIN_BANKS,
    PARTIAL_SUM_DISTANCE,
    QUANTIZE_LATENCY,
    TABLE_BANKS,
    VECTORS_AHEAD,
    EngineConfig,
)

from .stalls import NO_STALLS, Gate, StallPattern

_BEFORE = -1  # an event that never has to be waited for

Shape = tuple[int, int] | tuple[int, int, int] | tuple[int, int, int, int]
"""(K, N), (K, N, M) or (K, N, M, S) of a command.

M token vectors, 1 if not given; S inputs in a group with scales of its own, all if not given.
"""


@dataclass(frozen=True)
class VectorTiming:
    """When the token vectors of one command passed through the engine, all in cycles.

    Attributes
    ----------
    k, n, m
        Inputs and outputs of the layer; token vectors.
    command
        Cycle in which the front end took the command.
    quantize
        Cycle in which the quantizer took its last vector.
    first_beat, last_beat
        Cycles of its first and last weight beat.
    last_result
        Cycle of its last result transfer.
    """

    k: int
    n: int
    m: int
    command: int
    quantize: int
    first_beat: int
    last_beat: int
    last_result: int


@dataclass(frozen=True)
class EngineTiming:
    """Timing of a sequence of vectors that starts on an idle engine.

    Attributes
    ----------
    cycles
        From cycle 0 to the last result transfer, inclusive.
    beats
        Weight beats consumed.
    vectors
        One entry per command.
    """

    cycles: int
    beats: int
    vectors: tuple[VectorTiming, ...]

    @property
    def utilisation(self) -> float:
        """Share of cycles that consumed a weight beat."""
        return self.beats / self.cycles if self.cycles else 0.0


class _Source:
    """An input port with its register: when does item i become visible inside?"""

    def __init__(self, gate: Gate):
        self._gate = gate
        self._previous = _BEFORE
        self._taken = _BEFORE  # cycle of the latest pop

    def visible(self) -> int:
        """Return the first cycle in which the next item stands in the register."""
        offered = self._gate.next_open(self._previous + 1)
        self._previous = max(offered, self._taken)
        return self._previous + 1

    def pop(self, cycle: int) -> None:
        """Record that the item was taken in `cycle`."""
        self._taken = cycle


def simulate(
    config: EngineConfig,
    shapes: Iterable[Shape],
    stalls: StallPattern = NO_STALLS,
) -> EngineTiming:
    """Return the timing of commands ``(k, n)`` or ``(k, n, m)`` sent back to back.

    Inputs are available from cycle 0 on, as far as `stalls` lets them.

    Raises
    ------
    hw.config.ConfigError
        If a layer does not fit the engine.
    """
    commands = [
        (k, n, rest[0] if rest else 1, config.group_words(k, rest[1] if rest[1:] else k))
        for k, n, *rest in shapes
    ]
    for k, n, m, _ in commands:
        config.check_shape(k, n, m)
    timing = _Tables if config.words_outer else _Stationary
    ports = _FreePorts() if stalls.never else _Ports(stalls, resident=config.resident)
    vectors = _Timing(config, ports, timing).run(commands)
    return EngineTiming(
        cycles=vectors[-1].last_result + 1 if vectors else 0,
        beats=sum(config.beats(k, n) for k, n, *_ in commands),
        vectors=tuple(vectors),
    )


def vector_cycles(config: EngineConfig, shapes: Iterable[Shape]) -> int:
    """Return the cycles of :func:`simulate` without stalls."""
    return simulate(config, shapes).cycles


class _Quantizer:
    """The quantizer never waits once it has started, so one line gives each vector's times."""

    def __init__(self, config: EngineConfig):
        self._config = config
        self._idle_from = 0
        self.starts: list[int] = []
        self._chunk_starts: list[int] = []  # index of each vector's first chunk
        self._chunks = 0

    def run(self, k: int, last_chunk: int, bank_free_from: int) -> int:
        """Quantize a vector; return the cycle from which the sequencer can take it."""
        start = max(last_chunk + self._config.front_end_latency, self._idle_from, bank_free_from)
        steps = -(-k // self._config.k_par) * self._config.slots_per_word
        self._idle_from = start + steps + 1
        self.starts.append(start)
        self._chunk_starts.append(self._chunks)
        self._chunks += -(-k // self._config.act_par)
        return start + steps + QUANTIZE_LATENCY

    def chunk_read(self, index: int) -> int:
        """Return the cycle in which product chunk `index` (over all vectors) was read."""
        vector = len(self.starts) - 1
        while self._chunk_starts[vector] > index:
            vector -= 1
        return self.starts[vector] + 1 + index - self._chunk_starts[vector]

    def freed(self, index: int) -> int:
        """Return the first cycle in which chunk `index` finds room in the product buffer."""
        before = index - self._config.chunks_max
        return self.chunk_read(before) + 1 if before >= 0 else 0


class _Reducer:
    """The reducer: a fixed time for each vector, one after the other."""

    def __init__(self, config: EngineConfig):
        self._config = config
        self.done: list[int] = []  # cycle in which each vector's window came

    def run(self, last_chunk: int) -> None:
        """Reduce the next vector."""
        begin = last_chunk + self._config.front_end_latency
        if self.done:
            begin = max(begin, self.done[-1] + 1)
        self.done.append(begin + self._config.reduce_cycles)


class _Ports:
    """Ports under a stall pattern: every item is followed."""

    def __init__(self, stalls: StallPattern, *, resident: bool):
        self._resident = resident
        self._sources = {
            port: _Source(stalls.gate(port))
            for port in ("cmd", "act", "coef", "weight", "scale")
        }
        self._sink = stalls.gate("result")

    def command(self, earliest: int) -> int:
        return self._take("cmd", earliest)

    def chunk(self, earliest: int) -> int:
        act, coef = self._sources["act"], self._sources["coef"]
        cycle = max(earliest, act.visible(), coef.visible())
        act.pop(cycle)
        coef.pop(cycle)
        return cycle

    def weight(self, earliest: int) -> int:
        return earliest if self._resident else self._take("weight", earliest)

    def scale(self, earliest: int) -> int:
        return self._take("scale", earliest)

    def result(self, earliest: int) -> int:
        return self._sink.next_open(earliest)

    def _take(self, port: str, earliest: int) -> int:
        source = self._sources[port]
        cycle = max(earliest, source.visible())
        source.pop(cycle)
        return cycle


class _FreePorts(_Ports):
    """Ports that never stall.

    A register is then never what an event waits for, but for the very first item, which is
    visible in cycle 1.
    """

    def __init__(self) -> None:
        pass

    def command(self, earliest: int) -> int:
        return max(1, earliest)

    def chunk(self, earliest: int) -> int:
        return earliest

    def weight(self, earliest: int) -> int:
        return earliest

    def scale(self, earliest: int) -> int:
        return earliest

    def result(self, earliest: int) -> int:
        return earliest


class _Drain:
    """The drain: one chunk a cycle from a tile, while the result queue has room."""

    def __init__(self, config: EngineConfig, ports: _Ports):
        self._config = config
        self._ports = ports
        self._pop = self._result = _BEFORE
        self._results: list[int] = []  # cycles of the latest result transfers

    def tile(self, ready: int, outputs: int, vectors: int, *, emits: bool = True) -> int:
        """Drain a tile that is ready in cycle `ready`; return the cycle of its last chunk.

        The sums of a group that is not the last of its tile give no results.
        """
        depth = self._config.result_queue_depth
        for _ in range(vectors * -(-outputs // self._config.out_par)):
            room = self._results[-depth] + 1 if len(self._results) >= depth else 0
            self._pop = max(self._pop + 1, ready, room)
            if self._config.scales:
                self._pop = self._ports.scale(self._pop)
            if not emits:
                continue
            self._result = self._ports.result(
                max(self._result + 1, self._pop + self._config.result_latency)
            )
            self._results.append(self._result)
            if len(self._results) > 4 * depth:
                del self._results[:-depth]
        return self._pop

    @property
    def last_chunk(self) -> int:
        return self._pop

    @property
    def last_result(self) -> int:
        return self._result

    def full_tiles(self, ready: int, tiles: int, step: int, vectors: int) -> int:
        """Drain full tiles, ready `step` cycles apart, none of which waits for another."""
        chunks = vectors * self._config.n_par // self._config.out_par
        self._pop = ready + (tiles - 1) * step + chunks - 1
        self._result = self._pop + self._config.result_latency
        self._results = []
        return self._pop


class _Stationary:
    """Sequencer, array and hold register: words inside tiles."""

    def __init__(self, config: EngineConfig, ports: _Ports):
        self._config = config
        self._ports = ports
        self.drain = _Drain(config, ports)
        self._beat = _BEFORE
        self._hold_free_from = 0

    def run(
        self, k: int, n: int, m: int, s: int, usable: int, window: int
    ) -> tuple[int, int, int]:
        """Return first beat, last beat, and the cycle from which the bank is free.

        The drain can take sums from cycle `window` on.
        """
        config = self._config
        words, tiles = -(-k // config.k_par), -(-n // config.n_par)
        beat = max(usable, self._beat + 1)  # one idle cycle takes the batch
        first_beat = None
        for tile in range(tiles):
            outputs = min(config.n_par, n - tile * config.n_par)
            if isinstance(self._ports, _FreePorts) and 0 < tile < tiles - 1 and s >= words:
                # From one tile's last beat to the next: its beats, or the wait for the hold
                # register. All full tiles but the first are the same: one step for all of them.
                # The first may have waited for the window.
                step = max(words, config.array_latency + m * (config.n_par // config.out_par))
                if tile == 1:
                    second = max(beat + words, self._hold_free_from)
                    beat = second + (tiles - 3) * step
                    popped = self.drain.full_tiles(
                        second + config.array_latency, tiles - 2, step, m
                    )
                    self._hold_free_from = popped + 1
                continue
            for word in range(words):
                word_last = word == words - 1
                leaves = word_last or (word + 1) % s == 0
                if isinstance(self._ports, _FreePorts) and not leaves and word:
                    beat += 1
                    continue
                beat = self._ports.weight(max(beat + 1, self._hold_free_from if leaves else 0))
                first_beat = beat if first_beat is None else first_beat
                if leaves:
                    ready = max(beat + config.array_latency, window)
                    popped = self.drain.tile(ready, outputs, m, emits=word_last)
                    self._hold_free_from = popped + 1
        self._beat = beat
        return first_beat, beat, beat + 1


class _Tables:
    """Table maker, sequencer, array and tile queue: tiles inside words."""

    def __init__(self, config: EngineConfig, ports: _Ports):
        self._config = config
        self._ports = ports
        self.drain = _Drain(config, ports)
        self._beat = self._made = _BEFORE
        self._freed: list[int] = [_BEFORE] * TABLE_BANKS  # last beats of the latest words
        self._taken: list[int] = []  # cycles in which the drain was done with a tile

    def run(
        self, k: int, n: int, m: int, s: int, usable: int, window: int
    ) -> tuple[int, int, int]:
        """Return first beat, last beat, and the cycle from which the bank is free.

        The drain can take sums from cycle `window` on.
        """
        config = self._config
        words, tiles = -(-k // config.k_par), -(-n // config.n_par)
        gap = max(0, PARTIAL_SUM_DISTANCE - tiles)
        made = max(usable, self._made + 1)  # one idle cycle takes the batch
        beat = max(usable, self._beat + 1)
        first_beat = None
        for word in range(words):
            start = max(made + 1, self._freed[-TABLE_BANKS] + 1)
            made = start + config.table_cycles - 1
            ready = made + config.table_latency
            beat = max(beat + (gap if word else 0), ready - 1)
            for tile in range(tiles):
                last = word == words - 1
                if isinstance(self._ports, _FreePorts) and not last and tile:
                    beat += tiles - 1
                    break
                room = 0
                if last and len(self._taken) >= config.tile_slots:
                    room = self._taken[-config.tile_slots] + 1
                beat = self._ports.weight(max(beat + 1, room))
                first_beat = beat if first_beat is None else first_beat
                if last:
                    outputs = min(config.n_par, n - tile * config.n_par)
                    ready = max(beat + config.array_latency, window)
                    self._taken.append(self.drain.tile(ready, outputs, m))
            if len(self._taken) > 4 * config.tile_slots + 64:
                del self._taken[: -config.tile_slots]
            self._freed = [*self._freed[1:], beat]
        self._made, self._beat = made, beat
        return first_beat, beat, made + 1


class _Timing:
    """The whole engine: front end and quantizer, then one of the arrays."""

    def __init__(self, config: EngineConfig, ports: _Ports, array: type):
        self._config = config
        self._ports = ports
        self._array = array(config, ports)

    def run(self, commands: list[tuple[int, int, int, int]]) -> list[VectorTiming]:
        config, ports = self._config, self._ports
        quantizer, reducer = _Quantizer(config), _Reducer(config)
        drained: list[int] = []  # cycle of each vector's last chunk in the drain
        timings: list[VectorTiming] = []
        bank_free: list[int] = []
        last_chunk = _BEFORE
        chunk_index = 0
        for c, (k, n, m, s) in enumerate(commands):
            bank_free_from = bank_free[c - BANKS] if c >= BANKS else 0
            chunks = -(-k // config.act_par)
            for member in range(m):
                # Front end: idle, fewer than VECTORS_AHEAD vectors wait for the quantizer, and
                # there is a free bank of bins and a free slot for the window.
                v = len(quantizer.starts)
                taken = max(
                    last_chunk + 1,
                    *(
                        cycles[v - most] + 1
                        for cycles, most in (
                            (quantizer.starts, VECTORS_AHEAD),
                            (reducer.done, BIN_BANKS),
                            (drained, config.vector_slots),
                        )
                        if v >= most
                    ),
                    0,
                )
                if member == 0:
                    taken = command = ports.command(taken)
                last_chunk = taken
                if isinstance(ports, _FreePorts):
                    # Reads are at least a cycle apart, so the last chunk's room is the latest.
                    first_chunk = max(taken + 1, quantizer.freed(chunk_index))
                    last_chunk = max(
                        first_chunk + chunks - 1, quantizer.freed(chunk_index + chunks - 1)
                    )
                else:
                    for i in range(chunks):
                        last_chunk = ports.chunk(
                            max(last_chunk + 1, quantizer.freed(chunk_index + i))
                        )
                chunk_index += chunks
                usable = quantizer.run(k, last_chunk, 0 if member else bank_free_from)
                reducer.run(last_chunk)
            first_beat, last_beat, free_from = self._array.run(
                k, n, m, s, usable, reducer.done[-1] + 1
            )
            drained += [self._array.drain.last_chunk] * m
            bank_free.append(free_from)
            timings.append(
                VectorTiming(
                    k, n, m, command, quantizer.starts[-1], first_beat, last_beat,
                    self._array.drain.last_result,
                )
            )
        return timings
