"""The host and the device in one process: the line is simulated bit by bit.

`tests/rtl/uart_bench.py` does the same with the Verilog; here stand the engines that it has not.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.errors import InputError
from hw.config import PRESETS, ConfigError, EngineConfig
from hw.uart import UartEngine
from signacc.fpga.host import EngineLink

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "rtl"))
from generators import golden_output, random_fp16, random_layer, with_scales

DIVISOR = 4
SILENCE = 20_000  # cycles


class Port:
    """A serial port whose device is simulated as far as the host waits for it."""

    def __init__(self, config: EngineConfig):
        self._dut = UartEngine(config, divisor=DIVISOR)
        self._to_send: deque[int] = deque()
        self._received: deque[int] = deque()
        self._cycle = 0
        self._simulator = Simulator(self._dut)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._send, background=True)
        self._simulator.add_testbench(self._receive, background=True)

    async def _send(self, ctx) -> None:
        while True:
            if not self._to_send:
                await ctx.tick()
                continue
            byte = self._to_send.popleft()
            for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
                ctx.set(self._dut.rx, bit)
                await ctx.tick().repeat(DIVISOR)

    async def _receive(self, ctx) -> None:
        while True:
            if ctx.get(self._dut.tx):
                await ctx.tick()
                self._cycle += 1
                continue
            await ctx.tick().repeat(DIVISOR + DIVISOR // 2)
            byte = 0
            for i in range(8):
                byte |= ctx.get(self._dut.tx) << i
                await ctx.tick().repeat(DIVISOR)
            self._cycle += DIVISOR * 9
            assert ctx.get(self._dut.tx), "no stop bit"
            self._received.append(byte)

    def write(self, data: bytes) -> None:
        self._to_send += data

    def read(self, size: int) -> bytes:
        end = self._cycle + SILENCE
        while len(self._received) < size and self._cycle < end:
            self._simulator.advance()
        return bytes(self._received.popleft() for _ in range(min(size, len(self._received))))


SMALL = {"k_par": 4, "n_par": 2, "m_par": 2, "act_bits": 6, "k_max": 20, "n_max": 8, "act_par": 2}
CONFIGS = [
    EngineConfig(name="groups", scale_out="groups", **SMALL),
    EngineConfig(name="row", scale_out="row", structure="tables", group=2, ternary=True, **SMALL),
    EngineConfig(
        name="resident", scale_out="groups", structure="shared", group=2, weights="memory",
        weight_words=30, **SMALL,
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_layers_equal_golden(config):
    """Several tiles and groups, more vectors than one command carries."""
    link = EngineLink(Port(config), config)
    random = np.random.default_rng(1)
    layer = random_layer(random, 1 if config.resident else 3, 10, 5, ternary=config.ternary)
    layer = with_scales(random, config, layer)
    if config.scale_out == "groups":
        layer = replace(layer, scale_out=random_fp16(random, (5, 2), "normal"), group_size=8)
    places: list[int | None] = [None]
    if config.resident:
        assert link.load(layer.signs, layer.k, at=7) == 16
        places = [7, None]
    for place in places:
        output = link.linear(
            layer.x, layer.signs, layer.scale_in, layer.shift_in, mask=layer.mask,
            scale_out=layer.scale_out, group_size=layer.group_size, weights_at=place,
        )
        np.testing.assert_array_equal(
            output.view(np.uint16), golden_output(config, layer).view(np.uint16)
        )
    assert not any(link.state().values())


class Nowhere:
    """A port that must not be used."""

    def write(self, data: bytes) -> None:
        raise AssertionError("something was sent")

    def read(self, size: int) -> bytes:
        raise AssertionError("something was read")


def arguments(config: EngineConfig, n: int = 5) -> dict:
    random = np.random.default_rng(2)
    layer = with_scales(random, config, random_layer(random, 1, 10, n, ternary=config.ternary))
    return {
        "x": layer.x, "signs": layer.signs, "scale_in": layer.scale_in,
        "shift_in": layer.shift_in, "scale_out": layer.scale_out,
        "group_size": layer.group_size,
    }


def test_scales_that_are_missing_or_too_many():
    groups, _, _ = CONFIGS
    link = EngineLink(Nowhere(), groups)
    given = arguments(groups)
    with pytest.raises(InputError, match=r"which groups has as groups$"):
        link.linear(**given | {"scale_out": None})
    scales = np.ones((5, 4), np.float16)
    with pytest.raises(InputError, match=r"a shape of 5 by 3 groups, not \(5, 4\)"):
        link.linear(**given | {"scale_out": scales, "group_size": 4})
    with pytest.raises(InputError, match=r"a shape of 5 by 3 groups, not \(5,\)"):
        link.linear(**given | {"scale_out": np.ones(5, np.float16), "group_size": 4})
    with pytest.raises(ConfigError, match="multiple of k_par = 4 inputs, not 6"):
        link.linear(**given | {"group_size": 6})
    plain = EngineLink(Nowhere(), PRESETS["tiny"])
    with pytest.raises(InputError, match=r"which tiny has as none$"):
        plain.linear(**given)


def test_places_that_are_not_there():
    groups, _, resident = CONFIGS
    link = EngineLink(Nowhere(), resident)
    given = arguments(resident)  # 3 words, 3 tiles
    with pytest.raises(InputError, match="the 30 beats that resident holds, not at 22 to 31"):
        link.linear(**given, weights_at=22)
    with pytest.raises(InputError, match="not at -1 to 8"):
        link.load(given["signs"], 10, at=-1)
    link = EngineLink(Nowhere(), groups)
    with pytest.raises(InputError, match="a load needs an engine with weights in memory, not grou"):
        link.load(given["signs"], 10)
    with pytest.raises(InputError, match="weights_at needs an engine with weights in memory"):
        link.linear(**given, weights_at=0)
