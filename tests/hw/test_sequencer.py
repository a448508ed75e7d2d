"""The sequencers against two nested loops, beat by beat and in the right cycle."""

import random
from dataclasses import replace

import pytest

from hw.config import BANKS, PARTIAL_SUM_DISTANCE, TABLE_BANKS, EngineConfig
from hw.sequencer import Sequencer, TableSequencer

from ..simulation import Clock, run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8)
CONFIGS = [
    BASE,
    replace(BASE, k_par=3, n_par=3, k_max=10, n_max=10),
    replace(BASE, k_par=8, n_par=1, k_max=8, n_max=3),
    replace(BASE, k_par=1, n_par=1, k_max=3, n_max=2),
    replace(BASE, m_par=3),
]
TABLES = [
    replace(config, k_par=2 * config.k_par, k_max=2 * config.k_max, structure="tables", group=2)
    for config in CONFIGS
] + [replace(BASE, k_par=2, n_par=1, n_max=9, structure="tables", group=2)]


def label(c) -> str:
    return f"{c.k_par}x{c.n_par} K{c.k_max} N{c.n_max} M{c.m_par}"


def random_layers(config, source, count):
    return [
        (source.randint(1, config.k_max), source.randint(1, config.n_max),
         source.randint(1, config.m_par))
        for _ in range(count)
    ]  # fmt: skip


def offer(ctx, dut, config, layer):
    """Put a batch on the port."""
    k, n, m = layer
    asked = {"k": k, "n": n} | ({"m": m} if config.m_par > 1 else {})
    ctx.set(dut.batch.payload.layer, asked)


def tile_at(ctx, dut):
    tile = ctx.get(dut.tile)
    assert tile.only == (tile.count <= dut.config.out_par)
    return tile.count, tile.last, tile.vectors


def described(config, layer, t):
    """Return what tile `t` of a layer must be described as."""
    _, n, m = layer
    last = t == -(-n // config.n_par) - 1
    return min(config.n_par, n - t * config.n_par), int(last), m


# ---- words inside tiles -------------------------------------------------------------------------


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_words_inside_tiles(config, chance):
    seed = config.k_par
    source = random.Random(seed)
    layers = random_layers(config, source, 60)
    dut = Sequencer(config)
    beats, tiles, freed_banks = [], [], []

    async def bench(ctx):
        clock, number = Clock(ctx), 0
        holding, fresh = False, False  # the drain's hold register; a tile ended a cycle before
        offered = weight = False
        while len(freed_banks) < len(layers) or fresh:
            if fresh:  # the tile's description stands from the next cycle on
                tiles.append(tile_at(ctx, dut))
            offered = offered or (number < len(layers) and source.random() < chance)
            ctx.set(dut.batch.valid, offered)
            if offered:
                offer(ctx, dut, config, layers[number])
            weight = weight or source.random() < chance
            ctx.set(dut.weight.valid, weight)
            freed = holding and not fresh and source.random() < chance
            ctx.set(dut.tile_freed, freed)
            issue, address = ctx.get(dut.issue), ctx.get(dut.read_addr)
            assert issue == (ctx.get(dut.weight.ready) and weight)
            fresh = False
            if issue:
                weight = False
                last = ctx.get(dut.last)
                beats.append((address, last))
                if last:
                    assert not holding  # the hold register must have been free
                    fresh = True
            if ctx.get(dut.bank_freed):
                freed_banks.append(len(beats))
            holding = (holding and not freed) or fresh
            if offered and ctx.get(dut.batch.ready):
                number += 1
                offered = False
            await clock.tick()

    run(dut, bench)
    want, ends, totals = [], [], []
    for number, layer in enumerate(layers):
        words, count = -(-layer[0] // config.k_par), -(-layer[1] // config.n_par)
        bank = number % BANKS
        want += [
            (w * BANKS + bank, int(w == words - 1)) for _ in range(count) for w in range(words)
        ]
        ends += [described(config, layer, t) for t in range(count)]
        totals.append(len(want))
    assert beats == want, seed
    assert tiles == ends, seed
    # A bank is free with the last beat of its vector.
    assert freed_banks == totals


def test_a_long_layer_takes_a_beat_every_cycle():
    dut = Sequencer(BASE)
    issued = []

    async def bench(ctx):
        ctx.set(dut.batch.valid, 1)
        ctx.set(dut.batch.payload.layer, {"k": 24, "n": 8})
        ctx.set(dut.weight.valid, 1)
        ctx.set(dut.tile_freed, 1)
        for _ in range(1 + 24 + 1 + 24):
            issued.append(ctx.get(dut.issue))
            await ctx.tick()

    run(dut, bench)
    # One cycle to take a vector, then a beat in every cycle.
    assert issued == [0, *[1] * 24, 0, *[1] * 24]


# ---- tiles inside words -------------------------------------------------------------------------


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", TABLES, ids=label)
def test_tiles_inside_words(config, chance):
    seed = f"{config.k_par} {chance}"
    source = random.Random(seed)
    layers = random_layers(config, source, 40)
    dut = TableSequencer(config)
    beats, cycles, tiles, freed_tables = [], [], [], []

    async def bench(ctx):
        clock, number = Clock(ctx), 0
        tables = waiting = 0  # tables that can be read; tiles that the drain has not done with
        to_make = [-(-k // config.k_par) for k, _, _ in layers]
        lasts = [w == count - 1 for count in to_make for w in range(count)]
        total = sum(-(-k // config.k_par) * -(-n // config.n_par) for k, n, _ in layers)
        made, words = 0, sum(to_make)
        offered = weight = False
        while len(beats) < total:
            offered = offered or (number < len(layers) and source.random() < chance)
            ctx.set(dut.batch.valid, offered)
            if offered:
                offer(ctx, dut, config, layers[number])
            weight = weight or source.random() < chance
            ctx.set(dut.weight.valid, weight)
            make = made < words and tables < TABLE_BANKS and source.random() < chance
            ctx.set(dut.table_made, make)
            ctx.set(dut.table_last, lasts[made] if make else source.getrandbits(1))
            freed = waiting > 0 and source.random() < chance
            ctx.set(dut.tile_freed, freed)
            issue = ctx.get(dut.issue)
            assert issue == (ctx.get(dut.weight.ready) and weight)
            assert not (ctx.get(dut.tile_valid) and not issue)
            if issue:
                weight = False
                assert tables > 0
                cycles.append(clock.cycle)
                beats.append(
                    (ctx.get(dut.bank), ctx.get(dut.first), ctx.get(dut.last),
                     ctx.get(dut.tile_index))
                )  # fmt: skip
                assert ctx.get(dut.tile_valid) == ctx.get(dut.last)
                if ctx.get(dut.last):
                    assert waiting < config.tile_slots  # there must have been room
                    tiles.append(tile_at(ctx, dut))
                    waiting += 1
            waiting -= freed
            made += make
            tables += make
            if ctx.get(dut.table_freed):
                tables -= 1
                freed_tables.append(len(beats))
            if offered and ctx.get(dut.batch.ready):
                number += 1
                offered = False
            await clock.tick()

    run(dut, bench)
    want, ends, totals, gaps, bank = [], [], [], [], 0
    for layer in layers:
        words, count = -(-layer[0] // config.k_par), -(-layer[1] // config.n_par)
        for w in range(words):
            for t in range(count):
                want.append((bank % TABLE_BANKS, int(w == 0), int(w == words - 1), t))
                if w:  # the same tile's beat of the word before
                    gaps.append((len(want) - 1, len(want) - 1 - count))
            totals.append(len(want))
            bank += 1
        ends += [described(config, layer, t) for t in range(count)]
    assert beats == want, seed
    assert tiles == ends, seed
    # A table is free with its last beat.
    assert freed_tables == totals
    # Partial sums are read when they have been written, and not a cycle later if all else is there.
    distances = [cycles[now] - cycles[before] for now, before in gaps]
    assert all(distance >= PARTIAL_SUM_DISTANCE for distance in distances), seed
    if chance == 1 and gaps:
        assert min(distances) == max(PARTIAL_SUM_DISTANCE, min(a - b for a, b in gaps))


@pytest.mark.parametrize("tiles", range(1, 9))
def test_few_tiles_wait_for_their_partial_sums(tiles):
    """Every word's beats start PARTIAL_SUM_DISTANCE after those of the word before, or later."""
    config = replace(BASE, n_max=16, structure="tables", group=2)
    dut = TableSequencer(config)
    issued = []

    async def bench(ctx):
        ctx.set(dut.batch.valid, 1)
        ctx.set(dut.batch.payload.layer, {"k": 12, "n": 2 * tiles})
        ctx.set(dut.weight.valid, 1)
        made = 0
        for cycle in range(80):
            # A new table as soon as one is given back: there are always enough of them.
            make = cycle < TABLE_BANKS or ctx.get(dut.table_freed)
            ctx.set(dut.table_made, make)
            ctx.set(dut.table_last, made % 3 == 2)
            made += make
            ctx.set(dut.tile_freed, ctx.get(dut.tile_valid))
            if ctx.get(dut.issue):
                issued.append(cycle)
            await ctx.tick()

    run(dut, bench)
    step = max(tiles, PARTIAL_SUM_DISTANCE)
    first = [1 + w * step + t for w in range(3) for t in range(tiles)]
    # The next layer's batch is taken in the cycle after the last beat and waits for no sums.
    second = [first[-1] + 1 + cycle for cycle in first]
    assert issued[: 6 * tiles] == first + second


def test_the_last_word_waits_for_room():
    """tile_slots finished tiles may wait for the drain; other words do not wait for it."""
    config = replace(BASE, n_max=16, structure="tables", group=2)  # eight tiles
    dut = TableSequencer(config)
    issued = []

    async def bench(ctx):
        ctx.set(dut.batch.valid, 1)
        ctx.set(dut.batch.payload.layer, {"k": 8, "n": 16})
        ctx.set(dut.weight.valid, 1)
        made = 0
        for cycle in range(60):
            make = cycle < 2 or ctx.get(dut.table_freed)
            ctx.set(dut.table_made, make)
            ctx.set(dut.table_last, made % 2 == 1)
            made += make
            ctx.set(dut.tile_freed, cycle in (40, 50))
            if ctx.get(dut.issue):
                issued.append(cycle)
            await ctx.tick()

    run(dut, bench)
    # Two words of eight beats, the first word of the next layer, then its last word one by one.
    assert issued == [*range(1, 17), *range(18, 26), 41, 51]
