# amaranth: UnusedElaboratable=no
"""The drain against exact rationals, under backpressure, and as late as it says."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from golden.reference import round_to_fp16
from hw.config import PRODUCT_BITS, EngineConfig, clog2
from hw.drain import Drain, TileHold

from ..simulation import Clock, join, run

UNIT = Fraction(1, 2**48)
BASE = EngineConfig(name="test", k_par=4, n_par=4, act_bits=8, k_max=40, n_max=64, out_par=2)
CONFIGS = [
    BASE,
    replace(BASE, n_par=1, out_par=1, act_bits=24, k_max=4),
    replace(BASE, n_par=3, out_par=3, act_bits=4, k_par=1, k_max=1),
    replace(BASE, n_par=6, out_par=1, act_bits=16, k_max=65536),
    replace(BASE, m_par=2),
    replace(BASE, n_par=6, out_par=3, m_par=5),
    replace(BASE, n_par=24, out_par=1, m_par=3),  # 72 chunks: three stages of selection
]
IDS = [f"{c.n_par}/{c.out_par} A{c.act_bits} K{c.k_max} M{c.m_par}" for c in CONFIGS]


def vector(config, source):
    """Return (sums, exponent, shift_sum, poison) of n_par outputs that an engine could make."""
    limit = config.k_max * (2 ** (config.act_bits - 1) - 1)
    most = config.k_max * (65504**2 << 48)
    exponent = source.randint(0, PRODUCT_BITS - 1 - (config.act_bits - 2))
    kind = source.randrange(6)
    if kind == 0:  # the extremes, which must not overflow
        sign = source.choice([-1, 1])
        sums = [source.choice([-limit, limit]) for _ in range(config.n_par)]
        exponent, shift_sum = PRODUCT_BITS - 1 - (config.act_bits - 2), sign * most
    else:
        widths = [source.randint(0, limit.bit_length() - 1) for _ in range(config.n_par)]
        sums = [source.choice([-1, 1]) * source.getrandbits(width) for width in widths]
        if kind in (1, 2):  # near a tie of float16, or near zero, for the first output
            below = source.randrange(0x7C00) if kind == 1 else 0
            target = tie(below) * source.choice([-1, 1]) + source.randint(-1, 1)
            if kind == 2:
                target = source.randint(-2, 2)
            exponent = min(exponent, 40)
            shift_sum = target - (sums[0] << exponent)
            if abs(shift_sum) > most:
                shift_sum = 0
        elif kind == 3:
            shift_sum = 0
        else:
            bits = source.randint(1, PRODUCT_BITS + clog2(config.k_max) - 1)
            shift_sum = source.choice([-1, 1]) * source.getrandbits(bits)
    return sums, exponent, shift_sum, source.random() < 0.1


def tile(config, source, last):
    """Return (vectors, count, last): what one to m_par vectors have of a tile."""
    vectors = [vector(config, source) for _ in range(source.randint(1, config.m_par))]
    return vectors, source.randint(1, config.n_par) if last else config.n_par, last


def tie(below):
    """Return the midpoint above a float16 pattern, in units of 2**-48."""
    exponent = max(below >> 10, 1)
    mantissa = (below & 1023) + (1024 if below >> 10 else 0)
    return (2 * mantissa + 1) << (exponent - 2 + 25)


def expected(config, vectors, count, last):
    """Return the result chunks of a tile: lists of (data, keep, last, vector)."""
    chunks = []
    for number, (sums, exponent, shift_sum, poison) in enumerate(vectors):
        for start in range(0, count, config.out_par):
            data, keep = [], 0
            for lane in range(config.out_par):
                i = start + lane
                if i >= count:
                    data.append(0)
                    continue
                keep |= 1 << lane
                value = round_to_fp16(((sums[i] << exponent) + shift_sum) * UNIT)
                data.append(0x7E00 if poison else value)
            chunks.append((data, keep, int(last and start + config.out_par >= count), number))
    return chunks


def pack(config, vectors):
    """Return the sums of a tile as the array gives them: a vector's outputs, then the next's."""
    return join([value for sums, *_ in vectors for value in sums], config.acc_bits)


def show(ctx, dut, config, source, given):
    """Put a tile on the ports; sums of vectors that it does not have are noise."""
    vectors, count, last = given
    noise = source.getrandbits(len(dut.sums)) >> (len(vectors) * config.n_par * config.acc_bits)
    used = len(vectors) * config.n_par * config.acc_bits
    ctx.set(dut.sums, pack(config, vectors) | noise << used)
    for i in range(config.m_par):
        summary = dut.tile.summaries[i]
        _, exponent, shift_sum, poison = vectors[i] if i < len(vectors) else (0, 77, -1, 1)
        ctx.set(summary.exponent, exponent)
        ctx.set(summary.shift_sum, shift_sum)
        ctx.set(summary.poison, int(poison))
    ctx.set(dut.tile.vectors, len(vectors))
    ctx.set(dut.tile.count, count)
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
    tiles = [
        tile(config, source, source.random() < 0.3)
        for _ in range((700 if ready == 1 else 250) // (outputs + 3))
    ]
    want = [chunk for t in tiles for chunk in expected(config, *t)]
    dut = Drain(config)
    got, taken_at, seen_at = [], [], []

    async def bench(ctx):
        clock, rest, shown = Clock(ctx), list(reversed(tiles)), False
        held = None  # a chunk that was offered and not taken
        while len(got) < len(want):
            if not shown and rest and source.random() < 0.8:
                show(ctx, dut, config, source, rest.pop())
                shown = True
            ctx.set(dut.tile_valid, shown)
            if ctx.get(dut.tile_taken):
                assert shown
                shown = False  # the next one may stand there in the next cycle
                taken_at.append(clock.cycle)
            ctx.set(dut.result.ready, source.random() < ready)
            if ctx.get(dut.result.valid):
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

    run(dut, bench)
    assert got == want, seed
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
    dut = Drain(config)
    given = [vector(config, source) for _ in range(m_par)], 32, True
    chunks, taken = 2 * m_par * 32, []

    async def bench(ctx):
        clock = Clock(ctx)
        ctx.set(dut.result.ready, 1)
        show(ctx, dut, config, source, given)
        ctx.set(dut.tile_valid, 1)
        while len(taken) < chunks:
            if clock.cycle < chunks:
                assert ctx.get(dut.tile_taken) == (clock.cycle in (chunks // 2 - 1, chunks - 1))
            if ctx.get(dut.result.valid):
                taken.append((clock.cycle, entry_at(ctx, config, dut)))
            await clock.tick()

    run(dut, bench)
    want = expected(config, *given) * 2
    assert taken == [(config.result_latency + i, chunk) for i, chunk in enumerate(want)]


def test_what_is_not_taken_fits_the_queue():
    config = replace(BASE, n_par=64, out_par=1)
    depth = config.result_queue_depth
    dut = Drain(config)
    got, taken_at = [], []

    async def bench(ctx):
        clock = Clock(ctx)
        given = [(list(range(64)), 48, 0, False)], 64, True
        show(ctx, dut, config, random.Random(0), given)
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
    run(dut, bench)
    assert got == [round_to_fp16(Fraction(i)) for i in range(64)]
    # Chunk i enters in the cycle after chunk i - depth left; chunk 0 leaves in cycle 0.
    assert taken_at[0] == 63 - depth + 1


@pytest.mark.parametrize("chance", [1.0, 0.4])
def test_a_tile_is_held_until_it_is_taken(chance):
    source = random.Random(chance)
    dut = TileHold(12)
    valid, held = False, None
    seen = []

    async def bench(ctx):
        nonlocal valid, held
        for _ in range(200):
            assert ctx.get(dut.tile_valid) == valid
            if valid:
                assert ctx.get(dut.tile_sums) == held
                seen.append(held)
            take = valid and source.random() < chance
            # The next tile may come in the very cycle in which this one is taken.
            load = (take or not valid) and source.random() < chance
            sums = source.getrandbits(12)
            ctx.set(dut.tile_taken, take)
            ctx.set(dut.sums_valid, load)
            ctx.set(dut.sums, sums)
            if load:
                valid, held = True, sums
            elif take:
                valid = False
            await ctx.tick()

    run(dut, bench)
    assert len(set(seen)) > 20
