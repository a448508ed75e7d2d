"""The activation-stationary array: tables, their control, rows and partial sums, block by block."""

import random
from dataclasses import replace

import pytest

from hw.config import BANKS, PARTIAL_SUM_DISTANCE, TABLE_BANKS, EngineConfig
from hw.tables import (
    SerialTableMaker,
    TableArray,
    TableCluster,
    TableControl,
    TableMaker,
    TableRow,
)

from ..simulation import Clock, join, run, split_signed
from ..weight_code import dot, random_code, weights_of

BASE = EngineConfig(
    name="test", k_par=8, n_par=2, act_bits=8, k_max=40, n_max=20, structure="tables", group=4
)
CONFIGS = [
    BASE,
    replace(BASE, k_par=6, group=6, n_par=3, act_bits=5, levels_per_stage=1),
    replace(BASE, k_par=2, group=2, n_par=1, n_max=1, act_bits=4),  # one tile: the longest gap
    replace(BASE, k_par=10, group=2, n_par=12, n_max=30, levels_per_stage=1),  # two clusters
    replace(BASE, k_par=5, group=5, n_par=1, act_bits=24, levels_per_stage=3),
    replace(BASE, k_par=6, group=2, ternary=True, n_par=2),
    replace(BASE, k_par=3, group=3, ternary=True, n_par=1, act_bits=16, levels_per_stage=1),
    # One adder per group.
    replace(BASE, k_par=12, act_bits=5),
    replace(BASE, k_par=21, group=3, n_par=1),
    replace(BASE, k_par=15, group=3, ternary=True, n_par=1),
    # One for two or three groups in turn.
    replace(BASE, k_par=24, k_max=72),
    replace(BASE, k_par=12, group=2, act_bits=5, n_par=1),
    replace(BASE, k_par=20, group=2, ternary=True, n_par=3),
    # By blocks: fields of 12 bits, of 24, and too wide for one.
    replace(BASE, k_par=24, k_max=72, around="blocks"),
    replace(BASE, k_par=60, k_max=60, group=3, n_par=1, act_bits=16, around="blocks"),
    replace(BASE, k_par=15, group=3, ternary=True, n_par=1, around="blocks"),
    replace(BASE, k_par=12, act_bits=24, around="blocks"),
]
TREES = [config for config in CONFIGS if config.serial_steps is None]
SERIAL = [config for config in CONFIGS if config.serial_steps is not None]


def label(c) -> str:
    kind = f"{c.around}: group {c.group}{' ternary' * c.ternary}"
    if c.serial_steps is not None:
        kind += f" in {c.table_turns}"
    return f"{kind} {c.k_par}x{c.n_par} A{c.act_bits} {c.generator_stages}+{c.tree_stages} stages"


def extreme(config) -> int:
    return 2 ** (config.act_bits - 1) - 1


def random_word(config, source) -> list[int]:
    if source.random() < 0.1:
        return [source.choice([-1, 1]) * extreme(config)] * config.k_par
    return [source.randint(-extreme(config), extreme(config)) for _ in range(config.k_par)]


def part_of(config, word, part) -> list[int]:
    """Return part `part` of a word: one input of every group of a turn."""
    turn, lane = divmod(part, config.group)
    return [word[g * config.group + lane] for g in range(turn, config.groups, config.table_turns)]


def filling(config) -> list[tuple[int, int, int | None]]:
    """Return, for every step of a word's tables, the turn, the part read, and the entry made."""
    if config.serial_steps is None:
        return [(0, 0, i) for i in range(len(config.entries))]
    return [
        (turn, turn * config.group + (step.lane or 0),
         None if step.coefficients is None else config.entries.index(step.coefficients))
        for turn in range(config.table_turns)
        for step in config.serial_steps
    ]  # fmt: skip


def entry_of(config, word, index, turn=0) -> list[int]:
    """Return entry `index` of the tables of all groups of a turn."""
    groups = [word[i : i + config.group] for i in range(0, config.k_par, config.group)]
    return [
        sum(c * v for c, v in zip(config.entries[index], group, strict=True))
        for group in groups[turn :: config.table_turns]
    ]


# ---- the table maker ----------------------------------------------------------------------------


@pytest.mark.parametrize("config", TREES, ids=label)
def test_entries_and_latency(config):
    """A word a cycle, each with the index of the cycle before."""
    seed = config.k_par
    source = random.Random(seed)
    count = 200
    words = [random_word(config, source) for _ in range(count)]
    indices = [source.randrange(len(config.entries)) for _ in range(count)]
    dut = TableMaker(config)
    got = []

    async def bench(ctx):
        for cycle in range(count + config.generator_stages + 1):
            if cycle < count:
                ctx.set(dut.index, indices[cycle])
            if 0 < cycle <= count:
                ctx.set(dut.word, words[cycle - 1])
            got.append(split_signed(ctx.get(dut.entry), config.term_bits, config.groups))
            await ctx.tick()

    run(dut, bench)
    want = [entry_of(config, word, i) for word, i in zip(words, indices, strict=True)]
    assert got[config.generator_stages + 1 :] == want, seed


@pytest.mark.parametrize("config", SERIAL, ids=label)
def test_entries_one_adder_a_group(config):
    """Words one after the other, with or without cycles between them."""
    seed = config.k_par
    source = random.Random(seed)
    dut = SerialTableMaker(config)
    got, want = {}, {}

    async def bench(ctx):
        clock = Clock(ctx)

        async def tick():
            got[clock.cycle] = split_signed(ctx.get(dut.entry), config.term_bits, config.part_lanes)
            await clock.tick()

        for _ in range(30):
            word = random_word(config, source)
            for number, (turn, part, entry) in enumerate(filling(config)):
                ctx.set(dut.index, number)
                await tick()
                ctx.set(dut.word, part_of(config, word, part))
                if entry is not None:
                    want[clock.cycle + 1] = entry_of(config, word, entry, turn)
            for _ in range(source.randrange(3)):
                ctx.set(dut.index, 0)
                await tick()
        await tick()
        await tick()

    run(dut, bench)
    assert len(want) == 30 * len(config.entries) * config.table_turns
    assert {cycle: got[cycle] for cycle in want} == want, seed


# ---- its control --------------------------------------------------------------------------------


@pytest.mark.parametrize("chance", [1.0, 0.3])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_steps(config, chance):
    """Every entry of every word once, each as early as a batch and a free table allow."""
    seed = f"{config.k_par} {chance}"
    source = random.Random(seed)
    batches = [source.randint(1, config.k_max) for _ in range(12)]
    dut = TableControl(config)
    steps, made_at, banks_freed, freed_at, taken_at = [], [], [], [], []

    async def bench(ctx):
        clock, offered, waiting = Clock(ctx), False, 0
        rest = list(reversed(batches))
        while len(banks_freed) < len(batches):
            offered = offered or (bool(rest) and source.random() < chance)
            ctx.set(dut.batch.valid, offered)
            k = rest[-1] if offered else source.randint(1, config.k_max)
            ctx.set(dut.batch.payload.layer.k, k)
            free = waiting > 0 and source.random() < chance
            ctx.set(dut.table_freed, free)
            if free:
                waiting -= 1
                freed_at.append(clock.cycle)
            if offered and ctx.get(dut.batch.ready):
                taken_at.append(clock.cycle)
                rest.pop()
                offered = False
            if step := ctx.get(dut.step):
                place = ctx.get(dut.read_addr), ctx.get(dut.entry), ctx.get(dut.bank)
                steps.append((clock.cycle, step, *place))
            if ctx.get(dut.made):
                assert steps[-1][0] == clock.cycle
                waiting += 1
                made_at.append(clock.cycle)
            if ctx.get(dut.bank_freed):
                assert made_at[-1] == clock.cycle
                banks_freed.append(len(made_at))
            await clock.tick()

    run(dut, bench)
    want, ends, totals = [], [], []
    part_bits = (config.word_parts - 1).bit_length()
    for index, k in enumerate(batches):
        earliest = taken_at[index] + 1
        for word in range(-(-k // config.k_par)):
            # A table of an earlier word must have been given back.
            before = len(ends) - TABLE_BANKS
            start = max(earliest, freed_at[before] + 1 if before >= 0 else 0)
            address = word * BANKS + index % BANKS
            want += [
                (start + i, 1 << turn, address << part_bits | part, entry, len(ends) % TABLE_BANKS)
                for i, (turn, part, entry) in enumerate(filling(config))
                if entry is not None
            ]
            ends.append(want[-1][0])
            earliest = ends[-1] + 1
        totals.append(len(ends))
    assert steps == want, seed
    assert made_at == ends
    assert banks_freed == totals
    if chance == 1:  # one cycle takes a batch, in the cycle after the last step of the one before
        last = [ends[total - 1] for total in totals]
        assert taken_at == [0, *[cycle + 1 for cycle in last[:-1]]]


def test_no_table_is_written_before_it_is_free():
    dut = TableControl(BASE)
    steps = []

    async def bench(ctx):
        ctx.set(dut.batch.valid, 1)
        ctx.set(dut.batch.payload.layer.k, 40)
        for cycle in range(60):
            ctx.set(dut.table_freed, cycle == 50)
            steps.append(ctx.get(dut.step))
            await ctx.tick()

    run(dut, bench)
    filled = TABLE_BANKS * len(BASE.entries)
    assert steps == [0] + [1] * filled + [0] * (50 - filled) + [1] * 8 + [0]


# ---- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_a_row_looks_up_adds_and_accumulates(config):
    """Any numbers in the tables; written in one bank while the other is read, or before."""
    seed = config.k_par + 1
    source = random.Random(seed)
    half = 1 << (config.term_bits - 1)
    depth = TABLE_BANKS << config.index_bits
    stages = config.tree_stages
    dut = TableRow(config)
    tables = [None] * depth
    want, got = [], []

    async def bench(ctx):
        terms = []  # sum of the beat of each cycle
        for cycle in range(depth + 200):
            address = cycle if cycle < depth else source.randrange(depth)
            turns = config.table_turns
            write = [cycle < depth or source.random() < 0.5 for _ in range(turns)]
            values = [source.randrange(-half, half) for _ in range(config.groups // turns)]
            ctx.set(dut.write_en, join(write, 1))
            ctx.set(dut.write_addr, address)
            ctx.set(dut.write_data, join(values, config.term_bits))
            code, bank = random_code(config, source), source.randrange(TABLE_BANKS)
            ctx.set(dut.weights, code)
            ctx.set(dut.bank, bank)
            partial = source.randrange(-(1 << config.acc_bits - 1), 1 << config.acc_bits - 1)
            ctx.set(dut.partial, partial)
            got.append(ctx.get(dut.sum))
            sign, term = [], 0
            for g in range(config.groups):
                here = code >> (g * config.code_bits) & ((1 << config.code_bits) - 1)
                if g == 0:
                    sign.append(1 if here & 1 else -1)
                else:
                    sign.append(sign[g & (g - 1)] * (-1 if here & 1 else 1))
                row = tables[(bank << config.index_bits) + (here >> 1)]
                term = None if row is None or term is None else term + sign[g] * row[g]
            terms.append(term)
            # In the next cycle: this cycle's partial plus the term of stages + 1 cycles before it.
            before = terms[cycle - stages - 1] if cycle >= stages + 1 else None
            want.append(None if before is None else partial + before)
            row = tables[address] or [None] * config.groups
            tables[address] = [
                values[g // turns] if write[g % turns] else row[g] for g in range(config.groups)
            ]
            await ctx.tick()

    run(dut, bench)
    pairs = [(w, g) for w, g in zip(want, got[1:], strict=False) if w is not None]
    assert len(pairs) >= 190
    assert [g for _, g in pairs] == [wrap(w, config.acc_bits) for w, _ in pairs], seed


# ---- clusters and partial sums ------------------------------------------------------------------


def fill(config, source) -> tuple[list[list[int]], list[tuple[int, int, list[int]]]]:
    """Return a random word for each bank, and (write_en, address, entry) of their tables."""
    words = [random_word(config, source) for _ in range(TABLE_BANKS)]
    writes = [
        (1 << turn, (bank << config.index_bits) + i, entry_of(config, word, i, turn))
        for bank, word in enumerate(words)
        for i in range(len(config.entries))
        for turn in range(config.table_turns)
    ]
    return words, writes


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_partial_sums_and_latency(config):
    """Beats of any tile in any order, the same tile again as soon as is allowed."""
    seed = config.k_par + 2
    source = random.Random(seed)
    config = replace(config, n_par=config.cluster_rows)
    words, writes = fill(config, source)
    row_bits = config.groups * config.code_bits
    latency = config.tree_stages + 3
    dut = TableCluster(config)
    want, got, distances = {}, {}, set()

    async def bench(ctx):
        clock = Clock(ctx)
        for enable, address, values in writes:
            ctx.set(dut.write_en, enable)
            ctx.set(dut.write_addr, address)
            ctx.set(dut.write_data, join(values, config.term_bits))
            await clock.tick()
        ctx.set(dut.write_en, 0)
        sums = [None] * config.tiles_max  # None: nothing is kept, the next beat must be a first
        used = [-PARTIAL_SUM_DISTANCE] * config.tiles_max
        for i in range(400 + latency):
            tile = source.randrange(config.tiles_max)
            distance = clock.cycle - used[tile]
            valid = i < 400 and distance >= PARTIAL_SUM_DISTANCE and source.random() < 0.9
            first = sums[tile] is None or source.random() < 0.1
            last = source.random() < 0.2
            bank = source.randrange(TABLE_BANKS)
            codes = [random_code(config, source) for _ in range(config.n_par)]
            for port, value in (
                (dut.valid, valid), (dut.tile, tile), (dut.first, first), (dut.last, last),
                (dut.bank, bank), (dut.weights, join(codes, row_bits)),
            ):  # fmt: skip
                ctx.set(port, value)
            if valid:
                base = [0] * config.n_par if first else sums[tile]
                total = [
                    b + dot(words[bank], weights_of(config, code))
                    for b, code in zip(base, codes, strict=True)
                ]
                want[clock.cycle + latency] = [wrap(t, config.acc_bits) for t in total]
                if not first:
                    distances.add(distance)
                sums[tile] = None if last else total
                used[tile] = clock.cycle
            if clock.cycle in want:
                found = split_signed(ctx.get(dut.sums), config.acc_bits, config.n_par)
                got[clock.cycle] = found
            await clock.tick()

    run(dut, bench)
    assert len(want) > 50
    assert got == want, seed
    assert min(distances) == PARTIAL_SUM_DISTANCE


def wrap(value: int, width: int) -> int:
    """Return the signed number of `width` bits that a register would hold."""
    half = 1 << (width - 1)
    return (value + half) % (2 * half) - half


# ---- the whole array ----------------------------------------------------------------------------


def schedule(config, source):
    """Return what the array is given by cycle, and (cycle, sums) of the tiles that it must give."""
    row_bits = config.groups * config.code_bits
    latency = config.tree_stages + 3
    inputs: dict[int, dict] = {}
    want = []
    # Schedule: word w's tables from cycle `start`, its beats when they are complete.
    start = beat = word_count = 0
    freed = [0] * TABLE_BANKS
    for _ in range(6):
        words = source.randint(1, max(1, config.k_max // config.k_par))
        tiles = source.randint(1, config.tiles_max)
        totals = [[0] * config.n_par for _ in range(tiles)]
        last_beat = [-PARTIAL_SUM_DISTANCE] * tiles
        for w in range(words):
            word, bank = random_word(config, source), word_count % TABLE_BANKS
            start = max(start, freed[bank])
            steps = filling(config)
            for i, (turn, part, entry) in enumerate(steps):
                # index, a cycle later its word, generator_stages later its entry.
                inputs.setdefault(start + i, {})["index"] = i
                given = word if config.serial_steps is None else part_of(config, word, part)
                inputs.setdefault(start + i + 1, {})["word"] = given
                written = start + i + 1 + config.generator_stages
                if entry is not None:
                    address = (bank << config.index_bits) + entry
                    inputs.setdefault(written, {}).update(write_addr=address, write_en=1 << turn)
            start += len(steps)
            beat = max(beat, written + 1)  # as early as is right
            for t in range(tiles):
                beat = max(beat, last_beat[t] + PARTIAL_SUM_DISTANCE) + (source.random() < 0.2)
                codes = [random_code(config, source) for _ in range(config.n_par)]
                inputs.setdefault(beat, {})["beat"] = {
                    "weights": join(codes, row_bits), "bank": bank, "valid": 1,
                    "first": int(w == 0), "last": int(w == words - 1), "tile": t,
                }  # fmt: skip
                totals[t] = [
                    total + dot(word, weights_of(config, code))
                    for total, code in zip(totals[t], codes, strict=True)
                ]
                if w == words - 1:
                    want.append((beat + latency, totals[t]))
                last_beat[t] = beat
                beat += 1
            # The table may be written again when its last beat has passed.
            freed[bank], word_count = beat, word_count + 1
    return inputs, want


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_array(config):
    """Layers of random size: tables of the next word are made while this one is used."""
    seed = config.k_par + 3
    source = random.Random(seed)
    inputs, want = schedule(config, source)
    entries = len(config.entries)
    dut = TableArray(config)
    got = []

    async def bench(ctx):
        clock = Clock(ctx)
        while clock.cycle <= want[-1][0]:
            now = inputs.get(clock.cycle, {})
            ctx.set(dut.index, now.get("index", source.randrange(config.table_cycles)))
            noise_word = random_word(config, source)[: config.part_lanes]
            ctx.set(dut.word, now.get("word", noise_word))
            ctx.set(dut.write_en, now.get("write_en", 0))
            ctx.set(dut.write_addr, now.get("write_addr", source.randrange(entries)))
            noise = {
                "valid": 0, "last": source.getrandbits(1), "first": source.getrandbits(1),
                "tile": source.randrange(config.tiles_max), "bank": source.getrandbits(1),
                "weights": source.getrandbits(config.weight_beat_bits),
            }  # fmt: skip
            for name, value in now.get("beat", noise).items():
                ctx.set(getattr(dut, name), value)
            if ctx.get(dut.load):
                sums = split_signed(ctx.get(dut.sums), config.acc_bits, config.n_par)
                got.append((clock.cycle, sums))
            await clock.tick()

    run(dut, bench)
    assert got == want, seed
