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
    FRONT_END_LATENCY,
    INPUT_QUEUE_DEPTH,
    QUANTIZE_LATENCY,
    RESULT_LATENCY,
    RESULT_QUEUE_DEPTH,
    VECTORS_AHEAD,
    EngineConfig,
)

from .stalls import NO_STALLS, Gate, StallPattern

_BEFORE = -1  # an event that never has to be waited for


@dataclass(frozen=True)
class VectorTiming:
    """When one token vector passed through the engine, all in cycles.

    Attributes
    ----------
    k, n
        Its layer's inputs and outputs.
    command
        Cycle in which the front end took its command.
    quantize
        Cycle in which the quantizer took it.
    first_beat, last_beat
        Cycles of its first and last weight beat.
    last_result
        Cycle of its last result transfer.
    """

    k: int
    n: int
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
        One entry per vector.
    """

    cycles: int
    beats: int
    vectors: tuple[VectorTiming, ...]

    @property
    def utilisation(self) -> float:
        """Share of cycles that consumed a weight beat."""
        return self.beats / self.cycles if self.cycles else 0.0


class _Source:
    """An input port with its register slice: when does item i become visible inside?"""

    def __init__(self, gate: Gate):
        self._gate = gate
        self._previous = _BEFORE
        self._taken = [_BEFORE] * INPUT_QUEUE_DEPTH  # cycles of the latest pops

    def visible(self) -> int:
        """Return the first cycle in which the next item stands at the queue's output."""
        offered = self._gate.next_open(self._previous + 1)
        self._previous = max(offered, self._taken[-INPUT_QUEUE_DEPTH] + 1)
        return self._previous + 1

    def pop(self, cycle: int) -> None:
        """Record that the item was taken in `cycle`."""
        self._taken = [*self._taken[1:], cycle]


def simulate(
    config: EngineConfig,
    shapes: Iterable[tuple[int, int]],
    stalls: StallPattern = NO_STALLS,
) -> EngineTiming:
    """Return the timing of vectors of layers ``(k, n)`` sent back to back.

    Inputs are available from cycle 0 on, as far as `stalls` lets them.

    Raises
    ------
    hw.config.ConfigError
        If a layer does not fit the engine.
    """
    shapes = list(shapes)
    for k, n in shapes:
        config.check_shape(k, n)
    vectors = _unstalled(config, shapes) if stalls.never else _stalled(config, shapes, stalls)
    return EngineTiming(
        cycles=vectors[-1].last_result + 1 if vectors else 0,
        beats=sum(config.beats(k, n) for k, n in shapes),
        vectors=tuple(vectors),
    )


def vector_cycles(config: EngineConfig, shapes: Iterable[tuple[int, int]]) -> int:
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
        start = max(last_chunk + FRONT_END_LATENCY, self._idle_from, bank_free_from)
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


def _stalled(
    config: EngineConfig, shapes: list[tuple[int, int]], stalls: StallPattern
) -> list[VectorTiming]:
    """Evaluate the recurrence event by event."""
    command, act, coef, weight = (
        _Source(stalls.gate(port)) for port in ("cmd", "act", "coef", "weight")
    )
    sink = stalls.gate("result")
    quantizer = _Quantizer(config)
    vectors: list[VectorTiming] = []
    last_chunk = beat = pop = result = _BEFORE
    hold_free_from = 0
    results: list[int] = []  # cycles of all result transfers
    chunk_index = 0

    for v, (k, n) in enumerate(shapes):
        # Front end: idle, and fewer than VECTORS_AHEAD vectors wait for the quantizer.
        ahead = quantizer.starts[v - VECTORS_AHEAD] + 1 if v >= VECTORS_AHEAD else 0
        taken = max(command.visible(), last_chunk + 1, ahead)
        command.pop(taken)
        last_chunk = taken
        for _ in range(-(-k // config.act_par)):
            last_chunk = max(
                last_chunk + 1, act.visible(), coef.visible(), quantizer.freed(chunk_index)
            )
            act.pop(last_chunk)
            coef.pop(last_chunk)
            chunk_index += 1

        bank_free_from = vectors[v - BANKS].last_beat + 1 if v >= BANKS else 0
        start = quantizer.run(k, last_chunk, bank_free_from)

        # Sequencer: one idle cycle takes the vector, then one beat a cycle.
        beat = max(start, beat + 1)
        first_beat = None
        words = -(-k // config.k_par)
        for first_output in range(0, n, config.n_par):
            for word in range(words):
                ready = hold_free_from if word == words - 1 else 0
                beat = max(beat + 1, weight.visible(), ready)
                weight.pop(beat)
                first_beat = beat if first_beat is None else first_beat
            # Drain: one chunk a cycle from the hold register, while the queue has room.
            loaded = beat + config.array_latency
            outputs = min(config.n_par, n - first_output)
            for _ in range(-(-outputs // config.out_par)):
                index = len(results) - RESULT_QUEUE_DEPTH
                room = results[index] + 1 if index >= 0 else 0
                pop = max(pop + 1, loaded, room)
                result = sink.next_open(max(result + 1, pop + RESULT_LATENCY))
                results.append(result)
            hold_free_from = pop + 1
        vectors.append(
            VectorTiming(k, n, taken, quantizer.starts[v], first_beat, beat, result)
        )
    return vectors


def _unstalled(config: EngineConfig, shapes: list[tuple[int, int]]) -> list[VectorTiming]:
    """Evaluate the recurrence in closed form, a vector at a time.

    Without stalls a register slice is never what an event waits for, but for the very first item
    (visible in cycle 1); the result queue never fills; and within a tile nothing waits but the last
    beat, for the hold register.
    """
    quantizer = _Quantizer(config)
    vectors: list[VectorTiming] = []
    last_chunk = beat = _BEFORE
    hold_free_from = 0
    chunk_index = 0
    for v, (k, n) in enumerate(shapes):
        ahead = quantizer.starts[v - VECTORS_AHEAD] + 1 if v >= VECTORS_AHEAD else 0
        taken = max(1, last_chunk + 1, ahead)
        chunks = -(-k // config.act_par)
        # Reads are at least a cycle apart, so the last chunk's room is the latest of all.
        first_chunk = max(taken + 1, quantizer.freed(chunk_index))
        chunk_index += chunks
        last_chunk = max(first_chunk + chunks - 1, quantizer.freed(chunk_index - 1))

        bank_free_from = vectors[v - BANKS].last_beat + 1 if v >= BANKS else 0
        start = max(quantizer.run(k, last_chunk, bank_free_from), beat + 1)

        words = -(-k // config.k_par)
        tiles = -(-n // config.n_par)
        first_beat = max(start + 1, hold_free_from) if words == 1 else start + 1
        beat = max(start + words, hold_free_from)  # last beat of the first tile
        # From one tile's last beat to the next: its beats, or the wait for the hold register.
        drain = config.array_latency + config.n_par // config.out_par
        beat += (tiles - 1) * max(words, drain)
        pops = -(-(n - (tiles - 1) * config.n_par) // config.out_par)
        hold_free_from = beat + config.array_latency + pops
        last_result = hold_free_from - 1 + RESULT_LATENCY
        vectors.append(
            VectorTiming(k, n, taken, quantizer.starts[v], first_beat, beat, last_result)
        )
    return vectors
