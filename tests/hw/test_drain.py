# amaranth: UnusedElaboratable=no
"""The drain against exact rationals, under backpressure, and as late as it says."""

import random
from dataclasses import replace

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.config import EngineConfig
from hw.drain import Drain
from hw.tree import delay

from ..simulation import Clock, join, run
from .exact import exact_output, random_exponent, random_sums, random_total
from .window_model import reduce_shift_sum

BASE = EngineConfig(name="test", k_par=4, n_par=4, act_bits=8, k_max=40, n_max=64, out_par=2)
CONFIGS = [
    BASE,
    replace(BASE, n_par=1, out_par=1, act_bits=24, k_max=4),
    replace(BASE, n_par=3, out_par=3, act_bits=4, k_par=1, k_max=1),
    replace(BASE, n_par=6, out_par=1, act_bits=16, k_max=65536),
    replace(BASE, m_par=2, structure="tables", group=2),
    replace(BASE, n_par=6, out_par=3, m_par=5),
    replace(BASE, n_par=24, out_par=1, m_par=3),  # 72 chunks: three stages of selection
    replace(BASE, act_format="bf16"),
    replace(BASE, act_format="bf16", n_par=6, out_par=1, act_bits=16, k_max=65536, m_par=2),
    replace(BASE, around="blocks"),
    replace(BASE, around="blocks", n_par=6, out_par=1, act_bits=16, k_max=65536),
    replace(BASE, around="blocks", act_format="bf16"),
    replace(BASE, around="blocks", act_bits=24, k_max=65536),  # too wide for a block
]
IDS = [
    f"{c.n_par}/{c.out_par} A{c.act_bits} K{c.k_max} M{c.m_par} {c.act_format} {c.around}"
    for c in CONFIGS
]


class Bench(wiring.Component):
    """A drain whose chunks are chosen from `sums`, as late as the engine gives them."""

    def __init__(self, config):
        self.config = config
        self.drain = Drain(config)
        super().__init__({"sums": In(config.acc_bits * config.n_par * config.m_par)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.drain = drain = self.drain
        m.d.comb += drain.part_sums.eq(
            delay(
                m, self.sums.word_select(drain.part, len(drain.part_sums)),
                self.config.select_stages, "part_sums",
            )
        )  # fmt: skip
        return m


def command(config, source):
    """Return what a command's vectors have: a list of (exponent, shift sum, poison)."""
    vectors = []
    for _ in range(source.randint(1, config.m_par)):
        exponent = random_exponent(config, source)
        total = random_total(config, source, exponent)
        vectors.append((exponent, total, source.random() < 0.1))
    return vectors


def tile(config, source, vectors, last):
    """Return (vectors with their sums, count, last) of a tile of a command."""
    sums = [
        random_sums(config, source, exponent, total, config.n_par)
        for exponent, total, _ in vectors
    ]
    count = source.randint(1, config.n_par) if last else config.n_par
    return list(zip(sums, vectors, strict=True)), count, last


def expected(config, vectors, count, last):
    """Return the result chunks of a tile: lists of (data, keep, last, vector)."""
    chunks = []
    for number, (sums, (exponent, total, poison)) in enumerate(vectors):
        for start in range(0, count, config.out_par):
            data, keep = [], 0
            for lane in range(config.out_par):
                i = start + lane
                if i >= count:
                    data.append(0)
                    continue
                keep |= 1 << lane
                value = exact_output(config, sums[i], exponent, total)
                data.append(config.float.nan if poison else value)
            chunks.append((data, keep, int(last and start + config.out_par >= count), number))
    return chunks


def send_window(ctx, dut, config, given):
    """Put the window of a vector on the port, for one cycle."""
    ctx.set(dut.window_valid, given is not None)
    if given is None:
        return
    exponent, total, poison = given
    window = reduce_shift_sum(config, total, exponent)
    for name in ("base", "sticky"):
        ctx.set(dut.window[name], getattr(window, name))
    ctx.set(dut.window.place, window.place - config.place_offset)
    ctx.set(dut.window.poison, poison)
    for name in ("positive", "negative"):
        held = getattr(window, name)
        ctx.set(dut.window[name], {"kept": held.kept, "sticky": held.sticky, "drop": held.drop})


def show(ctx, bench, config, source, given):
    """Put a tile on the ports; sums of vectors that it does not have are noise."""
    vectors, count, last = given
    dut = bench.drain
    used = len(vectors) * config.n_par * config.acc_bits
    noise = source.getrandbits(len(bench.sums)) >> used
    packed = join([value for sums, _ in vectors for value in sums], config.acc_bits)
    ctx.set(bench.sums, packed | noise << used)
    ctx.set(dut.tile.vectors, len(vectors))
    ctx.set(dut.tile.count, count)
    ctx.set(dut.tile.only, count <= config.out_par)
    ctx.set(dut.tile.last, int(last))


def entry_at(ctx, config, dut):
    payload = ctx.get(dut.result.payload)
    number = payload.vector if config.m_par > 1 else 0
    return list(payload.data), payload.keep, payload.last, number


@pytest.mark.parametrize("ready", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_results(config, ready):
    seed = f"{config.act_bits} {ready}"
    source = random.Random(seed)
    outputs = config.n_par * (config.m_par + 1) // 2
    commands, tiles = [], []
    while len(tiles) < (700 if ready == 1 else 250) // (outputs + 3):
        commands.append(command(config, source))
        tiles += [
            tile(config, source, commands[-1], last)
            for last in [False] * source.choice([0, 0, 1, 3]) + [True]
        ]
    want = [chunk for t in tiles for chunk in expected(config, *t)]
    bench_dut = Bench(config)
    dut = bench_dut.drain
    got, taken_at, seen_at, freed = [], [], [], []

    async def bench(ctx):
        clock, rest, shown = Clock(ctx), list(reversed(tiles)), False
        windows = [vector for vectors in commands for vector in vectors]
        sent = 0
        held = None  # a chunk that was offered and not taken
        while len(got) < len(want):
            # Windows come before their tile or after it; not more than there is room for. A new one
            # is not there as soon as its slot is free: the front end takes longer than eight.
            send = sent < len(windows) and sent - sum(freed) < config.vector_slots - 8
            send = send and source.random() < 0.5
            send_window(ctx, dut, config, windows[sent] if send else None)
            if not shown and rest and source.random() < 0.8:
                show(ctx, bench_dut, config, source, rest.pop())
                shown = True
            ctx.set(dut.tile_valid, shown)
            if ctx.get(dut.tile_taken):
                assert shown
                # The windows that it needs had come a cycle before, or earlier.
                done = len(tiles) - len(rest)
                needed = [t for t in tiles[:done] if t[2]]
                needed_now = sum(len(t[0]) for t in needed) + (
                    0 if tiles[done - 1][2] else len(tiles[done - 1][0])
                )
                assert sent >= needed_now
                shown = False  # the next one may stand there in the next cycle
                taken_at.append(clock.cycle)
            count = ctx.get(dut.slots_freed)
            if count:
                freed.append(count)
            sent += send
            ctx.set(dut.result.ready, source.random() < ready)
            if ctx.get(dut.result.valid):
                assert ctx.get(dut.pending)
                entry = entry_at(ctx, config, dut)
                assert held in (None, entry)  # stable until it is taken
                held = entry
                if ctx.get(dut.result.ready):
                    held = None
                    got.append(entry)
                    seen_at.append(clock.cycle)
            else:
                assert held is None
            await clock.tick()
        assert not ctx.get(dut.pending)  # since the last one was taken

    run(bench_dut, bench)
    assert got == want, seed
    # A command's windows are given back with its last chunk.
    assert freed == [len(vectors) for vectors in commands]
    if ready == 1:
        # Each tile's last chunk is taken result_latency cycles after it entered the pipeline.
        ends, index = [], -1
        for t in tiles:
            index += len(expected(config, *t))
            ends.append(seen_at[index])
        delays = [end - taken for end, taken in zip(ends, taken_at, strict=True)]
        assert delays == [config.result_latency] * len(tiles)


@pytest.mark.parametrize("m_par", [1, 3])
def test_without_backpressure_a_chunk_leaves_every_cycle(m_par):
    """Tile after tile, vector after vector."""
    config = replace(BASE, n_par=32, out_par=1, m_par=m_par)
    source = random.Random(m_par)
    bench_dut = Bench(config)
    dut = bench_dut.drain
    vectors = [(3, random_total(config, source, 3), False) for _ in range(m_par)]
    given = tile(config, source, vectors, False)
    chunks, taken = 2 * m_par * 32, []

    async def bench(ctx):
        for vector in vectors:
            send_window(ctx, dut, config, vector)
            await ctx.tick()
        send_window(ctx, dut, config, None)
        clock = Clock(ctx)
        ctx.set(dut.result.ready, 1)
        show(ctx, bench_dut, config, source, given)
        ctx.set(dut.tile_valid, 1)
        while len(taken) < chunks:
            if clock.cycle < chunks:
                assert ctx.get(dut.tile_taken) == (clock.cycle in (chunks // 2 - 1, chunks - 1))
            if ctx.get(dut.result.valid):
                taken.append((clock.cycle, entry_at(ctx, config, dut)))
            await clock.tick()

    run(bench_dut, bench)
    want = expected(config, *given) * 2
    assert taken == [(config.result_latency + i, chunk) for i, chunk in enumerate(want)]


def test_what_is_not_taken_fits_the_queue():
    config = replace(BASE, n_par=64, out_par=1)
    depth = config.result_queue_depth
    bench_dut = Bench(config)
    dut = bench_dut.drain
    got, taken_at = [], []

    async def bench(ctx):
        vectors = [(48, 0, False)]  # a sum is its own value
        send_window(ctx, dut, config, vectors[0])
        await ctx.tick()
        send_window(ctx, dut, config, None)
        clock = Clock(ctx)
        show(ctx, bench_dut, config, random.Random(0), ([(list(range(64)), vectors[0])], 64, True))
        ctx.set(dut.tile_valid, 1)
        for _ in range(100):
            assert not ctx.get(dut.tile_taken)  # all but the queue's depth must wait
            await clock.tick()
        start = clock.cycle
        ctx.set(dut.result.ready, 1)
        while len(got) < 64:
            if ctx.get(dut.result.valid):
                got.append(ctx.get(dut.result.payload.data[0]))
            if ctx.get(dut.tile_taken):
                taken_at.append(clock.cycle - start)
            await clock.tick()

    assert depth < 64
    run(bench_dut, bench)
    assert got == [exact_output(config, i, 48, 0) for i in range(64)]
    # Chunk i enters in the cycle after chunk i - depth left; chunk 0 leaves in cycle 0.
    assert taken_at[0] == 63 - depth + 1


def test_a_tile_waits_for_all_its_windows():
    """Also when another command's windows are all that is there."""
    config = replace(BASE, m_par=2)
    bench_dut = Bench(config)
    dut = bench_dut.drain
    given = tile(config, random.Random(2), [(3, 5, False)] * 2, True)
    taken = []

    async def bench(ctx):
        clock = Clock(ctx)
        ctx.set(dut.result.ready, 1)
        show(ctx, bench_dut, config, random.Random(1), given)
        ctx.set(dut.tile_valid, 1)
        for cycle in range(60):
            send_window(ctx, dut, config, (3, 5, False) if cycle in (10, 20, 40, 41) else None)
            if ctx.get(dut.tile_taken):
                taken.append(cycle)
            await clock.tick()

    run(bench_dut, bench)
    chunks = 2 * -(-given[1] // config.out_par)
    assert taken == [20 + chunks, 41 + chunks]
