"""The cocotb bench of signacc cosim: sends the runs of a job file through the engine.

It reads SIGNACC_JOB, writes SIGNACC_RESULTS, and appends a line to SIGNACC_PROGRESS as vectors
finish. It judges only the protocol (stable payloads, no hang, the right count of results); values
are compared with golden by the process that started it.
"""

from __future__ import annotations

import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock

from hw import streams
from hw.config import EngineConfig
from signacc.cosim.job import LayerJob, Run, RunResult, load_runs, save_results
from signacc.cosim.streams_bfm import EngineBench
from sim.stalls import StallPattern

_NAN = 0x7FFF


def command_payload(config: EngineConfig, k: int, n: int) -> int:
    """Return the payload of a command: k in the low bits, n above."""
    return k | n << config.k_max.bit_length()


def vector_streams(config: EngineConfig, layer: LayerJob) -> dict[str, list[int]]:
    """Return the payloads of every input port for all vectors of `layer`.

    What the engine must ignore is made as harmful as it can be: NaN in lanes past K, and ones for
    the weights of inputs and outputs that do not exist.
    """
    coefficients = streams.coefficient_chunks(
        config, layer.scale_in, layer.shift_in, padding=_NAN
    )
    beats = streams.payload_integers(
        streams.weight_beats(config, layer.signs, layer.k, padding=1)
    )
    return {
        "cmd": [command_payload(config, layer.k, layer.n)] * layer.m,
        "act": [
            chunk
            for x in layer.x
            for chunk in streams.activation_chunks(config, x, padding=_NAN)
        ],
        "coef": coefficients * layer.m,
        "weight": beats * layer.m,
    }


def result_chunks(config: EngineConfig, shapes: list[tuple[int, int]]) -> int:
    """Return how many result chunks vectors of `shapes` give; a tile starts a new chunk."""
    total = 0
    for _, n in shapes:
        full, rest = divmod(n, config.n_par)
        total += full * (config.n_par // config.out_par) + -(-rest // config.out_par)
    return total


def unpack_results(config: EngineConfig, items: list[int]) -> list[list[int]]:
    """Return the float16 patterns of each vector; checks `keep` against holes."""
    vectors: list[list[int]] = [[]]
    keep_at = 16 * config.out_par
    for item in items:
        keep = item >> keep_at & ((1 << config.out_par) - 1)
        count = keep.bit_count()
        assert count, "a result chunk must hold a result"
        assert keep == (1 << count) - 1, f"keep must be contiguous, not {keep:b}"
        unused = item & ((1 << keep_at) - 1) >> 16 * count << 16 * count
        assert not unused, "lanes without a result must be zero"
        vectors[-1] += [item >> 16 * lane & 0xFFFF for lane in range(count)]
        if item >> (keep_at + config.out_par) & 1:
            vectors.append([])
    assert not vectors.pop(), "results end without `last`"
    return vectors


async def execute(bench: EngineBench, config: EngineConfig, run: Run) -> RunResult:
    """Send one run through an idle engine and collect its results."""
    pattern = StallPattern(run.stall_seed, run.stall_probability)
    sent: dict[str, list[int]] = {port: [] for port in bench.drivers}
    for layer in run.layers:
        for port, items in vector_streams(config, layer).items():
            sent[port] += items
    for port, driver in bench.drivers.items():
        driver.start(sent[port], pattern.gate(port))
    bench.result.start(pattern.gate("result"))
    total = sum(len(items) for items in sent.values()) + result_chunks(config, run.shapes)
    limit = 200 * (total + 100)
    cycles = await bench.run(until_results=result_chunks(config, run.shapes), limit=limit)
    assert not any(driver.items for driver in bench.drivers.values()), "inputs were left over"

    vectors = unpack_results(config, bench.result.items)
    ends = [i for i, item in enumerate(bench.result.items)
            if item >> (17 * config.out_par) & 1]
    outputs = []
    position = 0
    for layer in run.layers:
        rows = vectors[position : position + layer.m]
        assert all(len(row) == layer.n for row in rows), f"{layer.name}: wrong count of results"
        outputs.append(np.array(rows, dtype=np.uint16).view(np.float16).reshape(layer.m, layer.n))
        position += layer.m
    assert position == len(vectors), "more vectors came out than went in"
    return RunResult(outputs, cycles, [bench.result.transfers[i] for i in ends])


@cocotb.test()
async def job(dut) -> None:
    """Execute all runs of the job file."""
    settings, runs = load_runs(Path(os.environ["SIGNACC_JOB"]))
    config = EngineConfig.from_dict(settings)
    bench = EngineBench(dut)
    Clock(dut.clk, 10, unit="ns").start()
    await bench.reset()
    results = []
    progress = os.environ.get("SIGNACC_PROGRESS")
    for run in runs:
        results.append(await execute(bench, config, run))
        assert dut.error.value == 0, "the engine reports an error"
        if progress:
            with Path(progress).open("a", encoding="utf-8") as handle:
                handle.write(f"{len(results)}\n")
    save_results(Path(os.environ["SIGNACC_RESULTS"]), results)
