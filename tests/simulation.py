"""Helpers for block tests in Amaranth's own simulator: no build, no Verilog."""

from __future__ import annotations

import random

from amaranth import Module
from amaranth.hdl import Value
from amaranth.sim import Simulator

NEVER = 20_000
"""Cycles after which a bench that waits for something has failed."""


def evaluate(module: Module, inputs: list, outputs: list, vectors: list) -> list:
    """Return the values of comb `outputs` for each vector of values of `inputs`."""
    results = []

    async def bench(ctx):
        for vector in vectors:
            for signal, value in zip(inputs, vector, strict=True):
                ctx.set(signal, value)
            results.append([ctx.get(signal) for signal in outputs])

    simulator = Simulator(module)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def run(dut, *benches) -> None:
    """Run `dut` at one clock until every bench, an ``async def bench(ctx)``, has returned."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def join(values, width: int) -> int:
    """Return signed or unsigned `values` side by side, `width` bits each, the first lowest."""
    mask = (1 << width) - 1
    return sum((value & mask) << (i * width) for i, value in enumerate(values))


def split_signed(raw: int, width: int, count: int) -> list[int]:
    """Return the `count` signed parts of `width` bits of `raw`: undoes join."""
    half = 1 << (width - 1)
    parts = [raw >> (i * width) & (2 * half - 1) for i in range(count)]
    return [part - 2 * half if part >= half else part for part in parts]


class Clock:
    """Counts cycles for one bench and stops one that waits for ever."""

    def __init__(self, ctx):
        self._ctx = ctx
        self.cycle = 0

    async def tick(self) -> None:
        """Go on to the next cycle."""
        assert self.cycle < NEVER, f"nothing happened in {NEVER} cycles"
        await self._ctx.tick()
        self.cycle += 1


class Source:
    """Offers payloads on a stream input, with random pauses, one call a cycle.

    The payload stays as it is until it is taken. Outside of a transfer it is noise.
    """

    def __init__(self, ctx, port, payloads: list[int], *, chance: float, seed: int):
        self._ctx, self._port = ctx, port
        self._rest = list(reversed(payloads))
        self._chance, self._random = chance, random.Random(seed)
        self._offered = False

    def offer(self) -> None:
        """Set valid and payload for this cycle."""
        payload = Value.cast(self._port.payload)
        if not self._offered:
            self._offered = bool(self._rest) and self._random.random() < self._chance
            value = self._rest[-1] if self._offered else self._random.getrandbits(len(payload))
            self._ctx.set(payload, value)
        self._ctx.set(self._port.valid, self._offered)

    def settle(self) -> bool:
        """Return whether the payload is taken in this cycle; call when all inputs stand."""
        taken = self._offered and bool(self._ctx.get(self._port.ready))
        if taken:
            self._rest.pop()
            self._offered = False
        return taken

    @property
    def done(self) -> bool:
        """Whether every payload was taken."""
        return not self._rest
