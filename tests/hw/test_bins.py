"""Bins against Python integers: a vector's sums are read while the next one is added."""

import random
from dataclasses import replace

import pytest

from hw.bins import Bins
from hw.config import SHIFT_BIAS, SIGNIFICAND_SHIFT_BITS, EngineConfig

from ..simulation import run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)
CONFIGS = [
    BASE,
    replace(BASE, act_par=1, k_max=1000),
    replace(BASE, act_par=6, k_par=6, k_max=200),
    replace(BASE, act_format="bf16", act_par=4),
    replace(BASE, act_par=1, k_max=1000, around="blocks"),
    replace(BASE, act_par=4, k_max=100, around="blocks"),
]
SETTLED = 3  # cycles from a chunk's shifts to its sum standing in the bins


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.act_par} {c.act_format} {c.around}")
def test_every_bin_holds_its_sum(config, chance):
    seed = f"{config.act_par} {chance}"
    source = random.Random(seed)
    dut = Bins(config)
    most = (1 << config.product_significand) - 1
    lanes, width = config.act_par, 1 << config.bin_digit
    checked = []

    async def bench(ctx):
        previous, first = None, None  # sums of the vector before, by lane and bin; its fullest bin
        for number in range(12):
            chunks = source.randint(1, config.chunks_max)
            if number % 3 == 0:  # long enough for every bin of the vector before to be read
                chunks = config.chunks_max
            sums = [{} for _ in range(lanes)]
            highest = config.product_shift_max + SHIFT_BIAS
            favourite = source.randint(0, highest)
            # All products as large as they can be, of one sign, at the top of one bin.
            extreme = [most, -most][number // 3 % 2] if number % 3 == 2 else None
            if extreme is not None:
                chunks = config.chunks_max
                favourite = favourite // width * width + width - 1
                favourite -= width * (favourite > highest)
            reads = [(b, lane) for b in range(config.bins) for lane in range(lanes)]
            source.shuffle(reads)
            reads.sort(key=lambda read: read[0] == first)  # the last one is read first
            sent, wait, asked = 0, SETTLED, None
            significands = [0] * lanes
            while sent < chunks or wait:
                send = sent < chunks and source.random() < chance
                ctx.set(dut.valid, send)
                ctx.set(dut.first, sent == 0)
                ctx.set(dut.last, sent == chunks - 1)
                for lane in range(lanes):
                    # Often the same bin again, in the very next chunk.
                    shift = source.choice([favourite, favourite, source.randint(0, highest)])
                    value = source.choice([most, -most, 0, source.randint(-most, most)])
                    if extreme is not None:
                        shift, value = favourite, extreme
                    ctx.set(dut.shifts[lane], shift)
                    ctx.set(dut.significands[lane], significands[lane])  # of the cycle before
                    significands[lane] = value << shift % (1 << SIGNIFICAND_SHIFT_BITS)
                    if send:
                        chosen = shift // width
                        sums[lane][chosen] = sums[lane].get(chosen, 0) + (value << shift % width)
                # The bank of the vector before is read while this one's is added to.
                if asked is not None:
                    assert ctx.get(dut.read_data) == asked, seed
                asked = None
                ctx.set(dut.read_en, 0)
                if previous is not None and reads and sent < chunks:
                    which, lane = reads.pop()
                    ctx.set(dut.read_bin, which)
                    ctx.set(dut.read_lane, lane)
                    ctx.set(dut.read_bank, (number - 1) % 2)
                    enable = source.random() < 0.9
                    ctx.set(dut.read_en, enable)
                    asked = previous[lane].get(which, 0) if enable else 0
                    checked.extend([which] * (which in previous[lane]))
                sent += send
                wait -= sent == chunks and not send
                await ctx.tick()
            previous, first = sums, favourite // width

    run(dut, bench)
    assert len(checked) > 10
