"""The quantizer against exact rationals: round to even, saturate, pad, in time."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from hw.config import BANKS, QUANTIZE_LATENCY, EngineConfig
from hw.quantizer import Quantizer

from ..simulation import Clock, run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)
CONFIGS = [
    BASE,
    replace(BASE, act_par=1, act_bits=16),
    replace(BASE, act_par=4, act_bits=4, k_max=5),
    replace(BASE, k_par=1, act_par=1, act_bits=24, k_max=2),
    replace(BASE, k_par=3, act_par=3, act_bits=12, k_max=10),
]
IDS = [f"{c.k_par}/{c.act_par} A{c.act_bits} K{c.k_max}" for c in CONFIGS]


def product(config, source, exponent):
    """Return (magnitude, shift, negative), an exact product that `exponent` allows."""
    if source.random() < 0.1:
        return 0, source.randint(0, 58), source.getrandbits(1)
    width = exponent + config.act_bits - 1  # bits of the largest product, in units of 2**-48
    if source.random() < 0.5:  # at or beside a tie, or at the edge of saturation
        q = source.choice([source.getrandbits(config.act_bits - 1), 2 ** (config.act_bits - 1) - 1])
        value = (2 * q + 1) << exponent >> 1
        shift = min(max(exponent - 1 - source.randint(0, 8), 0), 58)
        value = (value >> shift) + source.randint(-1, 1)
        if 0 < value < 1 << 22 and value << shift < 1 << width:
            return value, shift, source.getrandbits(1)
    shift = source.randint(0, max(min(58, width - 1), 0))
    limit = min(22, width - shift)
    return source.getrandbits(source.randint(1, limit)), shift, source.getrandbits(1)


def quantized(config, exponent, magnitude, shift, negative):
    value = round(Fraction(magnitude) * Fraction(2) ** (shift - exponent))
    value = min(value, 2 ** (config.act_bits - 1) - 1)
    return -value if negative else value


@pytest.mark.parametrize("chance", [1.0, 0.3])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_words_and_latency(config, chance):
    seed = f"{config.act_bits} {chance}"
    source = random.Random(seed)
    vectors = []
    for _ in range(60):
        exponent = source.choice([0, source.randint(0, 81 - config.act_bits)])
        k = source.randint(1, config.k_max)
        vectors.append((exponent, [product(config, source, exponent) for _ in range(k)]))
    dut = Quantizer(config)
    writes, finished, delays = [], [], []

    async def bench(ctx):
        clock = Clock(ctx)
        rest, full, ends = list(reversed(vectors)), 0, []
        chunks = iter([
            # The front end makes lanes past K zero.
            (products[i : i + config.act_par] + [(0, 0, 0)] * config.act_par)[: config.act_par]
            for _, products in vectors
            for i in range(0, len(products), config.act_par)
        ])
        asked, offered = False, False
        while len(finished) < len(vectors) or clock.cycle < ends[-1] + 5:
            if asked:
                for lane, values in enumerate(next(chunks)):
                    for name, value in zip(("magnitude", "shift", "negative"), values, strict=True):
                        ctx.set(getattr(dut.product[lane], name), value)
            else:  # between chunks the buffer shows something else
                for lane in range(config.act_par):
                    ctx.set(dut.product[lane].magnitude, source.getrandbits(22))
            offered = offered or (bool(rest) and source.random() < chance)
            ctx.set(dut.source_valid, offered)
            if offered:
                exponent, products = rest[-1]
                ctx.set(dut.source.summary.exponent, exponent)
                ctx.set(dut.source.summary.poison, len(rest) % 2)
                ctx.set(dut.source.summary.shift_sum, -len(rest))
                ctx.set(dut.source.layer.k, len(products))
                ctx.set(dut.source.layer.n, len(rest) % 8 + 1)
            freed = full > 0 and source.random() < chance
            ctx.set(dut.bank_freed, freed)
            full -= freed
            if ctx.get(dut.source_taken):
                assert offered
                steps = -(-len(rest.pop()[1]) // config.k_par) * config.slots_per_word
                ends.append(clock.cycle + steps)  # the first step is in the next cycle
                offered = False
            asked = ctx.get(dut.chunk_freed)
            if ctx.get(dut.write_valid):
                slot = ctx.get(dut.write_slot) if config.slots_per_word > 1 else 0
                raw = ctx.get(dut.write_data)
                writes.append((ctx.get(dut.write_addr), slot, raw))
            if ctx.get(dut.vector_valid):
                delays.append(clock.cycle - ends[len(finished)])
                v = ctx.get(dut.vector)
                finished.append((v.layer.k, v.layer.n, v.summary.exponent, v.summary.poison,
                                 v.summary.shift_sum))  # fmt: skip
                full += 1
            assert full <= BANKS
            await clock.tick()
        assert next(chunks, None) is None  # each chunk was asked for once

    run(dut, bench)
    want_writes, want_finished = [], []
    for index, (exponent, products) in enumerate(vectors):
        words = -(-len(products) // config.k_par)
        q = [quantized(config, exponent, *p) for p in products]
        q += [0] * (words * config.k_par - len(q))  # the last word is filled with zeros
        mask = (1 << config.act_bits) - 1
        for j in range(0, len(q), config.act_par):
            word, slot = divmod(j // config.act_par, config.slots_per_word)
            raw = sum((v & mask) << (config.act_bits * i)
                      for i, v in enumerate(q[j : j + config.act_par]))  # fmt: skip
            want_writes.append(((index % BANKS) * config.words_max + word, slot, raw))
        left = len(vectors) - index
        want_finished.append((len(products), left % 8 + 1, exponent, left % 2, -left))
    assert finished == want_finished, seed
    assert writes == want_writes, seed
    assert delays == [QUANTIZE_LATENCY - 1] * len(vectors)


def test_a_full_buffer_stops_it():
    dut = Quantizer(BASE)
    taken = []

    async def bench(ctx):
        ctx.set(dut.source_valid, 1)
        ctx.set(dut.source.layer.k, 24)
        for _ in range(60):
            taken.append(ctx.get(dut.source_taken))
            await ctx.tick()
        assert sum(taken) == BANKS
        ctx.set(dut.bank_freed, 1)
        await ctx.tick()
        ctx.set(dut.bank_freed, 0)
        assert ctx.get(dut.source_taken)

    run(dut, bench)
