"""Queues of registers against Python lists, and as late as they say."""

import random

import pytest

from hw.queues import InputRegister, KeptQueue, ShiftQueue

from ..simulation import Clock, run


@pytest.mark.parametrize("chance", [1.0, 0.6, 0.2])
def test_an_item_a_cycle(chance):
    source = random.Random(chance)
    dut = InputRegister(8)
    items = [source.getrandbits(8) for _ in range(120)]
    sent_at, got_at, got = [], [], []

    async def bench(ctx):
        clock, offered = Clock(ctx), False
        while len(got) < len(items):
            offered = offered or (len(sent_at) < len(items) and source.random() < chance)
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, items[len(sent_at)])
            ctx.set(dut.o.ready, source.random() < chance)
            inside = len(sent_at) - len(got)
            assert ctx.get(dut.o.valid) == (inside == 1)
            # Ready while empty, and in the cycle in which its item leaves.
            assert ctx.get(dut.i.ready) == (not inside or ctx.get(dut.o.ready))
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                got.append(ctx.get(dut.o.payload))
                got_at.append(clock.cycle)
            if offered and ctx.get(dut.i.ready):
                sent_at.append(clock.cycle)
                offered = False
            await clock.tick()

    run(dut, bench)
    assert got == items
    if chance == 1:
        assert sent_at == list(range(len(items)))
        assert got_at == [cycle + 1 for cycle in sent_at]


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("chance", [1.0, 0.5, 0.2])
def test_entries_move_on(depth, chance):
    """Each is at the output `depth` cycles after it was written, or after the one before it."""
    seed = f"{depth} {chance}"
    source = random.Random(seed)
    dut = ShiftQueue(8, depth)
    entries = [source.getrandbits(8) for _ in range(120)]
    written_at, seen_at, taken_at = [], [], []
    room_from, full = 0, False

    async def bench(ctx):
        nonlocal room_from, full
        clock = Clock(ctx)
        while len(taken_at) < len(entries):
            write = len(written_at) < len(entries) and source.random() < chance
            write = write and len(written_at) - len(taken_at) < depth and clock.cycle >= room_from
            write = write and (not written_at or clock.cycle >= written_at[-1] + 2)
            ctx.set(dut.w_en, write)
            ctx.set(dut.w_data, entries[len(written_at)] if write else source.getrandbits(8))
            if write:
                written_at.append(clock.cycle)
            valid = ctx.get(dut.r_valid)
            if valid:
                assert ctx.get(dut.r_data) == entries[len(taken_at)], seed
                if len(seen_at) == len(taken_at):
                    seen_at.append(clock.cycle)
            take = valid and source.random() < chance
            take = take and (not taken_at or clock.cycle >= taken_at[-1] + 2)
            ctx.set(dut.r_en, take)
            if take:
                if len(written_at) - len(taken_at) == depth:
                    full = True
                    room_from = clock.cycle + depth - 1
                taken_at.append(clock.cycle)
            await clock.tick()

    run(dut, bench)
    want = [
        max(written + depth, taken_at[i - 1] + 1 if i else 0)
        for i, written in enumerate(written_at)
    ]
    assert seen_at == want, seed
    assert full or chance == 1, seed


@pytest.mark.parametrize("chance", [1.0, 0.5, 0.2])
def test_the_second_entry_waits_at_its_writer(chance):
    """Each is at the output a cycle after it was written, or after the one before it was read."""
    seed = f"kept {chance}"
    source = random.Random(seed)
    dut = KeptQueue(8)
    entries = [source.getrandbits(8) for _ in range(120)]
    written_at, seen_at, taken_at = [], [], []
    most = 0

    async def bench(ctx):
        nonlocal most
        clock = Clock(ctx)
        while len(taken_at) < len(entries):
            inside = len(written_at) - len(taken_at)
            most = max(most, inside)
            write = len(written_at) < len(entries) and inside < 2 and source.random() < chance
            ctx.set(dut.w_en, write)
            if write:
                written_at.append(clock.cycle)
            # The second entry stands there until it has moved; else nothing that counts.
            kept = write or inside == 2
            ctx.set(dut.w_data, entries[len(written_at) - 1] if kept else source.getrandbits(8))
            valid = ctx.get(dut.r_valid)
            if valid:
                assert ctx.get(dut.r_data) == entries[len(taken_at)], seed
                if len(seen_at) == len(taken_at):
                    seen_at.append(clock.cycle)
            take = valid and source.random() < chance
            ctx.set(dut.r_en, take)
            if take:
                taken_at.append(clock.cycle)
            await clock.tick()

    run(dut, bench)
    want = [
        max(written + 1, taken_at[i - 1] + 1 if i else 0) for i, written in enumerate(written_at)
    ]
    assert seen_at == want, seed
    assert most == 2 or chance == 1
