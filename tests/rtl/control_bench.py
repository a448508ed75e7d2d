"""cocotb tests of what random traffic does not reach: reset, bad commands, order of arrival.

Not named test_*: pytest must not collect it; test_control.py runs it on several engines and says
which one in $CONTROL_CONFIG.
"""

from __future__ import annotations

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from generators import golden_output, random_layer

from hw.config import EngineConfig
from signacc.cosim.bench import (
    command_payload,
    execute,
    result_chunks,
    unpack_results,
    vector_streams,
)
from signacc.cosim.job import LayerJob, Run
from signacc.cosim.streams_bfm import EngineBench
from sim.engine import simulate
from sim.stalls import NO_STALLS, StallPattern

CONFIG = EngineConfig.from_dict(json.loads(os.environ["CONTROL_CONFIG"]))


async def start(dut) -> EngineBench:
    bench = EngineBench(dut)
    Clock(dut.clk, 10, unit="ns").start()
    await bench.reset()
    return bench


async def check(bench: EngineBench, run: Run) -> None:
    """Execute `run`; values must equal golden's and cycles the simulator's."""
    result = await execute(bench, CONFIG, run)
    for layer, output in zip(run.layers, result.outputs, strict=True):
        expected = golden_output(CONFIG, layer)
        np.testing.assert_array_equal(output.view(np.uint16), expected.view(np.uint16))
    pattern = StallPattern(run.stall_seed, run.stall_probability)
    assert result.cycles == simulate(CONFIG, run.shapes(CONFIG.m_par), pattern).cycles


def layers(seed: int, *shapes: tuple[int, int, int]) -> list[LayerJob]:
    random = np.random.default_rng(seed)
    return [random_layer(random, *shape, ternary=CONFIG.ternary) for shape in shapes]


def compare(bench: EngineBench, parts: list[LayerJob]) -> None:
    """The results that were taken must be golden's for `parts`, and no more."""
    batches = [m for layer in parts for m in layer.batches(CONFIG.m_par)]
    vectors, _ = unpack_results(CONFIG, bench.result.items, batches)
    expected = [row for layer in parts for row in golden_output(CONFIG, layer)]
    assert vectors == [row.view(np.uint16).tolist() for row in expected]


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
    length = simulate(CONFIG, Run(parts).shapes(CONFIG.m_par)).cycles
    for stop in [*range(1, 60), *range(60, length, 13)]:
        load(bench, parts)
        await bench.run(until_results=10**6, limit=10**6, stop_at=stop)
        await bench.reset(cycles=1)
        await bench.idle()
        assert dut.busy.value == 0, f"busy after a reset in cycle {stop}"
        await check(bench, Run(layers(stop, (1, 21, 7))))


@cocotb.test()
async def bad_commands_are_dropped(dut) -> None:
    """K, N or M of zero or beyond the maximum: error is raised and stays, the next one is right."""
    bench = await start(dut)
    k_max, n_max, m_par = CONFIG.k_max, CONFIG.n_max, CONFIG.m_par
    all_ones = [(1 << limit.bit_length()) - 1 for limit in (k_max, n_max, m_par)]
    bad = [(0, 4, 1), (4, 0, 1), (0, 0, 1), (k_max + 1, 4, 1), (4, n_max + 1, 1)]
    bad.append((*all_ones[:2], 1))
    if m_par > 1:
        bad += [(4, 4, 0), (k_max, n_max, 0), (4, 4, m_par + 1), tuple(all_ones), (0, 0, 0)]
        bad += [(k_max + 1, 4, m_par), (4, 0, m_par)]
    for k, n, m in bad:
        await bench.reset()
        await bench.idle()
        assert dut.error.value == 0
        parts = layers(k + n + m, (m_par, 30, 10))
        load(bench, parts)
        bench.drivers["cmd"].items.appendleft(command_payload(CONFIG, k, n, m))
        total = result_chunks(CONFIG, Run(parts).shapes(m_par))
        await bench.run(until_results=total, limit=5000)
        assert dut.error.value == 1, f"no error for k={k}, n={n}, m={m}"
        compare(bench, parts)
        await check(bench, Run(layers(1, (1, 5, 5))))
        assert dut.error.value == 1, "error must stay until reset"


@cocotb.test()
async def busy_follows_vectors(dut) -> None:
    """busy rises with a command and falls after the last result, not before."""
    bench = await start(dut)
    assert dut.busy.value == 0
    parts = layers(3, (CONFIG.m_par + 1, 20, 9))  # two commands
    load(bench, parts)
    seen = []
    for cycle in range(600):
        for driver in bench.drivers.values():
            driver.drive(cycle)
        bench.result.drive(cycle)
        await bench.edge()
        seen.append(int(dut.busy.value))
        for driver in bench.drivers.values():
            driver.sample(cycle)
        bench.result.sample(cycle)
    timing = simulate(CONFIG, Run(parts).shapes(CONFIG.m_par))
    assert len(timing.vectors) == 2
    first = timing.vectors[0].command + 1
    last = timing.vectors[-1].last_result
    assert last < 590
    assert seen == [int(first <= cycle <= last) for cycle in range(600)]


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
        total = result_chunks(CONFIG, Run(parts).shapes(CONFIG.m_par))
        await bench.run(until_results=total, limit=20000)
        compare(bench, parts)
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
    total = result_chunks(CONFIG, Run(parts).shapes(CONFIG.m_par))
    await bench.run(until_results=total, limit=20000)
    assert bench.result.items[: len(held[0])] == held[0]
    compare(bench, parts)


@cocotb.test()
async def longest_and_shortest_vectors(dut) -> None:
    """K and N of 1 and of the maximum, back to back, in every order."""
    bench = await start(dut)
    big_k, big_n = CONFIG.k_max, CONFIG.n_max
    m = CONFIG.m_par
    sizes = [(1, 1, 1), (m, big_k, 1), (m, 1, big_n), (1, big_k, big_n)]
    for i in range(len(sizes)):
        await check(bench, Run(layers(i, *sizes[i:], *sizes[:i]), i, 0.2 * i))
