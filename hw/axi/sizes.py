"""What a layer takes in memory, added up step by step rather than multiplied."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from ..config import EngineConfig
from .config import scale_item_bytes
from .frames import shape


def _less(m: Module, value: Signal, step, name: str) -> Signal:
    """Return ``max(value - step, 0)``."""
    difference = bind(m, value - step, name)
    return bind(m, Mux(difference[-1], 0, difference)[: len(value)], f"{name}_0")


class WeightTotal(wiring.Component):
    """Adds up what the weight beats of a layer take: one beat a word of k_par and tile of n_par.

    It takes ceil(K / k_par) + ceil(N / n_par) + 1 cycles.

    Parameters
    ----------
    config : EngineConfig
    units
        What a beat takes, by name: bytes, or places in the engine's memory.

    Members
    -------
    start : In
        Pulse, with `k` and `n`.
    busy : Out
        From the cycle after `start` on.
    <name> : Out
        The total, once not busy.
    """

    def __init__(self, config: EngineConfig, units: Mapping[str, int]):
        self.config = config
        self._units = dict(units)
        beats = config.beats(config.k_max, config.n_max)
        size = shape(config)
        super().__init__(
            {"start": In(1), "k": In(size["k"].shape), "n": In(size["n"].shape), "busy": Out(1)}
            | {name: Out((beats * unit).bit_length()) for name, unit in self._units.items()}
        )

    def elaborate(self, platform):
        """Build two counters and, for each unit, the sums of a tile and of all tiles."""
        m = Module()
        k_rest, n_rest = Signal.like(self.k), Signal.like(self.n)
        totals = {name: getattr(self, name) for name in self._units}
        tiles = {name: Signal.like(total, name=f"tile_{name}") for name, total in totals.items()}
        with m.If(self.start):
            m.d.sync += [k_rest.eq(self.k), n_rest.eq(self.n), self.busy.eq(1)]
            m.d.sync += [value.eq(0) for value in (*totals.values(), *tiles.values())]
        with m.Elif(k_rest.any()):
            m.d.sync += k_rest.eq(_less(m, k_rest, self.config.k_par, "k_less"))
            m.d.sync += [tiles[name].eq(tiles[name] + unit) for name, unit in self._units.items()]
        with m.Elif(n_rest.any()):
            m.d.sync += n_rest.eq(_less(m, n_rest, self.config.n_par, "n_less"))
            m.d.sync += [total.eq(total + tiles[name]) for name, total in totals.items()]
        with m.Else():
            m.d.sync += self.busy.eq(0)
        return m


def scale_bytes_max(config: EngineConfig) -> int:
    """Bytes of the output-axis scales of the largest layer."""
    groups = config.words_max if config.scale_out == "groups" else 1
    chunks = -(-config.n_max // config.out_par)
    return groups * chunks * scale_item_bytes(config)


class GroupTotal(wiring.Component):
    """Adds up the bytes of a layer's scales by groups: out_par scales a group and chunk of outputs.

    It takes ceil(K / (S k_par)) + ceil(N / n_par) + n_par / out_par + 1 cycles at most.

    Members
    -------
    start : In
        Pulse, with `k`, `n` and `s`, which must stay while it is busy.
    busy : Out
        From the cycle after `start` on.
    bytes : Out
        The total, once not busy.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        size = shape(config)
        super().__init__(
            {"start": In(1)}
            | {name: In(size[name].shape) for name in ("k", "n", "s")}
            | {"busy": Out(1), "bytes": Out(scale_bytes_max(config).bit_length())}
        )

    def elaborate(self, platform):
        """Build two counters, and the sums of a chunk, of a tile and of all."""
        m = Module()
        config = self.config
        item = scale_item_bytes(config)
        k_rest, n_rest = Signal.like(self.k), Signal.like(self.n)
        step = Signal(range(config.words_max * config.k_par + 1))
        chunk = Signal.like(self.bytes, name="chunk_bytes")
        tile = Signal.like(self.bytes, name="tile_bytes")
        whole = bind(m, n_rest >= config.n_par, "whole")
        m.d.sync += step.eq(self.s * config.k_par)
        with m.If(self.start):
            m.d.sync += [
                k_rest.eq(self.k), n_rest.eq(self.n), self.busy.eq(1),
                chunk.eq(0), tile.eq(0), self.bytes.eq(0),
            ]
        with m.Elif(k_rest.any()):
            m.d.sync += [
                k_rest.eq(_less(m, k_rest, step, "k_less")),
                chunk.eq(chunk + item),
                tile.eq(tile + item * (config.n_par // config.out_par)),
            ]
        with m.Elif(whole):
            m.d.sync += [n_rest.eq(n_rest - config.n_par), self.bytes.eq(self.bytes + tile)]
        with m.Elif(n_rest.any()):
            m.d.sync += [
                n_rest.eq(_less(m, n_rest, config.out_par, "n_less")),
                self.bytes.eq(self.bytes + chunk),
            ]
        with m.Else():
            m.d.sync += self.busy.eq(0)
        return m
