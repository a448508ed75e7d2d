"""The decoder: counters read whole, events that meet their clearing, strobes, refusals."""

from dataclasses import replace

import pytest

from hw.axi.config import AxiConfig
from hw.axi.regfile import RegisterFile, port_name
from hw.axi.registers import REGISTERS
from hw.config import PRESETS

from ..simulation import Clock, run

WORD = {name: offset >> 2 for register in REGISTERS for name, offset in register.words}


@pytest.fixture
def dut():
    return RegisterFile(replace(PRESETS["tiny"], scale_out="row"), AxiConfig())


async def read(ctx, clock, dut, name):
    ctx.set(dut.read_word, WORD[name])
    ctx.set(dut.read, 1)
    value = ctx.get(dut.read_data)
    assert not ctx.get(dut.read_error)
    await clock.tick()
    ctx.set(dut.read, 0)
    return value


async def write(ctx, clock, dut, name, value, strobe=0xF):
    ctx.set(dut.write_word, WORD[name])
    ctx.set(dut.write_data, value)
    ctx.set(dut.write_strobe, strobe)
    ctx.set(dut.write, 1)
    refused = ctx.get(dut.write_error)
    await clock.tick()
    ctx.set(dut.write, 0)
    return refused


def test_low_then_high_is_one_value(dut):
    """The count goes over 2**32 between the two reads, and another counter's is not mixed in."""
    counters = [register for register in REGISTERS if register.is_counter]

    async def bench(ctx):
        clock = Clock(ctx)
        for i, register in enumerate(counters):
            before = (i + 1) << 32 | 0xFFFFFFFF
            ctx.set(getattr(dut, register.name.lower()), before)
            assert await read(ctx, clock, dut, f"{register.name}_LO") == 0xFFFFFFFF
            ctx.set(getattr(dut, register.name.lower()), before + 1)
            await clock.tick()  # the address of the low word may stay, without a read
            assert await read(ctx, clock, dut, f"{register.name}_HI") == i + 1
            assert await read(ctx, clock, dut, f"{register.name}_LO") == 0
            assert await read(ctx, clock, dut, f"{register.name}_HI") == i + 2

    run(dut, bench)


def test_an_event_wins_over_its_clearing(dut):
    async def bench(ctx):
        clock = Clock(ctx)
        ctx.set(dut.error_bad_k_set, 1)
        await clock.tick()
        assert await read(ctx, clock, dut, "ERROR") == 2
        await write(ctx, clock, dut, "ERROR", 0xFFFFFFFF)  # while it is set again
        ctx.set(dut.error_bad_k_set, 0)
        assert await read(ctx, clock, dut, "ERROR") == 2
        await write(ctx, clock, dut, "ERROR", 0xFFFFFFFD)
        assert await read(ctx, clock, dut, "ERROR") == 2
        await write(ctx, clock, dut, "ERROR", 2, strobe=0xE)
        assert await read(ctx, clock, dut, "ERROR") == 2
        await write(ctx, clock, dut, "ERROR", 2, strobe=1)
        assert await read(ctx, clock, dut, "ERROR") == 0

    run(dut, bench)


def test_bytes_that_are_not_strobed_stay(dut):
    async def bench(ctx):
        clock = Clock(ctx)
        await write(ctx, clock, dut, "K", 0x11223344)
        await write(ctx, clock, dut, "K", 0xAABBCCDD, strobe=0b0101)
        assert await read(ctx, clock, dut, "K") == 0x11BB33DD
        await write(ctx, clock, dut, "K", 0, strobe=0)
        assert await read(ctx, clock, dut, "K") == 0x11BB33DD

    run(dut, bench)


def test_a_command_is_a_pulse_with_its_write(dut):
    async def bench(ctx):
        clock = Clock(ctx)
        assert not ctx.get(dut.ctrl_start)
        ctx.set(dut.write_word, WORD["CTRL"])
        ctx.set(dut.write_data, 1)
        ctx.set(dut.write_strobe, 0xE)
        ctx.set(dut.write, 1)
        assert not ctx.get(dut.ctrl_start)
        ctx.set(dut.write_strobe, 1)
        assert ctx.get(dut.ctrl_start)
        assert not ctx.get(dut.ctrl_reset)
        await clock.tick()
        ctx.set(dut.write, 0)
        assert not ctx.get(dut.ctrl_start)

    run(dut, bench)


def test_words_without_a_writable_field_refuse(dut):
    async def bench(ctx):
        clock = Clock(ctx)
        for name in ("ID", "STATUS", "LAYERS_STARTED", "BUSY_CYCLES_LO", "BUSY_CYCLES_HI"):
            assert await write(ctx, clock, dut, name, 0xFFFFFFFF), name
        for name in ("CTRL", "ERROR", "IRQ_ENABLE", "K"):
            assert not await write(ctx, clock, dut, name, 0), name

    run(dut, bench)


def test_names_of_ports():
    names = [port_name(register, field) for register in REGISTERS for field in register.fields]
    assert len(set(names)) == len(names)
    assert {"k", "list_lo", "ctrl_start", "error_bad_k", "busy_cycles"} <= set(names)
