"""Scales come in once and go to the engine once a token vector, in its order."""

from dataclasses import replace

import numpy as np
import pytest

from hw.axi.scales import ScaleRepeat, ScaleWalk
from hw.config import PRESETS
from hw.streams import scale_chunks

from ..simulation import Clock, Source, run

GROUPS = replace(
    PRESETS["tiny"], name="odd", k_par=3, n_par=6, m_par=3, act_par=3, out_par=2, k_max=50,
    n_max=40, scale_out="groups",
)
ROW = replace(GROUPS, scale_out="row")


def layers(config, seed: int) -> list[tuple[dict[str, int], np.ndarray]]:
    """Shapes, and the scales of each as patterns that are all different."""
    random = np.random.default_rng(seed)
    result = []
    for _ in range(12):
        k, n, m = (int(random.integers(1, limit + 1)) for limit in (50, 40, 3))
        words = -(-k // config.k_par)
        s = int(random.choice([1, words, random.integers(1, config.words_max + 1)]))
        groups = -(-words // s) if config.scale_out == "groups" else 1
        numbers = {"k": k, "n": n, "m": m}
        if config.scale_out == "groups":
            numbers["s"] = s
        patterns = random.permutation(1 << 16)[: n * groups].astype(np.uint16)
        result.append((numbers, patterns.view(np.float16).reshape(n, groups)))
    return result


@pytest.mark.parametrize("config", [ROW, GROUPS], ids=["row", "groups"])
def test_the_walk_ends_with_the_last_chunk(config):
    dut = ScaleWalk(config)

    async def bench(ctx):
        clock = Clock(ctx)
        for numbers, scales in layers(config, 1):
            ctx.set(dut.layer, numbers)
            ctx.set(dut.load, 1)
            await clock.tick()
            ctx.set(dut.load, 0)
            ctx.set(dut.next, 1)
            count = 1
            while not ctx.get(dut.last):
                await clock.tick()
                count += 1
            await clock.tick()
            ctx.set(dut.next, 0)
            assert count == len(scale_chunks(config, scales)), numbers

    run(dut, bench)


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", [ROW, GROUPS], ids=["row", "groups"])
def test_every_vector_gets_the_scales(config, chance):
    jobs = layers(config, 2)
    dut = ScaleRepeat(config)
    given = [item for _, scales in jobs for item in scale_chunks(config, scales)]
    want = [
        item for numbers, scales in jobs
        for item in scale_chunks(config, scales, vectors=numbers["m"])
    ]
    assert len(want) > len(given)
    got = []
    random = np.random.default_rng(3)

    async def bench(ctx):
        clock = Clock(ctx)
        feed = Source(ctx, dut.i, given, chance=chance, seed=4)
        rest = [numbers for numbers, _ in jobs]
        while len(got) < len(want):
            feed.offer()
            ctx.set(dut.layer.valid, bool(rest))
            if rest:
                ctx.set(dut.layer.payload, rest[0])
            ready = bool(random.random() < chance)
            ctx.set(dut.o.ready, ready)
            if ready and ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload))
            if rest and ctx.get(dut.layer.ready):
                rest.pop(0)
            feed.settle()
            await clock.tick()
        assert feed.done

    run(dut, bench)
    assert got == want
