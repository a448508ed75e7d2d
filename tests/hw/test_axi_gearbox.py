"""Widths of every relation, jobs of every length, stalls on both sides."""

import random

import pytest

from hw.axi.gearbox import Gearbox

from ..simulation import Clock, Source, run

WIDTHS = [
    (32, 32), (32, 128), (128, 32), (32, 24), (128, 24), (128, 96), (64, 40), (8, 24), (24, 8)
]


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize(("wide_in", "wide_out"), WIDTHS)
def test_every_bit_in_order(wide_in, wide_out, chance):
    """Each job is whole items in as many beats as they need; the rest of the last beat is noise."""
    seed = wide_in * 1000 + wide_out
    source = random.Random(seed)
    jobs = [[source.getrandbits(wide_out) for _ in range(source.randint(1, 9))] for _ in range(40)]
    beats = []
    for items in jobs:
        bits = sum(item << wide_out * i for i, item in enumerate(items))
        count = -(-len(items) * wide_out // wide_in)
        bits |= source.getrandbits(wide_in) << len(items) * wide_out
        for i in range(count):
            data = bits >> wide_in * i & ((1 << wide_in) - 1)
            beats.append(data | (i == count - 1) << wide_in)
    dut = Gearbox(in_width=wide_in, out_width=wide_out)
    got: list[list[int]] = [[]]
    cycles = []

    async def bench(ctx):
        clock = Clock(ctx)
        feed = Source(ctx, dut.i, beats, chance=chance, seed=seed)
        while len(got) <= len(jobs):
            feed.offer()
            ready = source.random() < chance
            ctx.set(dut.o.ready, ready)
            taken = ready and ctx.get(dut.o.valid)
            if taken:
                got[-1].append(ctx.get(dut.o.payload))
                if len(got[-1]) == len(jobs[len(got) - 1]):
                    got.append([])
            ctx.set(dut.clear, bool(taken and not got[-1]))
            feed.settle()
            await clock.tick()
        assert feed.done
        cycles.append(clock.cycle)

    run(dut, bench)
    assert got[:-1] == jobs
    if chance == 1.0:  # an item or a beat a cycle, and at most three more cycles a job
        longest = max(len(beats), sum(map(len, jobs)))
        assert cycles[0] <= longest + 3 * len(jobs)


def test_what_remains_of_a_job_is_one_more_item():
    """Three beats of 32 bits are one item of 64 and half of a second one."""
    dut = Gearbox(in_width=32, out_width=64)
    got = []

    async def bench(ctx):
        clock = Clock(ctx)
        feed = Source(ctx, dut.i, [1, 2, 3 | 1 << 32, 9], chance=1.0, seed=0)
        ctx.set(dut.o.ready, 1)
        for _ in range(12):
            feed.offer()
            if ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload))
            feed.settle()
            await clock.tick()
        assert not feed.done  # nothing is taken before `clear`

    run(dut, bench)
    assert len(got) == 2
    assert got[0] == 1 | 2 << 32
    assert got[1] & 0xFFFFFFFF == 3
