"""The array against integer sums: exact, and as late as it says."""

import random
from dataclasses import replace

import pytest

from hw.array import Array, Row
from hw.config import EngineConfig

from ..simulation import Clock, run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=40, n_max=8)
CONFIGS = [
    BASE,
    replace(BASE, k_par=1, n_par=1, act_bits=4, k_max=1, n_max=1),
    replace(BASE, k_par=7, n_par=3, act_bits=16, levels_per_stage=1),
    replace(BASE, k_par=8, n_par=2, act_bits=24, levels_per_stage=9),
    replace(BASE, k_par=9, n_par=1, act_bits=5, levels_per_stage=3, k_max=64),
]
IDS = [f"{c.k_par}x{c.n_par} A{c.act_bits} {c.tree_stages} stages" for c in CONFIGS]


def beats(config, source, count):
    """Yield (valid, first, last, word, weights): tiles of random length, with gaps of noise."""
    limit = 2 ** (config.act_bits - 1) - 1
    extreme = False
    left, first = 0, True
    for _ in range(count):
        if left == 0:
            left, first = source.randint(1, -(-config.k_max // config.k_par)), True
            extreme = source.random() < 0.3
        if source.random() < 0.3:
            noise = [source.randint(-limit, limit) for _ in range(config.k_par)]
            gap_bits = source.getrandbits(config.weight_beat_bits)
            yield 0, source.getrandbits(1), source.getrandbits(1), noise, gap_bits
            continue
        left -= 1
        if extreme:  # the largest sums of both signs
            word = [limit] * config.k_par
            weights = source.choice([0, (1 << config.weight_beat_bits) - 1])
        else:
            word = [source.randint(-limit, limit) for _ in range(config.k_par)]
            weights = source.getrandbits(config.weight_beat_bits)
        yield 1, int(first), int(left == 0), word, weights
        first = False


def signed_sum(config, word, weights, row):
    chosen = weights >> (row * config.k_par)
    return sum(v if chosen >> c & 1 else -v for c, v in enumerate(word))


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_sums_and_latency(config):
    source = random.Random(config.k_par)
    dut = Array(config)
    want, got = [], []  # (cycle, sums)

    async def bench(ctx):
        clock = Clock(ctx)
        totals = [0] * config.n_par
        drain = [(0, 0, 0, [0] * config.k_par, 0)] * (config.tree_stages + 2)
        for valid, first, last, word, weights in [*beats(config, source, 400), *drain]:
            for lane, value in enumerate(word):
                ctx.set(dut.word[lane], value)
            ctx.set(dut.weights, weights)
            for port, value in ((dut.valid, valid), (dut.first, first), (dut.last, last)):
                ctx.set(port, value)
            if valid:
                totals = [
                    (0 if first else totals[r]) + signed_sum(config, word, weights, r)
                    for r in range(config.n_par)
                ]
                if last:
                    want.append((clock.cycle + config.tree_stages, list(totals)))
            if ctx.get(dut.load):
                raw = ctx.get(dut.sums)
                half = 1 << (config.acc_bits - 1)
                parts = [(raw >> (r * config.acc_bits)) % (2 * half) for r in range(config.n_par)]
                got.append((clock.cycle, [p - 2 * half if p >= half else p for p in parts]))
            await clock.tick()

    run(dut, bench)
    assert len(want) >= 10
    assert got == want


def test_weight_bit_c_belongs_to_input_c():
    config = CONFIGS[2]
    dut = Row(config)
    word = [3**i for i in range(config.k_par)]  # every sign pattern has another sum
    patterns = [0, 1, 2, 64, 127, 0b1010101]
    sums = []

    async def bench(ctx):
        for lane, value in enumerate(word):
            ctx.set(dut.word[lane], value)
        ctx.set(dut.valid, 1)
        ctx.set(dut.first, 1)
        for pattern in [*patterns, *[0] * config.tree_stages]:
            ctx.set(dut.weights, pattern)
            sums.append(ctx.get(dut.sum))
            await ctx.tick()

    run(dut, bench)
    want = [sum(v if p >> c & 1 else -v for c, v in enumerate(word)) for p in patterns]
    assert sums[config.tree_stages :] == want
