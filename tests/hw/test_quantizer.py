"""The quantizer against exact rationals: round to even, saturate, pad, in time."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from hw.config import BANKS, MEMORY_LATENCY, QUANTIZE_LATENCY, SHIFT_BIAS, EngineConfig
from hw.quantizer import Quantizer

from ..simulation import Clock, join, run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)
CONFIGS = [
    BASE,
    replace(BASE, act_par=1, act_bits=16),
    replace(BASE, act_par=4, act_bits=4, k_max=5),
    replace(BASE, k_par=1, act_par=1, act_bits=24, k_max=2),
    replace(BASE, k_par=3, act_par=3, act_bits=12, k_max=10),
    replace(BASE, m_par=3),
    replace(BASE, k_par=8, act_par=1, structure="tables", group=2),  # words in parts
    replace(BASE, k_par=9, act_par=1, structure="tables", group=3),
    replace(BASE, m_par=2, act_par=4, k_max=4),
    replace(BASE, act_format="bf16"),
    replace(BASE, k_par=1, act_par=1, act_bits=24, act_format="bf16"),
    # A multiplier is the shifter.
    replace(BASE, around="blocks"),
    replace(BASE, around="blocks", k_par=1, act_par=1, act_bits=24, k_max=2),
    replace(BASE, around="blocks", act_bits=4, act_format="bf16"),
]
IDS = [
    f"{c.k_par}/{c.act_par} A{c.act_bits} K{c.k_max} M{c.m_par} {c.act_format} {c.around}"
    + f" in {c.word_parts} parts" * (c.word_parts > 1)
    for c in CONFIGS
]


def product(config, source, exponent):
    """Return (magnitude, shift, negative), an exact product that `exponent` allows."""
    highest, bits = config.product_shift_max, config.product_significand
    if source.random() < 0.1:
        return 0, source.randint(0, highest + SHIFT_BIAS), source.getrandbits(1)
    width = exponent + config.act_bits - 1  # bits of the largest product, in its unit
    if source.random() < 0.5:  # at or beside a tie, or at the edge of saturation
        q = source.choice([source.getrandbits(config.act_bits - 1), 2 ** (config.act_bits - 1) - 1])
        value = (2 * q + 1) << exponent >> 1
        shift = min(max(exponent - 1 - source.randint(0, 8), 0), highest)
        value = (value >> shift) + source.randint(-1, 1)
        if 0 < value < 1 << bits and value << shift < 1 << width:
            return value, shift + SHIFT_BIAS, source.getrandbits(1)
    shift = source.randint(0, max(min(highest, width - 1), 0))
    limit = min(bits, width - shift)
    value = source.getrandbits(source.randint(1, limit))
    return value, shift + SHIFT_BIAS, source.getrandbits(1)


def quantized(config, exponent, magnitude, shift, negative):
    value = round(Fraction(magnitude) * Fraction(2) ** (shift - SHIFT_BIAS - exponent))
    value = min(value, 2 ** (config.act_bits - 1) - 1)
    return -value if negative else value


@pytest.mark.parametrize("chance", [1.0, 0.3])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_words_and_latency(config, chance):
    seed = f"{config.act_bits} {chance}"
    source = random.Random(seed)
    commands, vectors = [], []  # vectors: (k, n, m), exponent, products
    for _ in range(60 // config.m_par):
        k, n = source.randint(1, config.k_max), source.randint(1, config.n_max)
        commands.append((k, n, source.randint(1, config.m_par)))
        for _ in range(commands[-1][2]):
            largest = config.product_bits + 1 - config.act_bits
            exponent = source.choice([0, source.randint(0, largest)])
            products = [product(config, source, exponent) for _ in range(k)]
            vectors.append((commands[-1], exponent, products))
    dut = Quantizer(config)
    writes, finished, write_delays, delays = [], [], [], []
    begins, free_at = [], []  # cycles in which a vector was taken; in which a bank came free

    async def bench(ctx):
        clock = Clock(ctx)
        rest, full, ends, last_steps = list(reversed(vectors)), 0, [], []
        chunks = iter([
            # The front end makes lanes past K zero.
            (products[i : i + config.act_par] + [(0, 0, 0)] * config.act_par)[: config.act_par]
            for _, _, products in vectors
            for i in range(0, len(products), config.act_par)
        ])
        asked, offered, announced, member = [False] * MEMORY_LATENCY, False, 0, 0
        while len(finished) < len(commands) or clock.cycle < ends[-1] + 2 * QUANTIZE_LATENCY:
            if asked.pop(0):
                for lane, values in enumerate(next(chunks)):
                    for name, value in zip(("magnitude", "shift", "negative"), values, strict=True):
                        ctx.set(getattr(dut.product[lane], name), value)
            else:  # between chunks the buffer shows something else
                for lane in range(config.act_par):
                    noise = source.getrandbits(config.product_significand)
                    ctx.set(dut.product[lane].magnitude, noise)
            offered = offered or (bool(rest) and source.random() < chance)
            ctx.set(dut.source_valid, offered)
            if offered:
                (k, n, m), exponent, _ = rest[-1]
                ctx.set(dut.source.summary.exponent, exponent)
                ctx.set(dut.source.summary.poison, len(rest) % 2)
                ctx.set(dut.source.layer.k, k)
                ctx.set(dut.source.layer.n, n)
                if config.m_par > 1:
                    ctx.set(dut.source.layer.m, m)
            freed = full > 0 and source.random() < chance
            ctx.set(dut.bank_freed, freed)
            full -= freed
            if freed:
                free_at.append(clock.cycle)
            if ctx.get(dut.source_taken):
                assert offered
                (k, _, m), _, _ = rest.pop()
                begins.append(clock.cycle)
                # The first step is in the next cycle.
                ends.append(clock.cycle + -(-k // config.k_par) * config.slots_per_word)
                member += 1
                if member == m:
                    last_steps.append(ends[-1])
                    member = 0
                offered = False
            asked.append(ctx.get(dut.chunk_freed))
            valid = ctx.get(dut.write_valid)
            if valid:
                assert valid & (valid - 1) == 0  # one vector's buffer
                slot = ctx.get(dut.write_slot)
                raw = ctx.get(dut.write_data)
                place = valid.bit_length() - 1, ctx.get(dut.write_addr), slot
                writes.append((*place, raw))
                if clock.cycle - QUANTIZE_LATENCY in ends:
                    write_delays.append(len(writes))
            if ctx.get(dut.batch_valid):
                assert clock.cycle == last_steps[announced] + 1
                announced += 1
                v = ctx.get(dut.batch)
                m = v.layer.m if config.m_par > 1 else 1
                finished.append((v.layer.k, v.layer.n, m))
            if ctx.get(dut.batch_written):
                delays.append(clock.cycle - last_steps[len(delays)])
                full += 1
            assert full <= BANKS
            await clock.tick()
        assert next(chunks, None) is None  # each chunk was asked for once

    run(dut, bench)
    want_writes, counts, want_finished, index = [], [], [], 0
    for number, command in enumerate(commands):
        for member in range(command[2]):
            _, exponent, products = vectors[index]
            words = -(-len(products) // config.k_par)
            q = [quantized(config, exponent, *p) for p in products]
            q += [0] * (words * config.k_par - len(q))  # the last word is filled with zeros
            for j in range(0, len(q), config.act_par):
                word, chunk = divmod(j // config.act_par, config.slots_per_word)
                slot, part = divmod(chunk, config.word_parts)
                address = word * BANKS + number % BANKS
                address = address << (config.word_parts - 1).bit_length() | part
                raw = join(q[j : j + config.act_par], config.act_bits)
                want_writes.append((member, address, slot, raw))
            counts.append(len(want_writes))
            index += 1
        want_finished.append(command)
    assert finished == want_finished, seed
    assert writes == want_writes, seed
    # A vector's last chunk is written QUANTIZE_LATENCY cycles after the last step, and said to be
    # so one before: whoever hears of it reads at the earliest when it stands there.
    assert write_delays == counts
    assert delays == [QUANTIZE_LATENCY - 1] * len(commands)
    if chance == 1:
        # One cycle takes a vector; the first one of a command also waits for a bank.
        index, before = 0, -1
        for number, (k, _, m) in enumerate(commands):
            for member in range(m):
                start = before + 1
                if member == 0 and number >= BANKS:
                    start = max(start, free_at[number - BANKS] + 1)
                assert begins[index] == start
                before = start + -(-k // config.k_par) * config.slots_per_word
                index += 1


@pytest.mark.parametrize("m_par", [1, 2])
def test_a_full_buffer_stops_it(m_par):
    """All vectors of BANKS commands are taken, and none of the next until a bank is free."""
    dut = Quantizer(replace(BASE, m_par=m_par))
    taken = []

    async def bench(ctx):
        ctx.set(dut.source_valid, 1)
        ctx.set(dut.source.layer.k, 24)
        if m_par > 1:
            ctx.set(dut.source.layer.m, m_par)
        for _ in range(90):
            taken.append(ctx.get(dut.source_taken))
            await ctx.tick()
        assert sum(taken) == BANKS * m_par
        ctx.set(dut.bank_freed, 1)
        await ctx.tick()
        ctx.set(dut.bank_freed, 0)
        assert ctx.get(dut.source_taken)

    run(dut, bench)
