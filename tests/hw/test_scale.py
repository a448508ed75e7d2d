"""Output-axis scales in the drain, against exact integers."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from amaranth import Module, Signal, signed

from golden.reference import fp16_value
from hw.config import SCALE_LATENCY, SCALE_LSB_BITS, EngineConfig
from hw.scale import GroupSums, scale_sum

from ..simulation import run

SEED = 31


def config(**fields) -> EngineConfig:
    given = {
        "name": "test", "k_par": 4, "n_par": 4, "act_bits": 8, "k_max": 64, "n_max": 16,
        "out_par": 2, "scale_out": "groups",
    }
    return EngineConfig(**given | fields)


def test_a_scaled_sum_is_exact():
    """Every value at every cycle, one pair a cycle, in units of 2**-24."""
    source = random.Random(SEED)
    print(f"seed {SEED}")
    engine = config()
    m = Module()
    value, scale = Signal(signed(engine.acc_bits)), Signal(16)
    term, special = scale_sum(m, value, scale, engine.scaled_bits, "term")
    limit = (1 << (engine.acc_bits - 1)) - 1
    corners = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]
    pairs = [(v, s) for v in (0, 1, -1, limit, -limit) for s in corners]
    pairs += [(source.randint(-limit, limit), source.getrandbits(16)) for _ in range(400)]
    seen = []

    async def bench(ctx):
        for step in range(len(pairs) + SCALE_LATENCY - 1):
            if step < len(pairs):
                ctx.set(value, pairs[step][0])
                ctx.set(scale, pairs[step][1])
            seen.append((ctx.get(term), ctx.get(special)))
            await ctx.tick()

    run(m, bench)
    for (v, s), (got, bad) in zip(pairs, seen[SCALE_LATENCY - 1 :], strict=True):
        factor = fp16_value(s)
        assert bad == (factor is None)
        if factor is not None:
            assert Fraction(got) == v * factor * 2**SCALE_LSB_BITS, (v, hex(s))


@pytest.mark.parametrize("scale_out", ["row", "groups"])
def test_groups_are_summed_chunk_by_chunk(scale_out):
    """Random chunks in random order, with pauses: each sum is of its own chunk's groups."""
    source = random.Random(SEED)
    print(f"seed {SEED}")
    engine = config(scale_out=scale_out)
    dut = GroupSums(engine)
    width = engine.scaled_bits
    sums = [[0, 0] for _ in range(2)]  # by chunk, by lane
    bad = [[0, 0] for _ in range(2)]
    failures = []

    async def bench(ctx):
        expected = None
        for step in range(300):
            chunk, valid = source.randrange(2), source.random() < 0.8
            first = scale_out == "row" or step < 2 or source.random() < 0.3
            if step < 2:
                chunk, valid = step, True
            terms = [source.randrange(-(1 << (width - 6)), 1 << (width - 6)) for _ in range(2)]
            specials = source.getrandbits(2)
            ctx.set(dut.chunk, chunk)
            ctx.set(dut.valid, valid)
            ctx.set(dut.first, first)
            ctx.set(dut.specials, specials)
            for lane in range(2):
                ctx.set(dut.terms[lane], terms[lane])
            await ctx.tick()
            if valid:
                for lane in range(2):
                    flag = specials >> lane & 1
                    sums[chunk][lane] = terms[lane] + (0 if first else sums[chunk][lane])
                    bad[chunk][lane] = flag | (0 if first else bad[chunk][lane])
                expected = list(sums[chunk]), list(bad[chunk])
                got = [ctx.get(dut.totals[lane]) for lane in range(2)]
                flags = [ctx.get(dut.bad) >> lane & 1 for lane in range(2)]
                if (got, flags) != expected:
                    failures.append((step, got, flags, expected))

    run(dut, bench)
    assert failures == []
    assert any(any(row) for row in bad)
