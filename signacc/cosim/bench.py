"""The cocotb bench of signacc cosim: sends the runs of a job file through the engine.

It reads SIGNACC_JOB, writes SIGNACC_RESULTS, and appends a line to SIGNACC_PROGRESS as vectors
finish. It judges only the protocol (stable payloads, no hang, the right count of results); values
are compared with golden by the process that started it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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


def command_payload(
    config: EngineConfig, k: int, n: int, m: int = 1, group_size: int = 0, weights_at: int = 0
) -> int:
    """Return the payload of a command: k in the low bits; n, m, words of a group, place of weights.
    """
    payload = k | n << config.k_max.bit_length()
    at = config.k_max.bit_length() + config.n_max.bit_length()
    if config.m_par > 1:
        payload |= m << at
        at += config.m_par.bit_length()
    if config.scale_out == "groups":
        payload |= config.group_words(k, group_size or k) << at
        at += config.words_max.bit_length()
    if config.resident:
        payload |= weights_at << at
    return payload


def vector_streams(
    config: EngineConfig, layer: LayerJob, *, weights_at: int = 0
) -> dict[str, list[int]]:
    """Return the payloads of every input port for all vectors of `layer`.

    With weights in the engine's memory, at `weights_at`, `load` takes the place of `weight`.

    What the engine must ignore is made as harmful as it can be: NaN in lanes past K, and ones for
    the weights of inputs and outputs that do not exist.
    """
    coefficients = streams.coefficient_chunks(
        config, layer.scale_in, layer.shift_in, padding=_NAN
    )
    beats = streams.payload_integers(
        streams.weight_beats(config, layer.signs, layer.k, mask=layer.mask, padding=1)
    )
    batches = layer.batches(config.m_par)
    if config.resident:
        width = config.weight_beat_bits
        weights = {"load": [beat | weights_at + i << width for i, beat in enumerate(beats)]}
    else:
        weights = {"weight": beats * len(batches)}
    scales = {}
    if config.scales:
        scales["scale"] = [
            chunk for m in batches for chunk in streams.scale_chunks(
                config, layer.scale_out, vectors=m, padding=_NAN
            )
        ]
    return {
        "cmd": [
            command_payload(config, layer.k, layer.n, m, layer.group_size, weights_at)
            for m in batches
        ],
        "act": [
            chunk
            for x in layer.x
            for chunk in streams.activation_chunks(config, x, padding=_NAN)
        ],
        "coef": coefficients * layer.m,
    } | scales | weights


def result_chunks(config: EngineConfig, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return how many result chunks commands of `shapes` give; a tile starts a new chunk."""
    total = 0
    for _, n, *more in shapes:
        full, rest = divmod(n, config.n_par)
        chunks = full * (config.n_par // config.out_par) + -(-rest // config.out_par)
        total += chunks * (more[0] if more else 1)
    return total


def unpack_results(
    config: EngineConfig, items: list[int], batches: Sequence[int]
) -> tuple[list[list[int]], list[int]]:
    """Return the bit patterns of each vector, and the index of each command's last chunk.

    `batches` says how many vectors each command has. Checks `keep` against holes, and that the
    vectors of a command take turns tile by tile.
    """
    keep_at = 16 * config.out_par
    last_at = keep_at + config.out_par
    vectors: list[list[int]] = []
    ends: list[int] = []
    position = 0
    for m in batches:
        members: list[list[int]] = [[] for _ in range(m)]
        open_members = set(range(m))
        current, in_tile = 0, 0
        while open_members:
            assert position < len(items), "results end without `last`"
            item = items[position]
            member = item >> (last_at + 1)
            assert member == current, f"results of vector {member} where {current}'s were due"
            keep = item >> keep_at & ((1 << config.out_par) - 1)
            count = keep.bit_count()
            assert count, "a result chunk must hold a result"
            assert keep == (1 << count) - 1, f"keep must be contiguous, not {keep:b}"
            unused = item & ((1 << keep_at) - 1) >> 16 * count << 16 * count
            assert not unused, "lanes without a result must be zero"
            members[member] += [item >> 16 * lane & 0xFFFF for lane in range(count)]
            in_tile += count
            if item >> last_at & 1:
                open_members.remove(member)
            if item >> last_at & 1 or in_tile == config.n_par:
                current, in_tile = (current + 1) % m, 0
            position += 1
        vectors += members
        ends.append(position - 1)
    assert position == len(items), "more results came out than were asked for"
    return vectors, ends


async def execute(bench: EngineBench, config: EngineConfig, run: Run) -> RunResult:
    """Send one run through an idle engine and collect its results."""
    pattern = StallPattern(run.stall_seed, run.stall_probability)
    sent: dict[str, list[int]] = {port: [] for port in bench.drivers}
    place = 0
    for layer in run.layers:
        streams_of_layer = vector_streams(config, layer, weights_at=place)
        loaded = streams_of_layer.pop("load", [])
        await bench.load(loaded)
        place += len(loaded)
        for port, items in streams_of_layer.items():
            sent[port] += items
    for port, driver in bench.drivers.items():
        driver.start(sent[port], pattern.gate(port))
    bench.result.start(pattern.gate("result"))
    chunks = result_chunks(config, run.shapes(config.m_par))
    # Every step of table making, every input and every result, if 199 cycles of 200 stall; the
    # time of the reducer, which does not.
    steps = sum(-(-k // config.k_par) for k, *_ in run.shapes(config.m_par)) * config.table_cycles
    steps += sum(layer.m for layer in run.layers) * config.reduce_cycles
    limit = 200 * (sum(len(items) for items in sent.values()) + chunks + steps + 200)
    cycles = await bench.run(until_results=chunks, limit=limit)
    assert not any(driver.items for driver in bench.drivers.values()), "inputs were left over"

    batches = [m for layer in run.layers for m in layer.batches(config.m_par)]
    vectors, ends = unpack_results(config, bench.result.items, batches)
    outputs = []
    position = 0
    for layer in run.layers:
        rows = vectors[position : position + layer.m]
        assert all(len(row) == layer.n for row in rows), f"{layer.name}: wrong count of results"
        patterns = np.array(rows, dtype=np.uint16).reshape(layer.m, layer.n)
        outputs.append(patterns.view(layer.x.dtype))
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
