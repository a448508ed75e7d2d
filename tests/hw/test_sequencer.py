"""The sequencer against two nested loops."""

import random
from dataclasses import replace

import pytest

from hw.config import BANKS, EngineConfig
from hw.sequencer import Sequencer

from ..simulation import Clock, run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8)
CONFIGS = [
    BASE,
    replace(BASE, k_par=3, n_par=3, k_max=10, n_max=10),
    replace(BASE, k_par=8, n_par=1, k_max=8, n_max=3),
    replace(BASE, k_par=1, n_par=1, k_max=3, n_max=2),
]
IDS = [f"{c.k_par}x{c.n_par} K{c.k_max}" for c in CONFIGS]


def walk(config, vectors):
    """Yield what each issued beat must look like: (address, first, last, count, tile_last)."""
    for index, (k, n) in enumerate(vectors):
        words, tiles = -(-k // config.k_par), -(-n // config.n_par)
        for t in range(tiles):
            for w in range(words):
                yield (
                    (index % BANKS) * config.words_max + w,
                    int(w == 0),
                    int(w == words - 1),
                    min(config.n_par, n - t * config.n_par),
                    int(t == tiles - 1),
                )


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_words_inside_tiles(config, chance):
    source = random.Random(config.k_par)
    vectors = [(source.randint(1, config.k_max), source.randint(1, config.n_max))
               for _ in range(60)]  # fmt: skip
    want = list(walk(config, vectors))
    dut = Sequencer(config)
    beats, tiles, freed_banks = [], [], []

    async def bench(ctx):
        clock, rest, taken = Clock(ctx), list(reversed(vectors)), 0
        holding, fresh = False, False  # the drain's hold register; a tile ended a cycle before
        offered = weight = False
        while len(freed_banks) < len(vectors) or fresh:
            if fresh:  # the tile's description stands from the next cycle on
                tile = ctx.get(dut.tile)
                tiles.append((tile.count, tile.last, tile.summary.exponent))
            offered = offered or (bool(rest) and source.random() < chance)
            ctx.set(dut.vector.valid, offered)
            if offered:
                k, n = rest[-1]
                ctx.set(dut.vector.payload.layer, {"k": k, "n": n})
                ctx.set(dut.vector.payload.summary.exponent, len(rest) % 77)
            weight = weight or source.random() < chance
            ctx.set(dut.weight.valid, weight)
            freed = holding and not fresh and source.random() < chance
            ctx.set(dut.hold_freed, freed)
            issue, address = ctx.get(dut.issue), ctx.get(dut.read_addr)
            assert issue == (ctx.get(dut.weight.ready) and weight)
            fresh = False
            if issue:
                weight = False
                last = ctx.get(dut.last)
                beats.append((address, ctx.get(dut.first), last))
                if last:
                    assert not holding  # the hold register must have been free
                    fresh = True
            if ctx.get(dut.bank_freed):
                freed_banks.append(len(beats))
            holding = (holding and not freed) or fresh
            if offered and ctx.get(dut.vector.ready):
                rest.pop()
                taken += 1
                offered = False
            await clock.tick()

    run(dut, bench)
    assert beats == [beat[:3] for beat in want]
    ends = [beat[3:] for beat in want if beat[2]]
    assert [tile[:2] for tile in tiles] == ends
    # A bank is free with the last beat of its vector, and each tile carries its vector's summary.
    totals, exponents, count = [], [], 0
    for index, (k, n) in enumerate(vectors):
        count += config.beats(k, n)
        totals.append(count)
        exponents += [(len(vectors) - index) % 77] * -(-n // config.n_par)
    assert freed_banks == totals
    assert [tile[2] for tile in tiles] == exponents


def test_a_long_layer_takes_a_beat_every_cycle():
    dut = Sequencer(BASE)
    issued = []

    async def bench(ctx):
        ctx.set(dut.vector.valid, 1)
        ctx.set(dut.vector.payload.layer, {"k": 24, "n": 8})
        ctx.set(dut.weight.valid, 1)
        ctx.set(dut.hold_freed, 1)
        for _ in range(1 + 24 + 1 + 24):
            issued.append(ctx.get(dut.issue))
            await ctx.tick()

    run(dut, bench)
    # One cycle to take a vector, then a beat in every cycle.
    assert issued == [0, *[1] * 24, 0, *[1] * 24]
