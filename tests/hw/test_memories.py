# amaranth: UnusedElaboratable=no
"""Block memory and the tile queue against Python lists, and as late as they say."""

import random

import pytest

from hw.config import MEMORY_LATENCY, TILE_QUEUE_LATENCY
from hw.memories import BlockMemory, NarrowedMemory, TileHold, TileQueue

from ..simulation import Clock, run


@pytest.mark.parametrize(
    ("width", "depth", "granularity"),
    [(8, 16, None), (5, 3, None), (12, 7, 4), (6, 2, 1), (4, 1, 2)],
)
def test_a_read_takes_its_two_cycles(width, depth, granularity):
    """Words read while they are written are undefined, so the bench does not look at them."""
    seed = width * depth
    source = random.Random(seed)
    dut = BlockMemory(width, depth, granularity=granularity)
    part = granularity or width
    words = [0] * depth
    due = [None] * MEMORY_LATENCY
    compared = []

    async def bench(ctx):
        for _ in range(500):
            expected = due.pop(0)
            if expected is not None:
                assert ctx.get(dut.read_data) == expected, seed
                compared.append(expected)
            write, read = source.randrange(depth), source.randrange(depth)
            enable, value = source.getrandbits(width // part), source.getrandbits(width)
            for port, number in (
                (dut.write_addr, write), (dut.write_data, value), (dut.write_en, enable),
                (dut.read_addr, read),
            ):  # fmt: skip
                ctx.set(port, number)
            due.append(None if enable and read == write else words[read])
            for i in range(width // part):
                if enable >> i & 1:
                    mask = ((1 << part) - 1) << (i * part)
                    words[write] = words[write] & ~mask | value & mask
            await ctx.tick()

    run(dut, bench)
    assert len(compared) > 100
    assert len(set(compared)) > 2


def test_each_register_waits_for_its_enable():
    dut = BlockMemory(4, 4)

    async def bench(ctx):
        for address in range(4):
            ctx.set(dut.write_addr, address)
            ctx.set(dut.write_data, 10 + address)
            ctx.set(dut.write_en, 1)
            await ctx.tick()
        ctx.set(dut.write_en, 0)

        async def step(address, read, move):
            ctx.set(dut.read_addr, address)
            ctx.set(dut.read_en, read)
            ctx.set(dut.move_en, move)
            await ctx.tick()
            return ctx.get(dut.read_data)

        await step(1, 1, 0)
        assert await step(2, 1, 1) == 11  # the second register takes what the first one had
        assert await step(3, 0, 0) == 11  # neither loads
        assert await step(3, 0, 1) == 12  # the first still holds word 2
        assert await step(3, 1, 1) == 12
        assert await step(0, 0, 1) == 13

    run(dut, bench)


def test_a_memory_has_an_address():
    assert BlockMemory(4, 1).depth == 2
    assert len(BlockMemory(4, 1).write_addr) == 1
    assert [len(BlockMemory(4, depth).read_addr) for depth in (2, 3, 4, 5)] == [1, 2, 2, 3]


# ---- written wide, read in parts -----------------------------------------------------------------


@pytest.mark.parametrize(("part", "parts", "depth"), [(5, 8, 4), (3, 3, 1), (7, 1, 5), (2, 6, 3)])
def test_parts_of_words_are_read(part, parts, depth):
    dut = NarrowedMemory(part, parts, depth)
    source = random.Random(part)
    words: dict[int, int] = {}
    compared = []

    async def bench(ctx):
        due = [None] * MEMORY_LATENCY
        for _ in range(300):
            expected = due.pop(0)
            if expected is not None:
                assert ctx.get(dut.read_data) == expected
                compared.append(expected)
            word, value = source.randrange(depth), source.getrandbits(part * parts)
            read, which, write = source.randrange(depth), source.randrange(parts), source.random()
            for port, setting in (
                (dut.write_addr, word), (dut.write_data, value), (dut.write_en, write < 0.5),
                (dut.read_addr, read), (dut.read_part, which),
            ):  # fmt: skip
                ctx.set(port, setting)
            known = read in words and not (write < 0.5 and read == word)
            due.append(words[read] >> which * part & ((1 << part) - 1) if known else None)
            if write < 0.5:
                words[word] = value
            await ctx.tick()

    run(dut, bench)
    assert len(compared) > 50


# ---- the queue of finished tiles ----------------------------------------------------------------

INFO_LEAD = 4  # cycles that info comes before the sums, at least
PARTS, PART_BITS = 3, 5


def part_of(sums, part):
    return sums >> part * PART_BITS & ((1 << PART_BITS) - 1)


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("chance", [1.0, 0.5, 0.15])
def test_tiles_come_out_in_order(depth, chance):
    """`info` runs ahead of the sums by a random time; the writer counts room."""
    seed = f"{depth} {chance}"
    source = random.Random(seed)
    dut = TileQueue(6, PART_BITS, PARTS, depth)
    tiles = [(source.getrandbits(6), source.getrandbits(PARTS * PART_BITS)) for _ in range(150)]
    got, offered_at, written_at, taken_at, info_at = [], [], [], [], []
    compared = []

    async def bench(ctx):
        clock, infos, sums = Clock(ctx), 0, 0
        seen, due = False, [None] * MEMORY_LATENCY
        while len(got) < len(tiles):
            send_info = infos < len(tiles) and infos - len(got) < depth and source.random() < chance
            ctx.set(dut.info_valid, send_info)
            ctx.set(dut.info, tiles[infos][0] if send_info else source.getrandbits(6))
            if send_info:
                info_at.append(clock.cycle)
            send_sums = (
                sums < infos and info_at[sums] + INFO_LEAD <= clock.cycle and source.random() < 0.7
            )
            ctx.set(dut.sums_valid, send_sums)
            ctx.set(dut.sums, tiles[sums][1] if send_sums else source.getrandbits(15))
            if send_sums:
                written_at.append(clock.cycle)
            infos, sums = infos + send_info, sums + send_sums
            expected = due.pop(0)
            if expected is not None:
                assert ctx.get(dut.part_sums) == expected, seed
                compared.append(expected)
            valid = ctx.get(dut.tile_valid)
            part = source.randrange(PARTS)
            ctx.set(dut.part, part)
            due.append(part_of(tiles[len(got)][1], part) if valid else None)
            if valid:
                if not seen:
                    offered_at.append(clock.cycle)
                    seen = True
                assert ctx.get(dut.tile_info) == tiles[len(got)][0], seed
            take = valid and source.random() < chance
            ctx.set(dut.tile_taken, take)
            if take:
                got.append(tiles[len(got)])
                taken_at.append(clock.cycle)
                seen = False
            await clock.tick()

    run(dut, bench)
    # TILE_QUEUE_LATENCY after its sums, or in the cycle after the tile before it was taken.
    want = [
        max(written + TILE_QUEUE_LATENCY, taken_at[i - 1] + 1 if i else 0)
        for i, written in enumerate(written_at)
    ]
    assert offered_at == want, seed
    assert len(compared) >= len(tiles) - MEMORY_LATENCY


def test_info_alone_is_no_tile():
    dut = TileQueue(4, 4, 1, 4)
    valid = []

    async def bench(ctx):
        ctx.set(dut.info, 5)
        ctx.set(dut.info_valid, 1)
        await ctx.tick()
        ctx.set(dut.info_valid, 0)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.tile_valid)
        ctx.set(dut.sums, 7)
        ctx.set(dut.sums_valid, 1)
        for _ in range(6):
            valid.append(ctx.get(dut.tile_valid))
            await ctx.tick()
            ctx.set(dut.sums_valid, 0)
        assert (ctx.get(dut.tile_info), ctx.get(dut.part_sums)) == (5, 7)

    run(dut, bench)
    assert valid == [0] * TILE_QUEUE_LATENCY + [1] * (6 - TILE_QUEUE_LATENCY)


def test_a_tile_a_cycle():
    dut = TileQueue(8, 8, 1, 16)
    got = []

    async def bench(ctx):
        for cycle in range(45):
            ctx.set(dut.info, cycle)
            ctx.set(dut.info_valid, cycle < 30)
            ctx.set(dut.sums, 255 - (cycle - INFO_LEAD))
            ctx.set(dut.sums_valid, INFO_LEAD <= cycle < 30 + INFO_LEAD)
            ctx.set(dut.tile_taken, ctx.get(dut.tile_valid))
            if ctx.get(dut.tile_valid):
                got.append((cycle, ctx.get(dut.tile_info)))
            await ctx.tick()

    run(dut, bench)
    assert got == [(i + INFO_LEAD + TILE_QUEUE_LATENCY, i) for i in range(30)]


@pytest.mark.parametrize("parts", [1, 3, 8, 9, 20])
@pytest.mark.parametrize("chance", [1.0, 0.4])
def test_a_tile_is_held_until_it_is_taken(parts, chance):
    source = random.Random(f"{parts} {chance}")
    stages = 2 if parts > 8 else 1
    dut = TileHold(12, parts, stages)
    compared = []

    async def bench(ctx):
        valid, held, due = False, 0, [None] * stages
        for _ in range(200):
            assert ctx.get(dut.tile_valid) == valid
            expected = due.pop(0)
            if expected is not None:
                assert ctx.get(dut.part_sums) == expected
                compared.append(expected)
            part = source.randrange(parts)
            ctx.set(dut.part, part)
            due.append(held >> 12 * part & 0xFFF if valid else None)
            take = valid and source.random() < chance
            # The next tile may come in the very cycle in which this one is taken.
            load = (take or not valid) and source.random() < chance
            sums = source.getrandbits(12 * parts)
            ctx.set(dut.tile_taken, take)
            ctx.set(dut.sums_valid, load)
            ctx.set(dut.sums, sums)
            if load:
                valid, held = True, sums
            elif take:
                valid = False
            await ctx.tick()

    run(dut, bench)
    assert len(set(compared)) > 20
