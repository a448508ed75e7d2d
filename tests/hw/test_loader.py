"""The loader alone: every vector's chunks once, in step, and none that there is no room for."""

import random
from dataclasses import replace

import pytest

from hw.config import BIN_BANKS, VECTORS_AHEAD, EngineConfig
from hw.loader import Loader

from ..simulation import Clock, run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)
CONFIGS = [BASE, replace(BASE, act_par=1, k_max=5), replace(BASE, act_par=4, m_par=3)]


@pytest.mark.parametrize("chance", [1.0, 0.4])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.act_par} K{c.k_max} M{c.m_par}")
def test_chunks_of_every_vector(config, chance):
    seed = f"{config.act_par} {chance}"
    source = random.Random(seed)
    commands = [
        (source.randint(1, config.k_max), source.randint(1, config.n_max),
         source.randint(1, config.m_par))
        for _ in range(12)
    ]  # fmt: skip
    want = []
    for k, _, m in commands:
        for _ in range(m):
            for start in range(0, k, config.act_par):
                lanes = min(config.act_par, k - start)
                want.append((start == 0, start + config.act_par >= k, (1 << lanes) - 1))
    dut = Loader(config)
    taken, layers = [], []

    async def bench(ctx):
        clock, rest, offered = Clock(ctx), list(reversed(commands)), False
        chunks = vectors = banks = slots = 0  # in use
        while len(taken) < len(want):
            offered = offered or (bool(rest) and source.random() < chance)
            ctx.set(dut.command.valid, offered)
            if offered:
                k, n, m = rest[-1]
                given = {"k": k, "n": n} | ({"m": m} if config.m_par > 1 else {})
                ctx.set(dut.command.payload, given)
            act, coef = (source.random() < chance for _ in range(2))
            ctx.set(dut.act_valid, act)
            ctx.set(dut.coef_valid, coef)
            frees = []
            for port, used in (
                (dut.chunk_freed, chunks), (dut.vector_taken, vectors), (dut.window_valid, banks),
                (dut.slots_freed, slots),
            ):  # fmt: skip
                frees.append(used > 0 and source.random() < chance / 2)
                ctx.set(port, frees[-1])
            accept = ctx.get(dut.accept)
            # The streams go on together.
            assert accept == (act and ctx.get(dut.act_ready)) == (coef and ctx.get(dut.coef_ready))
            if accept:
                taken.append((ctx.get(dut.first), ctx.get(dut.last), ctx.get(dut.present)))
            begun = ctx.get(dut.layer_valid)
            if begun:
                layers.append((ctx.get(dut.layer.k), ctx.get(dut.layer.n)))
            if offered and ctx.get(dut.command.ready):
                rest.pop()
                offered = False
            assert ctx.get(dut.inside) == (slots > 0), seed
            # What is freed in this cycle is room in the next one.
            assert chunks + accept <= config.chunks_max, seed
            assert vectors + begun <= VECTORS_AHEAD, seed
            assert banks + begun <= BIN_BANKS, seed
            assert slots + begun <= config.vector_slots, seed
            chunks += accept - frees[0]
            vectors, banks, slots = (
                used + begun - free
                for used, free in zip((vectors, banks, slots), frees[1:], strict=True)
            )
            assert not ctx.get(dut.error)
            await clock.tick()

    run(dut, bench)
    assert taken == want, seed
    assert layers == [(k, n) for k, n, m in commands for _ in range(m)], seed


@pytest.mark.parametrize(
    ("changes", "command", "dropped"),
    [
        ({"scale_out": "groups"}, {"s": 0}, True),
        ({"scale_out": "groups"}, {"s": 1}, False),
        ({"scale_out": "groups"}, {"s": 6}, False),
        ({"weights": "memory", "weight_words": 5}, {"w": 4}, False),
        ({"weights": "memory", "weight_words": 5}, {"w": 5}, True),
        ({"weights": "memory", "weight_words": 5}, {"w": 7}, True),
    ],
)
def test_groups_of_no_words_and_weights_beyond_the_memory_are_dropped(changes, command, dropped):
    dut = Loader(replace(BASE, **changes))
    told, begun = [], []

    async def bench(ctx):
        ctx.set(dut.command.payload, {"k": 1, "n": 1} | command)
        ctx.set(dut.command.valid, 1)
        assert ctx.get(dut.command.ready)
        await ctx.tick()
        ctx.set(dut.command.valid, 0)
        for _ in range(4):
            told.append(ctx.get(dut.error))
            begun.append(ctx.get(dut.layer_valid))
            await ctx.tick()

    run(dut, bench)
    assert any(begun) != dropped
    assert told == [dropped] * 4
