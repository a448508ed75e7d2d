"""The memories between the blocks against Python lists."""

import random
from dataclasses import replace

import pytest

from hw.buffers import ActivationBuffer, ProductBuffer
from hw.config import BANKS, EngineConfig

from ..simulation import run

BASE = EngineConfig(name="test", k_par=4, n_par=2, act_bits=8, k_max=24, n_max=8, act_par=2)


@pytest.mark.parametrize("k_max", [24, 4, 7])
@pytest.mark.parametrize("act_par", [1, 4])
def test_products_come_out_in_order(k_max, act_par):
    config = replace(BASE, k_max=k_max, act_par=act_par)
    dut = ProductBuffer(config)
    source = random.Random(k_max)

    async def bench(ctx):
        inside, due = [], None
        data, width = dut.write_data.as_value(), len(dut.write_data.as_value())
        for _ in range(400):
            # A chunk is readable two cycles after it was written, as the engine reads it.
            write = len(inside) < config.chunks_max and source.random() < 0.6
            read = bool(inside) and inside[0][1] <= 0 and source.random() < 0.6
            value = source.getrandbits(width)
            ctx.set(data, value)
            ctx.set(dut.write_valid, write)
            ctx.set(dut.read_next, read)
            if due is not None:
                assert ctx.get(dut.read_data.as_value()) == due
            due = inside.pop(0)[0] if read else None
            inside = [(v, wait - 1) for v, wait in inside]
            if write:
                inside.append((value, 1))
            await ctx.tick()

    run(dut, bench)


@pytest.mark.parametrize(("k_par", "act_par", "k_max"), [(4, 2, 24), (4, 4, 4), (6, 1, 7)])
def test_activations_are_written_by_slot_and_read_by_word(k_par, act_par, k_max):
    config = replace(BASE, k_par=k_par, act_par=act_par, k_max=k_max)
    dut = ActivationBuffer(config)
    source = random.Random(k_par)
    depth, bits = BANKS * config.words_max, config.act_bits * act_par
    words = [0] * depth

    async def bench(ctx):
        due = None
        for _ in range(600):
            if due is not None:
                assert ctx.get(dut.read_data.as_value()) == due
            word, slot = source.randrange(depth), source.randrange(config.slots_per_word)
            read = source.choice([a for a in range(depth) if a != word] or [word])
            value, write = source.getrandbits(bits), source.getrandbits(1)
            for port, setting in (
                (dut.write_addr, word), (dut.write_slot, slot), (dut.write_data, value),
                (dut.write_valid, write), (dut.read_addr, read),
            ):  # fmt: skip
                ctx.set(port, setting)
            due = words[read]
            if write:
                words[word] &= ~(((1 << bits) - 1) << (slot * bits))
                words[word] |= value << (slot * bits)
            await ctx.tick()

    run(dut, bench)
