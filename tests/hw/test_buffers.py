"""The memories between the blocks against Python lists."""

import random
from dataclasses import replace

import pytest

from hw.buffers import ActivationBuffer, ProductBuffer
from hw.config import BANKS, MEMORY_LATENCY, EngineConfig

from ..simulation import run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)


@pytest.mark.parametrize("k_max", [24, 4, 7])
@pytest.mark.parametrize("act_par", [1, 4])
def test_products_come_out_in_order(k_max, act_par):
    config = replace(BASE, k_max=k_max, act_par=act_par)
    dut = ProductBuffer(config)
    source = random.Random(k_max)

    compared = []

    async def bench(ctx):
        inside, due = [], [None] * MEMORY_LATENCY
        data, width = dut.write_data.as_value(), len(dut.write_data.as_value())
        for _ in range(400):
            # A chunk is read in the cycle after it was written, or later.
            write = len(inside) < config.chunks_max and source.random() < 0.6
            read = bool(inside) and source.random() < 0.6
            value = source.getrandbits(width)
            ctx.set(data, value)
            ctx.set(dut.write_valid, write)
            ctx.set(dut.read_next, read)
            expected = due.pop(0)
            if expected is not None:
                assert ctx.get(dut.read_data.as_value()) == expected
                compared.append(expected)
            due.append(inside.pop(0) if read else None)
            if write:
                inside.append(value)
            await ctx.tick()

    run(dut, bench)
    assert len(compared) > 100


PARTS = replace(BASE, structure="tables", group=2, act_par=1)


@pytest.mark.parametrize(
    "config",
    [
        BASE,
        replace(BASE, act_par=4, k_max=4),
        replace(BASE, k_par=6, act_par=1, k_max=7),
        PARTS,
        replace(PARTS, k_par=21, group=3, act_bits=5),
        replace(PARTS, k_max=2048, act_bits=17),  # deep: blocks beside each other
    ],
    ids=lambda c: f"{c.k_par} by {c.act_par}, {c.word_parts} parts, K{c.k_max}",
)
def test_activations_are_written_by_slot_and_read_by_word(config):
    dut = ActivationBuffer(config)
    source = random.Random(config.k_par)
    slots = config.slots_per_word // config.word_parts
    depth, bits = BANKS * config.words_max * config.word_parts, config.act_bits * config.act_par
    words = [0] * depth
    compared = []

    async def bench(ctx):
        due = [None] * MEMORY_LATENCY
        for _ in range(600):
            expected = due.pop(0)
            if expected is not None:
                assert ctx.get(dut.read_data.as_value()) == expected
                compared.append(expected)
            word, slot = source.randrange(min(depth, 64)), source.randrange(slots)
            read = source.randrange(min(depth, 64))
            value, write = source.getrandbits(bits), source.getrandbits(1)
            for port, setting in (
                (dut.write_addr, word), (dut.write_slot, slot), (dut.write_data, value),
                (dut.write_valid, write), (dut.read_addr, read),
            ):  # fmt: skip
                ctx.set(port, setting)
            # A word that is being written is undefined until the next cycle.
            due.append(None if write and read == word else words[read])
            if write:
                words[word] &= ~(((1 << bits) - 1) << (slot * bits))
                words[word] |= value << (slot * bits)
            await ctx.tick()

    run(dut, bench)
    assert len(compared) > 200
    assert len(set(compared)) > 50
