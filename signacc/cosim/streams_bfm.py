"""Bus-functional models of the engine's streams for cocotb: drivers, a monitor, and the clock loop.

One coroutine serves all ports of a cycle: it drives, waits for the rising edge, and reads what the
flops sampled. That is several times faster than a coroutine per port, and gives every transfer its
cycle number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from cocotb.triggers import RisingEdge

from sim.stalls import Gate


class StreamDriver:
    """Sends items over a stream into the design, stalled by a gate.

    An item is offered in the first open cycle and then held, valid and unchanged, until taken.
    """

    def __init__(self, dut, port: str):
        self.port = port
        self._payload = getattr(dut, f"{port}__payload")
        self._valid = getattr(dut, f"{port}__valid")
        self._ready = getattr(dut, f"{port}__ready")
        self._valid.value = 0
        self._offering = False
        self.items: deque[int] = deque()
        self.transfers: list[int] = []

    def start(self, items: Iterable[int], gate: Gate) -> None:
        """Queue `items` for a run that starts in cycle 0 of `gate`."""
        self.items = deque(items)
        self._gate = gate
        self.transfers = []

    def drive(self, cycle: int) -> None:
        """Set valid and payload for `cycle`."""
        if not self._offering and self.items and self._gate.is_open(cycle):
            self._payload.value = self.items[0]
            self._valid.value = 1
            self._offering = True

    def sample(self, cycle: int) -> None:
        """Note whether the offered item was taken in `cycle`."""
        if self._offering and self._ready.value == 1:
            self.items.popleft()
            self.transfers.append(cycle)
            self._offering = False
            if not (self.items and self._gate.is_open(cycle + 1)):
                self._valid.value = 0

    def abort(self) -> None:
        """Withdraw everything (for a reset in mid-operation)."""
        self.items.clear()
        self._valid.value = 0
        self._offering = False


class StreamMonitor:
    """Takes items from a stream out of the design; ready follows a gate.

    Checks the protocol: an offered item stays valid and unchanged until it is taken.
    """

    def __init__(self, dut, port: str):
        self.port = port
        self._payload = getattr(dut, f"{port}__payload")
        self._valid = getattr(dut, f"{port}__valid")
        self._ready = getattr(dut, f"{port}__ready")
        self._ready.value = 0
        self._is_ready = False
        self._waiting: int | None = None
        self.items: list[int] = []
        self.transfers: list[int] = []

    def start(self, gate: Gate) -> None:
        """Begin a run that starts in cycle 0 of `gate`."""
        self._gate = gate
        self.items = []
        self.transfers = []
        self._waiting = None

    def refuse(self) -> None:
        """Take nothing until the next run."""
        self._ready.value = 0
        self._is_ready = False

    def drive(self, cycle: int) -> None:
        """Set ready for `cycle`."""
        is_ready = self._gate.is_open(cycle)
        if is_ready != self._is_ready:
            self._ready.value = int(is_ready)
            self._is_ready = is_ready

    def sample(self, cycle: int) -> None:
        """Take the item of `cycle`, if there is one."""
        if self._valid.value != 1:
            assert self._waiting is None, f"cycle {cycle}: {self.port} withdrew an offered item"
            return
        payload = int(self._payload.value)
        assert self._waiting in (None, payload), f"cycle {cycle}: {self.port} changed its payload"
        if self._is_ready:
            self.items.append(payload)
            self.transfers.append(cycle)
            self._waiting = None
        else:
            self._waiting = payload


class EngineBench:
    """Clock loop over all ports of an engine."""

    def __init__(self, dut):
        self.dut = dut
        optional = ("weight", "scale")
        ports = ["cmd", "act", "coef"]
        ports += [port for port in optional if hasattr(dut, f"{port}__payload")]
        self.drivers = {port: StreamDriver(dut, port) for port in ports}
        self.result = StreamMonitor(dut, "result")
        self._edge = RisingEdge(dut.clk)

    async def reset(self, cycles: int = 1) -> None:
        """Hold reset for `cycles` rising edges; every stream is withdrawn."""
        for driver in self.drivers.values():
            driver.abort()
        if hasattr(self.dut, "load__payload"):
            self.dut.load__valid.value = 0
        self.dut.rst.value = 1
        for _ in range(cycles):
            await self._edge
        self.dut.rst.value = 0

    async def load(self, items: Iterable[int]) -> None:
        """Write weight beats with their places into the engine's memory, one a cycle."""
        for item in items:
            self.dut.load__payload.value = item
            self.dut.load__valid.value = 1
            await self._edge
            assert self.dut.load__ready.value == 1
            self.dut.load__valid.value = 0

    async def edge(self) -> None:
        """Wait for the next rising edge; reads then see what the flops sampled."""
        await self._edge

    async def idle(self, cycles: int = 1) -> None:
        """Let cycles pass without traffic: refuses results, offers nothing."""
        self.result.refuse()
        for _ in range(cycles):
            await self._edge

    async def run(self, *, until_results: int, limit: int, stop_at: int | None = None) -> int:
        """Run until `until_results` result chunks were taken; return the cycles used.

        `limit` cycles without reaching that are a failure (a hang); `stop_at` ends the run early
        on purpose.
        """
        drivers = tuple(self.drivers.values())
        cycle = 0
        while len(self.result.items) < until_results:
            if cycle == stop_at:
                break
            assert cycle < limit, (
                f"{len(self.result.items)} of {until_results} results after {limit} cycles: hang"
            )
            for driver in drivers:
                driver.drive(cycle)
            self.result.drive(cycle)
            await self._edge
            for driver in drivers:
                driver.sample(cycle)
            self.result.sample(cycle)
            cycle += 1
        return cycle
