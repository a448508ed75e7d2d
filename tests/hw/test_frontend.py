"""The front end against Python integers: exact products, exponent, shift sum, poison, latency."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from golden.reference import floor_log2, fp16_value
from hw.config import BIN_BANKS, SHIFT_BIAS, VECTORS_AHEAD, EngineConfig
from hw.frontend import FrontEnd
from hw.streams import activation_chunks, coefficient_chunks

from ..simulation import Clock, Source, run
from .exact import value_of
from .window_model import reduce_shift_sum

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)
CONFIGS = [
    BASE,
    replace(BASE, act_par=1, act_bits=16),
    replace(BASE, act_par=4, act_bits=4, k_max=5),
    replace(BASE, k_par=1, act_par=1, act_bits=24, k_max=1),
    replace(BASE, k_par=6, act_par=6, m_par=3),  # an odd number of chunk sums on one level
    replace(BASE, m_par=2, k_max=5),
    replace(BASE, act_format="bf16"),
    replace(BASE, act_format="bf16", act_par=1, act_bits=16, scale_out="row"),
    replace(BASE, around="blocks", act_par=1, act_bits=16),
    replace(BASE, around="blocks", act_format="bf16"),
]
IDS = [
    f"{c.act_par} lanes A{c.act_bits} K{c.k_max} M{c.m_par} {c.act_format} {c.around}"
    for c in CONFIGS
]
EXTREMES = (0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF)
SPECIAL = (0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFFFF)
BF16_EXTREMES = (0x0000, 0x8000, 0x0001, 0x8001, 0x007F, 0x0080, 0x3F80, 0x7F7F, 0xFF7F)
BF16_SPECIAL = (0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0xFFFF)


def pattern(source, extremes=EXTREMES, infinity=0x7C00) -> int:
    kind = source.random()
    if kind < 0.4:
        return source.choice(extremes)
    return source.randrange(infinity) | source.getrandbits(1) << 15


def commands_of(config, source, count):
    """Return `count` commands (k, n, m)."""
    return [
        (source.randint(1, config.k_max), source.randint(1, config.n_max),
         source.randint(1, config.m_par))
        for _ in range(count)
    ]  # fmt: skip


def payload(config, k, n, m):
    """Return a command's bits: k, n above it, and m above that if there is more than one."""
    n_at = config.k_max.bit_length()
    m_at = n_at + config.n_max.bit_length()
    return k | n << n_at | (m << m_at if config.m_par > 1 else 0)


def vector(config, source, k):
    """Return (x, scale, shift) as bit patterns; now and then something not finite."""
    lists = [[pattern(source) for _ in range(k)] for _ in range(3)]
    specials = [SPECIAL] * 3
    if config.act_format == "bf16":
        lists[0] = [pattern(source, BF16_EXTREMES, 0x7F80) for _ in range(k)]
        specials[0] = BF16_SPECIAL
    if source.random() < 0.2:
        which = source.randrange(3)
        lists[which][source.randrange(k)] = source.choice(specials[which])
    return lists


def summary(config, x, scale, shift):
    """Return (exponent above the lowest, poison, shift sum in units of products), exactly."""
    values = [[value_of(config, b) for b in x]]
    values += [[fp16_value(b) for b in row] for row in (scale, shift)]
    if any(v is None for row in values for v in row):
        return None, 1, None
    xs, scales, shifts = values
    largest = max(abs(c * v) for c, v in zip(scales, xs, strict=True))
    exponent, lowest = 0, config.product_lsb_exp
    if largest:
        exponent = max(floor_log2(largest) - (config.act_bits - 2) - lowest, 0)
    total = sum(b * v for b, v in zip(shifts, xs, strict=True)) / Fraction(2) ** lowest
    assert Fraction(total).denominator == 1
    return exponent, 0, int(total)


@pytest.mark.parametrize("chance", [1.0, 0.4])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_products_and_summaries(config, chance):
    seed = f"{config.act_par} {chance}"
    source = random.Random(seed)
    asked = commands_of(config, source, 30 // config.m_par)
    commands = [payload(config, *command) for command in asked]
    vectors = [vector(config, source, k) for k, _, m in asked for _ in range(m)]
    acts, coefs = [], []
    for x, scale, shift in vectors:
        x, scale, shift = (np.array(v, np.uint16).view(np.float16) for v in (x, scale, shift))
        acts += activation_chunks(config, x)
        coefs += coefficient_chunks(config, scale, shift)
        # Lanes past K are no inputs: whatever they hold must not be seen.
        for lane in range(len(x) % config.act_par or config.act_par, config.act_par):
            acts[-1] |= 0x7BFF << (16 * lane)
            coefs[-1] |= 0xFC00_7C00 << (32 * lane)
    dut = FrontEnd(config)
    products, summaries, layers, delays = [], [], [], []
    windows, summarized_at, window_at = [], [], []

    async def bench(ctx):
        clock = Clock(ctx)
        ports = ((dut.command, commands), (dut.act, acts), (dut.coef, coefs))
        sources = [
            Source(ctx, port, values, chance=chance, seed=i)
            for i, (port, values) in enumerate(ports)
        ]
        waiting, untaken, accepted, last_at, kept = 0, 0, 0, [], 0
        ends = set(np.cumsum([-(-len(x) // config.act_par) for x, _, _ in vectors]).tolist())
        while len(windows) < len(vectors):
            for stream in sources:
                stream.offer()
            free = waiting > 0 and source.random() < chance
            take = untaken > 0 and source.random() < chance
            ctx.set(dut.chunk_freed, free)
            ctx.set(dut.vector_taken, take)
            drained = min(kept, config.m_par) if source.random() < chance / 4 else 0
            ctx.set(dut.slots_freed, drained)
            waiting, untaken, kept = waiting - free, untaken - take, kept - drained
            _, act, coef = [stream.settle() for stream in sources]
            assert act == coef  # the two streams go in step
            if act:
                accepted += 1
                if accepted in ends:
                    last_at.append(clock.cycle)
            if ctx.get(dut.layer_valid):
                layer = ctx.get(dut.layer)
                layers.append((layer.k, layer.n, layer.m if config.m_par > 1 else 1))
            if ctx.get(dut.product_valid):
                waiting += 1
                chunk = ctx.get(dut.product)
                products.append([(p.magnitude, p.shift, p.negative) for p in chunk])
            if ctx.get(dut.summary_valid):
                untaken += 1
                delays.append(clock.cycle - last_at.pop(0))
                found = ctx.get(dut.summary)
                summaries.append((found.exponent, found.poison))
                summarized_at.append(clock.cycle)
            if ctx.get(dut.window_valid):
                windows.append(ctx.get(dut.window))
                window_at.append(clock.cycle)
                kept += 1
            assert waiting <= config.chunks_max
            assert len(layers) - len(summaries) + untaken <= VECTORS_AHEAD
            assert len(layers) - len(windows) <= BIN_BANKS
            assert len(layers) - len(windows) + kept <= config.vector_slots
            assert not ctx.get(dut.error)
            await clock.tick()

    run(dut, bench)
    # Every vector is announced on its own, with all that its command asks for.
    assert layers == [command for command in asked for _ in range(command[2])], seed
    want = [summary(config, *bits) for bits in vectors]
    for found, window, (exponent, poison, total) in zip(summaries, windows, want, strict=True):
        assert found[1] == window.poison == poison
        if not poison:
            assert found[0] == exponent
            given = reduce_shift_sum(config, total, exponent)
            assert (window.base, window.sticky, window.place + config.place_offset) == (
                given.base, given.sticky, given.place
            )  # fmt: skip
            for name in ("positive", "negative"):
                held, right = window[name], getattr(given, name)
                assert (held.kept, held.sticky, held.drop) == (right.kept, right.sticky, right.drop)
    before = -1
    for summarized, done in zip(summarized_at, window_at, strict=True):
        assert done == max(summarized, before) + 1 + config.reduce_cycles
        before = done
    assert delays == [config.front_end_latency - 1] * len(vectors)

    chunks = iter(products)
    for x, scale, _ in vectors:
        for start in range(0, len(x), config.act_par):
            for lane, (magnitude, shift, negative) in enumerate(next(chunks)):
                j = start + lane
                a = value_of(config, x[j]) if j < len(x) else 0
                c = fp16_value(scale[j]) if j < len(x) else 0
                if a is None or c is None:
                    continue
                value = magnitude * Fraction(2) ** (shift - SHIFT_BIAS + config.product_lsb_exp)
                assert (-value if negative else value) == a * c
    assert next(chunks, None) is None


@pytest.mark.parametrize("m_par", [1, 3])
def test_without_stalls_a_chunk_enters_every_cycle(m_par):
    """Chunks, then one cycle for the next vector, whether a command begins it or goes on.

    As long as no vector is shorter than the reducer's time.
    """
    config = replace(BASE, m_par=m_par, k_max=600)
    dut = FrontEnd(config)
    taken, commands = [], []
    assert config.reduce_cycles < 200

    async def bench(ctx):
        clock = Clock(ctx)
        for port in (dut.command, dut.act, dut.coef):
            ctx.set(port.valid, 1)
        ctx.set(dut.command.payload, {"k": 400, "n": 1} | ({"m": m_par} if m_par > 1 else {}))
        for _ in range(805):
            ctx.set(dut.chunk_freed, ctx.get(dut.product_valid))
            ctx.set(dut.vector_taken, ctx.get(dut.summary_valid))
            if ctx.get(dut.act.ready):
                taken.append(clock.cycle)
            if ctx.get(dut.command.ready):
                commands.append(clock.cycle)
            await clock.tick()

    run(dut, bench)
    assert taken == [201 * v + 1 + i for v in range(4) for i in range(200)]
    assert commands == [0, 201, 402, 603, 804][::m_par]


def test_a_short_vector_waits_for_a_bank_of_bins():
    """BIN_BANKS vectors are taken; the next when the oldest has its window."""
    config = BASE
    dut = FrontEnd(config)
    begun = []

    async def bench(ctx):
        clock = Clock(ctx)
        for port in (dut.command, dut.act, dut.coef):
            ctx.set(port.valid, 1)
        ctx.set(dut.command.payload, {"k": 2, "n": 1})
        for _ in range(3 * config.reduce_cycles + 30):
            ctx.set(dut.chunk_freed, ctx.get(dut.product_valid))
            ctx.set(dut.vector_taken, ctx.get(dut.summary_valid))
            ctx.set(dut.slots_freed, ctx.get(dut.window_valid))
            if ctx.get(dut.layer_valid):
                begun.append(clock.cycle)
            await clock.tick()

    run(dut, bench)
    # Taken in 0, its chunk in 1, as is told of it; reduced from the cycle after the summary on.
    first = 1 + config.front_end_latency + config.reduce_cycles
    step = config.reduce_cycles + 1
    assert begun[:4] == [1, 3, first + 2, first + step + 2]


def test_no_more_vectors_than_slots():
    config = BASE
    dut = FrontEnd(config)
    begun = []

    async def bench(ctx):
        for port in (dut.command, dut.act, dut.coef):
            ctx.set(port.valid, 1)
        ctx.set(dut.command.payload, {"k": 2, "n": 1})
        for cycle in range((config.vector_slots + 3) * (config.reduce_cycles + 1)):
            ctx.set(dut.chunk_freed, ctx.get(dut.product_valid))
            ctx.set(dut.vector_taken, ctx.get(dut.summary_valid))
            if ctx.get(dut.layer_valid):
                begun.append(cycle)
            await ctx.tick()

    run(dut, bench)
    assert len(begun) == config.vector_slots


@pytest.mark.parametrize("m_par", [1, 2])
def test_the_quantizer_is_not_overrun(m_par):
    """VECTORS_AHEAD vectors may be past the command and not taken; the next waits for a pulse."""
    dut = FrontEnd(replace(BASE, m_par=m_par))
    begun = []

    async def bench(ctx):
        clock = Clock(ctx)
        for port in (dut.command, dut.act, dut.coef):
            ctx.set(port.valid, 1)
        ctx.set(dut.command.payload, {"k": 2, "n": 1} | ({"m": m_par} if m_par > 1 else {}))
        for cycle in range(500):
            ctx.set(dut.chunk_freed, ctx.get(dut.product_valid))
            ctx.set(dut.vector_taken, cycle in (300, 450))
            if ctx.get(dut.layer_valid):
                begun.append(cycle)
            await clock.tick()

    run(dut, bench)
    assert begun == [1 + 2 * i for i in range(VECTORS_AHEAD)] + [302, 452]


@pytest.mark.parametrize(
    ("k", "n", "m"),
    [
        (0, 1, 1), (25, 1, 1), (1, 0, 1), (1, 9, 1), (31, 15, 1), (0, 0, 1),
        (1, 1, 0), (1, 1, 3), (24, 8, 3), (0, 1, 2), (25, 9, 0),
    ],
)  # fmt: skip
def test_an_illegal_command_is_dropped_and_told(k, n, m):
    """Also one of m vectors where m is out of range; if m_par is 1, commands have no m."""
    for m_par in (1, 2) if m == 1 else (2,):
        refuses(replace(BASE, m_par=m_par), k, n, m)


def refuses(config, k, n, m):
    dut = FrontEnd(config)

    async def bench(ctx):
        async def command(k, n, m):
            ctx.set(dut.command.valid, 1)
            ctx.set(dut.command.payload.as_value(), payload(config, k, n, m))
            assert ctx.get(dut.command.ready)
            await ctx.tick()
            ctx.set(dut.command.valid, 0)
            return ctx.get(dut.layer_valid)

        ctx.set(dut.act.valid, 1)
        ctx.set(dut.coef.valid, 1)
        assert not ctx.get(dut.error)
        assert not await command(k, n, m)
        for _ in range(10):
            assert ctx.get(dut.error)  # sticky
            assert not ctx.get(dut.act.ready)
            assert not ctx.get(dut.layer_valid)
            assert not ctx.get(dut.summary_valid)
            await ctx.tick()
        assert await command(24, 8, config.m_par)  # and the engine goes on
        assert ctx.get(dut.act.ready)
        assert ctx.get(dut.error)

    run(dut, bench)


def test_the_product_buffer_is_never_overfilled():
    """Without a freed chunk, chunks_max are taken and no more."""
    dut = FrontEnd(replace(BASE, k_max=6))
    taken = []

    async def bench(ctx):
        for port in (dut.command, dut.act, dut.coef):
            ctx.set(port.valid, 1)
        ctx.set(dut.command.payload, {"k": 4, "n": 1})
        for _ in range(40):
            taken.append(ctx.get(dut.act.ready))
            await ctx.tick()

    run(dut, bench)
    assert sum(taken) == 3
