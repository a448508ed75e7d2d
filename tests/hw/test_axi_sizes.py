"""What a layer takes, added up: against products, for shapes around every boundary."""

import random
from dataclasses import replace

import pytest

from hw.axi.sizes import GroupTotal, WeightTotal, scale_bytes_max
from hw.config import PRESETS

from ..simulation import Clock, run

ODD = replace(
    PRESETS["tiny"], name="odd", k_par=3, n_par=6, act_par=3, out_par=2, k_max=50, n_max=40,
    scale_out="groups",
)


def shapes(seed: int) -> list[tuple[int, int]]:
    chosen = random.Random(seed)
    corners = [(1, 1), (50, 40), (3, 6), (4, 7), (6, 12), (1, 40), (50, 1)]
    return corners + [(chosen.randint(1, 50), chosen.randint(1, 40)) for _ in range(40)]


def up(value: int, step: int) -> int:
    return -(-value // step)


def test_weights():
    dut = WeightTotal(ODD, {"bytes": 3, "beats": 1})

    async def bench(ctx):
        clock = Clock(ctx)
        for k, n in shapes(1):
            ctx.set(dut.k, k)
            ctx.set(dut.n, n)
            ctx.set(dut.start, 1)
            await clock.tick()
            ctx.set(dut.start, 0)
            begin = clock.cycle
            while ctx.get(dut.busy):
                await clock.tick()
            beats = up(k, 3) * up(n, 6)
            assert (ctx.get(dut.beats), ctx.get(dut.bytes)) == (beats, 3 * beats), (k, n)
            assert clock.cycle - begin == up(k, 3) + up(n, 6) + 1

    run(dut, bench)


@pytest.mark.parametrize("seed", [2, 3])
def test_scales_of_groups(seed):
    """Two bytes for every group and output; a group's last chunk is whole."""
    dut = GroupTotal(ODD)
    chosen = random.Random(seed)
    most = up(50, 3) * up(40, 2) * 4
    assert scale_bytes_max(ODD) == most

    async def bench(ctx):
        clock = Clock(ctx)
        for k, n in shapes(seed):
            s = chosen.choice([1, 2, up(k, 3), ODD.words_max, chosen.randint(1, ODD.words_max)])
            for name, value in (("k", k), ("n", n), ("s", s), ("start", 1)):
                ctx.set(getattr(dut, name), value)
            await clock.tick()
            ctx.set(dut.start, 0)
            begin = clock.cycle
            while ctx.get(dut.busy):
                await clock.tick()
            assert ctx.get(dut.bytes) == 4 * up(up(k, 3), s) * up(n, 2), (k, n, s)
            assert clock.cycle - begin <= up(up(k, 3), s) + up(n, 6) + 3 + 1

    run(dut, bench)
