"""The output-stationary array against integer sums: exact, and as late as it says."""

import random
from dataclasses import replace

import pytest
from amaranth import Module, Signal

from hw.array import Array, Cluster, SharedSums
from hw.config import EngineConfig
from hw.row import Row
from hw.triple_row import TripleRow

from ..simulation import Clock, join, run, split_signed
from ..weight_code import dot, random_code, row_codes, weights_of

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=40, n_max=20)
CONFIGS = [
    BASE,
    replace(BASE, k_par=1, n_par=1, act_bits=4, k_max=1, n_max=1),
    replace(BASE, k_par=7, n_par=3, act_bits=16, levels_per_stage=1),
    replace(BASE, k_par=8, n_par=2, act_bits=24, levels_per_stage=9),
    replace(BASE, k_par=9, n_par=1, act_bits=5, levels_per_stage=3, k_max=64),
    replace(BASE, k_par=3, n_par=12),  # two clusters of six rows
    replace(BASE, ternary=True),
    replace(BASE, structure="triple", k_par=1, n_par=1, act_bits=4, k_max=1, n_max=1),
    replace(BASE, structure="triple", k_par=2, act_bits=5, n_par=3),
    replace(BASE, structure="triple", k_par=3, k_max=41),
    replace(BASE, structure="triple", k_par=4, levels_per_stage=1),
    replace(BASE, structure="triple", k_par=11, levels_per_stage=1, n_par=3),
    replace(BASE, structure="triple", k_par=13, act_bits=24, levels_per_stage=9, n_par=1),
    replace(BASE, structure="triple", k_par=32, levels_per_stage=1, k_max=64),
    replace(BASE, structure="triple", k_par=33, levels_per_stage=2, k_max=99, act_bits=6),
    replace(BASE, structure="shared", group=2),
    replace(BASE, k_par=9, group=3, structure="shared", n_par=11, levels_per_stage=1),
    replace(BASE, k_par=4, group=4, structure="shared", act_bits=4, n_par=1),
    replace(BASE, k_par=6, group=2, structure="shared", ternary=True, n_par=3),
    replace(BASE, k_par=3, group=3, structure="shared", ternary=True, act_bits=12, n_par=1),
]


def label(c) -> str:
    kind = f"{c.structure} {c.group}{' ternary' * c.ternary}"
    return f"{kind} {c.k_par}x{c.n_par} A{c.act_bits} {c.tree_stages} stages"


def extreme(config) -> int:
    return 2 ** (config.act_bits - 1) - 1


def random_word(config, source) -> list[int]:
    return [source.randint(-extreme(config), extreme(config)) for _ in range(config.k_par)]


def all_of_one_sign(config, plus: bool) -> int:
    """Return the code of an output whose weights are all +1, or all -1."""
    if config.structure == "triple":
        return 0 if plus else (1 << config.k_par) - 1
    index = config.entries.index((1,) * config.group)
    code = sum(index << 1 << (g * config.code_bits) for g in range(config.groups))
    return code | int(plus)


def beats(config, source, count):
    """Yield (valid, last, word, weights): tiles of random length, with gaps of noise."""
    left, kind = 0, None
    row_bits = config.groups * config.code_bits
    most = max(1, config.k_max // config.k_par)
    for _ in range(count):
        weights = join([random_code(config, source) for _ in range(config.n_par)], row_bits)
        word = random_word(config, source)
        if left == 0:
            left = source.randint(1, most)
            kind = source.choice(["random", "random", "plus", "minus"])
            if kind != "random":
                left = most
        if source.random() < 0.3:
            yield 0, source.getrandbits(1), word, weights
            continue
        left -= 1
        if kind != "random":  # the largest sums of both signs
            word = [extreme(config)] * config.k_par
            weights = join([all_of_one_sign(config, kind == "plus")] * config.n_par, row_bits)
        yield 1, int(left == 0), word, weights


def expected_options(config, word) -> list[int]:
    """Return the signed sums of every group in the order of the entries, zero left out."""
    groups = [word[i : i + config.group] for i in range(0, config.k_par, config.group)]
    return [
        sum(c * v for c, v in zip(entry, group, strict=True))
        for group in groups
        for entry in config.entries
        if any(entry)
    ]


class Late:
    """Gives a row's options as late as it needs each: with structure triple some come later."""

    def __init__(self, config):
        self._delays = config.lane_delays if config.structure == "triple" else None
        self._past = [[0] * config.k_par for _ in range(max(config.lane_delays) + 1)]

    def __call__(self, options: list[int]) -> list[int]:
        self._past = [options, *self._past[:-1]]
        if self._delays is None:
            return options
        return [self._past[cycles][j] for j, cycles in enumerate(self._delays)]


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_shared_sums(config):
    latency = 1 if config.structure == "shared" else 0
    seed = config.k_par
    source = random.Random(seed)
    limit = extreme(config)
    words = [[limit] * config.k_par, [-limit] * config.k_par]
    words += [random_word(config, source) for _ in range(60)]
    dut = SharedSums(config)
    got = []

    async def bench(ctx):
        for word in [*words, *words[:latency]]:
            ctx.set(dut.word, word)
            got.append(list(ctx.get(dut.options)))
            await ctx.tick()

    if latency == 0:
        m = Module()
        m.submodules.dut = dut
        m.d.sync += Signal().eq(1)  # a simulation needs a clock
        run(m, bench)
    else:
        run(dut, bench)
    assert got[latency:] == [expected_options(config, word) for word in words], seed


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_a_row_chooses_adds_and_accumulates(config):
    """The options are any numbers here: a row takes what it is given.

    With structure triple they are inputs, so never -2**(A-1).
    """
    seed = config.k_par + 1
    source = random.Random(seed)
    half = 1 << (config.term_bits - 1)
    least = 1 - half if config.structure == "triple" else -half
    kept = [entry for entry in config.entries if any(entry)]
    dut = (TripleRow if config.structure == "triple" else Row)(config)
    late = Late(config)
    want, got = [], []

    async def bench(ctx):
        total = 0
        for cycle in range(200 + config.tree_stages):
            options = [source.randrange(least, half) for _ in range(config.groups * len(kept))]
            code = random_code(config, source)
            valid, last = source.random() < 0.7, source.random() < 0.4
            ctx.set(dut.options, late(options))
            ctx.set(dut.weights, code)
            ctx.set(dut.valid, valid)
            ctx.set(dut.last, last)
            if cycle < 200:
                sign, term = [], 0
                for g in range(config.groups):
                    here = code >> (g * config.code_bits) & ((1 << config.code_bits) - 1)
                    if config.structure == "triple":
                        sign.append(-1 if here else 1)
                        here = 0
                    elif g == 0:
                        sign.append(1 if here & 1 else -1)
                    else:
                        sign.append(sign[g & (g - 1)] * (-1 if here & 1 else 1))
                    entry = config.entries[here >> 1]
                    if any(entry):
                        term += sign[g] * options[g * len(kept) + kept.index(entry)]
                # What does not fit wraps around, so the order of words does not matter.
                after = total + term
                want.append(after)
                if valid:
                    total = 0 if last else after
            got.append(ctx.get(dut.sum))
            await ctx.tick()

    run(dut, bench)
    modulus = 1 << config.acc_bits
    found = [value % modulus for value in got[config.tree_stages :]]
    assert found == [value % modulus for value in want], seed


def test_weight_bits_and_inputs_by_hand():
    """Direct and binary, 7 inputs: the sign of 0, then whether input j differs from j & (j - 1)."""
    config = CONFIGS[2]
    dut = Row(config)
    word = [3**i for i in range(7)]  # every sign pattern has another sum
    # Joined: 1 to 0, 2 to 0, 3 to 2, 4 to 0, 5 to 4, 6 to 4.
    cases = {
        0b0000001: [1, 1, 1, 1, 1, 1, 1],
        0b0000000: [-1, -1, -1, -1, -1, -1, -1],
        0b0000011: [1, -1, 1, 1, 1, 1, 1],
        0b0000101: [1, 1, -1, -1, 1, 1, 1],
        0b0001101: [1, 1, -1, 1, 1, 1, 1],
        0b0010001: [1, 1, 1, 1, -1, -1, -1],
        0b1010000: [-1, -1, -1, -1, 1, 1, -1],
        0b0110001: [1, 1, 1, 1, -1, 1, -1],
    }
    sums = []

    async def bench(ctx):
        ctx.set(dut.options, word)
        ctx.set(dut.valid, 1)
        ctx.set(dut.last, 1)
        for code in [*cases, *[0] * config.tree_stages]:
            ctx.set(dut.weights, code)
            sums.append(ctx.get(dut.sum))
            await ctx.tick()

    run(dut, bench)
    assert sums[config.tree_stages :] == [dot(word, weights) for weights in cases.values()]


@pytest.mark.parametrize("what", [Cluster, Array])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_sums_and_latency(config, what):
    """A cluster of rows has one cycle more than a row, the array one more for shared sums."""
    seed = config.k_par + 2
    source = random.Random(seed)
    if what is Cluster:
        config = replace(config, n_par=config.cluster_rows)
    dut = what(config)
    late = Late(config)
    latency = config.tree_stages + 1 + (what is Array and config.structure == "shared")
    want, got = [], []  # (cycle, sums)

    async def bench(ctx):
        clock = Clock(ctx)
        totals = [0] * config.n_par
        flush = [(0, 0, [0] * config.k_par, 0)] * (latency + 1)
        due = {}
        for valid, last, word, weights in [*beats(config, source, 250), *flush]:
            if what is Array:
                ctx.set(dut.word, word)
            else:
                ctx.set(dut.options, late(expected_options(config, word)))
            for port, value in ((dut.weights, weights), (dut.valid, valid), (dut.last, last)):
                ctx.set(port, value)
            if valid:
                totals = [
                    total + dot(word, weights_of(config, code))
                    for total, code in zip(totals, row_codes(config, weights), strict=True)
                ]
                if last:
                    want.append((clock.cycle + latency, totals))
                    due[clock.cycle + latency] = totals
                    totals = [0] * config.n_par
            if ctx.get(dut.load) if what is Array else clock.cycle in due:
                sums = split_signed(ctx.get(dut.sums), config.acc_bits, config.n_par)
                got.append((clock.cycle, sums))
            await clock.tick()

    run(dut, bench)
    assert len(want) >= 10
    assert got == want, seed
    reached = {value for _, sums in want for value in sums}
    largest = max(1, config.k_max // config.k_par) * config.k_par * extreme(config)
    assert {largest, -largest} <= reached
