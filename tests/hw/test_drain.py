"""The drain against exact rationals, under backpressure, and as late as it says."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from golden.reference import round_to_fp16
from hw.config import PRODUCT_BITS, RESULT_LATENCY, RESULT_QUEUE_DEPTH, EngineConfig, clog2
from hw.drain import Drain

from ..simulation import Clock, run

UNIT = Fraction(1, 2**48)
BASE = EngineConfig(name="test", k_par=4, n_par=4, act_bits=8, k_max=40, n_max=64, out_par=2)
CONFIGS = [
    BASE,
    replace(BASE, n_par=1, out_par=1, act_bits=24, k_max=4),
    replace(BASE, n_par=3, out_par=3, act_bits=4, k_par=1, k_max=1),
    replace(BASE, n_par=6, out_par=1, act_bits=16, k_max=65536),
]
IDS = [f"{c.n_par}/{c.out_par} A{c.act_bits} K{c.k_max}" for c in CONFIGS]


def tile(config, source, last):
    """Return (sums, exponent, shift_sum, poison, count, last) that an engine could make."""
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
    poison = source.random() < 0.1
    count = config.n_par if not last else source.randint(1, config.n_par)
    return sums, exponent, shift_sum, poison, count, last


def tie(below):
    """Return the midpoint above a float16 pattern, in units of 2**-48."""
    exponent = max(below >> 10, 1)
    mantissa = (below & 1023) + (1024 if below >> 10 else 0)
    return (2 * mantissa + 1) << (exponent - 2 + 25)


def expected(config, sums, exponent, shift_sum, poison, count, last):
    """Return the result chunks of a tile: lists of (data, keep, last)."""
    chunks = []
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
        chunks.append((data, keep, int(last and start + config.out_par >= count)))
    return chunks


@pytest.mark.parametrize("ready", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_results(config, ready):
    seed = f"{config.act_bits} {ready}"
    source = random.Random(seed)
    tiles = [tile(config, source, source.random() < 0.3) for _ in range(150 if ready == 1 else 60)]
    want = [chunk for t in tiles for chunk in expected(config, *t)]
    dut = Drain(config)
    got, freed_at, seen_at = [], [], []

    async def bench(ctx):
        clock, rest, free = Clock(ctx), list(reversed(tiles)), True
        held = None  # a chunk that was offered and not taken
        while len(got) < len(want):
            load = free and bool(rest) and source.random() < 0.8
            ctx.set(dut.load, load)
            if load:
                sums, exponent, shift_sum, poison, count, last = rest.pop()
                ctx.set(dut.sums, pack(config, sums))
                free = False
            else:
                ctx.set(dut.sums, source.getrandbits(len(dut.sums)))
            if load:  # stable from here to the end of the tile
                for port, value in (
                    (dut.tile.summary.exponent, exponent),
                    (dut.tile.summary.shift_sum, shift_sum),
                    (dut.tile.summary.poison, int(poison)),
                    (dut.tile.count, count),
                    (dut.tile.last, int(last)),
                ):
                    ctx.set(port, value)
            # Freed in the cycle of the last pop: the next load may come in the next cycle.
            if ctx.get(dut.hold_freed):
                assert not free
                free = True
                freed_at.append(clock.cycle)
            ctx.set(dut.result.ready, source.random() < ready)
            if ctx.get(dut.result.valid):
                payload = ctx.get(dut.result.payload)
                entry = (list(payload.data), payload.keep, payload.last)
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
        # Each tile's last chunk is taken RESULT_LATENCY cycles after it left the hold register.
        ends, index = [], -1
        for t in tiles:
            index += len(expected(config, *t))
            ends.append(seen_at[index])
        assert [end - freed for end, freed in zip(ends, freed_at, strict=False)] == [
            RESULT_LATENCY
        ] * len(tiles)


def pack(config, sums):
    mask = (1 << config.acc_bits) - 1
    return sum((value & mask) << (i * config.acc_bits) for i, value in enumerate(sums))


def test_without_backpressure_a_chunk_leaves_every_cycle():
    config = replace(BASE, n_par=64, out_par=1)
    dut = Drain(config)
    taken = []

    async def bench(ctx):
        clock = Clock(ctx)
        ctx.set(dut.result.ready, 1)
        ctx.set(dut.tile.count, 64)
        ctx.set(dut.load, 1)
        await clock.tick()
        ctx.set(dut.load, 0)
        while len(taken) < 64:
            if ctx.get(dut.result.valid):
                taken.append(clock.cycle)
            await clock.tick()

    run(dut, bench)
    # Loaded in cycle 0, in the hold register and popped in cycle 1.
    assert taken == list(range(1 + RESULT_LATENCY, 1 + RESULT_LATENCY + 64))


def test_what_is_not_taken_fits_the_queue():
    config = replace(BASE, n_par=64, out_par=1)
    dut = Drain(config)
    got = []

    async def bench(ctx):
        clock = Clock(ctx)
        ctx.set(dut.tile.count, 64)
        ctx.set(dut.tile.summary.exponent, 48)
        ctx.set(dut.sums, pack(config, range(64)))
        ctx.set(dut.load, 1)
        await clock.tick()
        ctx.set(dut.load, 0)
        for _ in range(100):
            assert not ctx.get(dut.hold_freed)  # 56 of 64 must wait
            await clock.tick()
        ctx.set(dut.result.ready, 1)
        while len(got) < 64:
            if ctx.get(dut.result.valid):
                got.append(ctx.get(dut.result.payload.data[0]))
            await clock.tick()

    assert RESULT_QUEUE_DEPTH < 64
    run(dut, bench)
    assert got == [round_to_fp16(Fraction(i)) for i in range(64)]
