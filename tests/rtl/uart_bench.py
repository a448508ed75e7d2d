"""cocotb benches of an engine behind its serial line, driven by the host's own code.

The host runs in a thread of its own; its port is the line, bit by bit. test_uart.py runs it.
"""

from __future__ import annotations

from collections import deque

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge, Timer
from generators import random_layer

from golden.linear import fbi_linear
from hw import uart
from hw.config import PRESETS
from signacc.fpga.host import EngineLink, LinkError

CONFIG = PRESETS["tiny"]
DIVISOR = 4
SILENCE = 200_000  # cycles


class Line:
    """The host's port: writes and reads the bits of the line."""

    def __init__(self, dut):
        self.dut = dut
        self.received: deque[int] = deque()
        dut.rx.value = 1

    async def listen(self) -> None:
        """Collect what the device sends, sampling bits in their middle."""
        while True:
            while self.dut.tx.value != 0:
                await RisingEdge(self.dut.clk)
            await ClockCycles(self.dut.clk, DIVISOR + DIVISOR // 2)
            byte = 0
            for i in range(8):
                byte |= int(self.dut.tx.value) << i
                await ClockCycles(self.dut.clk, DIVISOR)
            assert self.dut.tx.value == 1, "no stop bit"
            self.received.append(byte)

    @resume
    async def write(self, data: bytes) -> None:
        for byte in data:
            for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
                self.dut.rx.value = bit
                await ClockCycles(self.dut.clk, DIVISOR)

    @resume
    async def read(self, size: int) -> bytes:
        for _ in range(SILENCE // 10):
            if len(self.received) >= size:
                break
            await ClockCycles(self.dut.clk, 10)
        return bytes(self.received.popleft() for _ in range(min(size, len(self.received))))


async def start(dut) -> tuple[Line, EngineLink]:
    Clock(dut.clk, 10, unit="ns").start()
    line = Line(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2 * DIVISOR)
    cocotb.start_soon(line.listen())
    return line, EngineLink(line, CONFIG)


def expected(layer) -> np.ndarray:
    return fbi_linear(layer.x, layer.signs, layer.scale_in, layer.shift_in,
                      act_bits=CONFIG.act_bits).view(np.uint16)


@cocotb.test()
async def layers_equal_golden(dut) -> None:
    """Layers of several shapes, one after another; more bytes than the device buffers."""
    _, link = await start(dut)
    random = np.random.default_rng(1)
    for shape in ((2, 20, 9), (1, 1, 1), (1, 100, 40)):
        layer = random_layer(random, *shape)
        output = await bridge(link.linear)(layer.x, layer.signs, layer.scale_in, layer.shift_in)
        np.testing.assert_array_equal(output.view(np.uint16), expected(layer))
    assert await bridge(link.state)() == {
        "busy": False, "error": False, "overflow": False, "fault": False,
    }


@cocotb.test()
async def reset_in_mid_layer(dut) -> None:
    """After a reset nothing of a half-sent layer is left."""
    _, link = await start(dut)
    layer = random_layer(np.random.default_rng(2), 1, 30, 10)
    await bridge(link._send_items)("cmd", [30 | 10 << CONFIG.k_max.bit_length()])
    await bridge(link._send_items)("act", [0x3C003C00])
    assert (await bridge(link.state)())["busy"]
    await bridge(link.reset)()
    assert not (await bridge(link.state)())["busy"]
    output = await bridge(link.linear)(layer.x, layer.signs, layer.scale_in, layer.shift_in)
    np.testing.assert_array_equal(output.view(np.uint16), expected(layer))


@cocotb.test()
async def faults_are_told(dut) -> None:
    """An unknown first byte, an illegal command, and lost bytes; a reset clears them."""
    line, link = await start(dut)
    await bridge(line.write)(b"\x00")
    assert (await bridge(link.state)())["fault"]
    await bridge(link._send_items)("cmd", [0])  # k = 0
    assert (await bridge(link.state)())["error"]
    # Activations without a command: the engine takes two, the buffer its depth, the rest is lost.
    count = uart.BUFFER_BYTES // 6 + 40
    for _ in range(count):
        await bridge(line.write)(bytes([uart.FRAME | 1, 0]) + b"\x00" * 4)
    await Timer(1, unit="us")
    assert dut.overflow.value == 1


@cocotb.test()
async def silence_is_an_error(dut) -> None:
    """A device that does not answer ends in an error, not in a hang."""
    line, link = await start(dut)
    dut.rst.value = 1
    with pytest.raises(LinkError, match="the device does not answer"):
        await bridge(link.state)()
    assert not line.received
