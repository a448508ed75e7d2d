"""cocotb tests of what random traffic does not reach: reset, bad commands, order of arrival.

Not named test_*: pytest must not collect it; test_control.py runs it on a `tiny` engine.
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.clock import Clock
from generators import random_layer

from golden.linear import fbi_linear
from hw.config import PRESETS
from signacc.cosim.bench import command_payload, execute, result_chunks, vector_streams
from signacc.cosim.job import LayerJob, Run
from signacc.cosim.streams_bfm import EngineBench
from sim.engine import simulate
from sim.stalls import NO_STALLS, StallPattern

CONFIG = PRESETS["tiny"]


async def start(dut) -> EngineBench:
    bench = EngineBench(dut)
    Clock(dut.clk, 10, unit="ns").start()
    await bench.reset()
    return bench


async def check(bench: EngineBench, run: Run) -> None:
    """Execute `run`; values must equal golden's and cycles the simulator's."""
    result = await execute(bench, CONFIG, run)
    for layer, output in zip(run.layers, result.outputs, strict=True):
        expected = fbi_linear(
            layer.x, layer.signs, layer.scale_in, layer.shift_in, act_bits=CONFIG.act_bits
        )
        np.testing.assert_array_equal(output.view(np.uint16), expected.view(np.uint16))
    pattern = StallPattern(run.stall_seed, run.stall_probability)
    assert result.cycles == simulate(CONFIG, run.shapes, pattern).cycles


def layers(seed: int, *shapes: tuple[int, int, int]) -> list[LayerJob]:
    random = np.random.default_rng(seed)
    return [random_layer(random, *shape) for shape in shapes]


def load(bench: EngineBench, parts: list[LayerJob], pattern: StallPattern = NO_STALLS) -> None:
    """Queue `parts` on all ports without running."""
    streams = [vector_streams(CONFIG, layer) for layer in parts]
    for port, driver in bench.drivers.items():
        driver.start([item for s in streams for item in s[port]], pattern.gate(port))
    bench.result.start(pattern.gate("result"))


@cocotb.test()
async def reset_in_mid_operation(dut) -> None:
    """Reset at many moments of a run leaves no trace in the next one."""
    bench = await start(dut)
    parts = layers(11, (2, 60, 30), (1, 9, 5))
    length = simulate(CONFIG, Run(parts).shapes).cycles
    for stop in [*range(1, 60), *range(60, length, 13)]:
        load(bench, parts)
        await bench.run(until_results=10**6, limit=10**6, stop_at=stop)
        await bench.reset(cycles=1)
        await bench.idle()
        assert dut.busy.value == 0, f"busy after a reset in cycle {stop}"
        await check(bench, Run(layers(stop, (1, 21, 7))))


@cocotb.test()
async def bad_commands_are_dropped(dut) -> None:
    """K or N of zero or beyond the maximum: error is raised and stays, the next vector is right."""
    bench = await start(dut)
    for k, n in ((0, 4), (4, 0), (0, 0), (CONFIG.k_max + 1, 4), (4, CONFIG.n_max + 1), (511, 511)):
        await bench.reset()
        assert dut.error.value == 0
        (layer,) = layers(k + n, (1, 30, 10))
        load(bench, [layer])
        bench.drivers["cmd"].items.appendleft(command_payload(CONFIG, k, n))
        await bench.run(until_results=result_chunks(CONFIG, [(30, 10)]), limit=5000)
        assert dut.error.value == 1, f"no error for k={k}, n={n}"
        got = [item & 0xFFFF for item in bench.result.items]
        expected = fbi_linear(
            layer.x, layer.signs, layer.scale_in, layer.shift_in, act_bits=CONFIG.act_bits
        )
        assert got == expected.view(np.uint16)[0].tolist()
        await check(bench, Run(layers(1, (1, 5, 5))))
        assert dut.error.value == 1, "error must stay until reset"


@cocotb.test()
async def busy_follows_vectors(dut) -> None:
    """busy rises with a command and falls after the last result, not before."""
    bench = await start(dut)
    assert dut.busy.value == 0
    load(bench, layers(3, (2, 20, 9)))
    seen = []
    for cycle in range(400):
        for driver in bench.drivers.values():
            driver.drive(cycle)
        bench.result.drive(cycle)
        await bench.edge()
        seen.append(int(dut.busy.value))
        for driver in bench.drivers.values():
            driver.sample(cycle)
        bench.result.sample(cycle)
    timing = simulate(CONFIG, [(20, 9)] * 2)
    first = timing.vectors[0].command + 1
    last = timing.vectors[-1].last_result
    assert seen == [int(first <= cycle <= last) for cycle in range(400)]


@cocotb.test()
async def any_port_may_come_last(dut) -> None:
    """Each input port in turn stays silent until all others have filled up: nothing is lost."""
    bench = await start(dut)
    parts = layers(5, (3, 40, 20), (2, 7, 30))
    for late in bench.drivers:
        load(bench, parts)
        held, bench.drivers[late].items = bench.drivers[late].items, type(
            bench.drivers[late].items
        )()
        await bench.run(until_results=10**6, limit=10**6, stop_at=300)
        assert not bench.result.items, f"results without {late}"
        bench.drivers[late].items = held
        total = result_chunks(CONFIG, Run(parts).shapes)
        await bench.run(until_results=total, limit=20000)
        await check(bench, Run(layers(6, (1, 33, 6))))


@cocotb.test()
async def sink_that_never_reads(dut) -> None:
    """With results refused for long, the engine stops, and then goes on without loss."""
    bench = await start(dut)
    parts = layers(8, (3, 50, 40))
    load(bench, parts, StallPattern(0, {"result": 0.99}))
    await bench.run(until_results=10**6, limit=10**6, stop_at=2000)
    held = bench.result.items, bench.result.transfers
    bench.result._gate = NO_STALLS.gate("result")
    total = result_chunks(CONFIG, Run(parts).shapes)
    await bench.run(until_results=total, limit=20000)
    assert bench.result.items[: len(held[0])] == held[0]
    (layer,) = parts
    expected = fbi_linear(
        layer.x, layer.signs, layer.scale_in, layer.shift_in, act_bits=CONFIG.act_bits
    )
    got = [item & 0xFFFF for item in bench.result.items]
    assert got == expected.view(np.uint16).ravel().tolist()


@cocotb.test()
async def longest_and_shortest_vectors(dut) -> None:
    """K and N of 1 and of the maximum, back to back, in every order."""
    bench = await start(dut)
    big_k, big_n = CONFIG.k_max, CONFIG.n_max
    sizes = [(1, 1, 1), (1, big_k, 1), (1, 1, big_n), (1, big_k, big_n)]
    for i in range(len(sizes)):
        await check(bench, Run(layers(i, *sizes[i:], *sizes[:i]), i, 0.2 * i))
