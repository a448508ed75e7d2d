"""The reducer against its model in Python integers, on the sums where windows are hard."""

import random
from dataclasses import replace

import pytest

from hw.config import SHIFT_BIAS, EngineConfig
from hw.reducer import Reducer

from ..simulation import Clock, run
from .exact import random_exponent, random_total
from .window_model import reduce_shift_sum

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)
CONFIGS = [
    BASE,
    replace(BASE, act_par=1, act_bits=16, k_max=16384),
    replace(BASE, act_par=4, act_bits=4, k_max=4, scale_out="row"),
    replace(BASE, act_format="bf16", act_bits=16, k_max=5),
    replace(BASE, act_par=1, k_max=11264, around="blocks"),
    replace(BASE, act_format="bf16", around="blocks"),  # too wide for a block
]
IDS = [
    f"{c.act_par} lanes A{c.act_bits} K{c.k_max} {c.scale_out} {c.act_format} {c.around}"
    for c in CONFIGS
]


def split(config, source, total):
    """Return bins by number and lane with the sum `total`; None where nothing was added."""
    bits, lanes = 1 << config.bin_digit, config.act_par
    bins: list[list[int | None]] = [[None] * lanes for _ in range(config.bins)]
    rest = total
    limit = (1 << config.bin_bits - 1) - 1
    for number in reversed(range(config.bins)):
        part = rest >> number * bits if number else rest
        part = max(-limit * lanes, min(limit * lanes, part))
        rest -= part << number * bits
        if part or source.random() < 0.5:
            for lane in range(lanes):
                room = limit * (lanes - 1 - lane)  # of the lanes after it
                low, high = max(-limit, part - room), min(limit, part + room)
                bins[number][lane] = source.randint(low, high)
                part -= bins[number][lane]
    assert rest == 0
    return bins


def extremes(config):
    """Return totals and bins: all products of a vector as large as they can be, in one bin."""
    value = ((1 << config.product_significand) - 1) << (1 << config.bin_digit) - 1
    highest = config.product_shift_max + SHIFT_BIAS
    for number in {1, (highest + 1 >> config.bin_digit) - 1}:  # each is full up to its last shift
        for sign in (1, -1):
            bins = [[None] * config.act_par for _ in range(config.bins)]
            bins[number] = [sign * value * config.chunks_max] * config.act_par
            total = sum(bins[number]) << (number << config.bin_digit)
            yield total >> SHIFT_BIAS, bins


@pytest.mark.parametrize("chance", [1.0, 0.02])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_windows(config, chance):
    seed = f"{config.act_bits} {chance}"
    source = random.Random(seed)
    given = []
    while len(given) < 24:
        exponent = random_exponent(config, source)
        total = random_total(config, source, exponent)
        # What bins can hold: the largest sums of products.
        most = config.k_max << config.product_bits - 1
        total = max(-most, min(most, total))
        given.append((exponent, total, source.random() < 0.2,
                      split(config, source, total << SHIFT_BIAS)))
    for total, bins in extremes(config):
        given.append((random_exponent(config, source), total, False, bins))
    dut = Reducer(config)
    windows, asked_at, came_at = [], [], []

    async def bench(ctx):
        clock = Clock(ctx)
        read = 0
        while len(windows) < len(given):
            # At most one vector waits while another is reduced.
            ask = len(asked_at) < len(given) and len(asked_at) - len(windows) < 2
            ask = ask and source.random() < chance
            ctx.set(dut.summary_valid, ask)
            if ask:
                exponent, _, poison, _ = given[len(asked_at)]
                ctx.set(dut.summary, {"exponent": exponent, "poison": poison})
                asked_at.append(clock.cycle)
            lane = ctx.get(dut.read_lane)
            number = ctx.get(dut.read_bin)
            # What was asked for in the cycle before; nothing, if it was not used.
            ctx.set(dut.read_data, read or 0)
            read = 0
            if ctx.get(dut.read_en):
                read = given[len(windows)][3][number][lane]
                assert ctx.get(dut.read_bank) == len(windows) % 2
            if ctx.get(dut.window_valid):
                windows.append(ctx.get(dut.window))
                came_at.append(clock.cycle)
                if len(windows) == len(given):
                    return
            await clock.tick()

    run(dut, bench)
    before = -1
    for asked, came in zip(asked_at, came_at, strict=True):
        assert came == max(asked, before) + 1 + config.reduce_cycles
        before = came
    for (exponent, total, poison, _), window in zip(given, windows, strict=True):
        want = reduce_shift_sum(config, total, exponent)
        about = f"seed {seed} E {exponent} B {total:#x}"
        assert window.poison == poison
        found = window.base, window.sticky, window.place + config.place_offset
        assert found == (want.base, want.sticky, want.place), about
        for name in ("positive", "negative"):
            held, right = window[name], getattr(want, name)
            assert (held.kept, held.sticky, held.drop) == (right.kept, right.sticky, right.drop)
