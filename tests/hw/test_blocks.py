# amaranth: UnusedElaboratable=no
"""Sums in blocks against Python integers; their Verilog is compared in tests/signacc/fpga."""

import random

import pytest

from hw.blocks import Plus, Sums, Total

from ..simulation import join, run, split_signed


def wrapped(value: int, bits: int) -> int:
    """Return `value` as a signed number of `bits` bits."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(("a", "c", "width"), [(5, 7, 8), (8, 3, 6), (30, 44, 44), (48, 48, 48)])
def test_a_total_adds_what_it_is_told(a, c, width, before):
    seed = f"{a} {c} {width}"
    source = random.Random(seed)
    dut = Total(a, c, width, before=before)
    choices = [number for number in Plus if before or number != Plus.BEFORE]
    chosen = set()

    async def bench(ctx):
        ctx.set(dut.clear, 1)
        await ctx.tick()
        await ctx.tick()
        total, last = 0, 0
        for _ in range(400):
            left, right = (wrapped(source.getrandbits(48), bits) for bits in (a, c))
            plus, clear = source.choice(choices), source.random() < 0.05
            for port, value in (
                (dut.a, left), (dut.c, right), (dut.plus, plus), (dut.clear, clear)
            ):  # fmt: skip
                ctx.set(port, value)
            addend = {Plus.BEFORE: last, Plus.NOTHING: 0, Plus.C: right, Plus.SUM: total}[plus]
            total, last = 0 if clear else wrapped(left + addend, width), total
            chosen.add(plus)
            await ctx.tick()
            assert ctx.get(dut.y) == total, seed

    run(dut, bench)
    assert chosen == set(choices)


@pytest.mark.parametrize(("count", "a", "width"), [(4, 8, 10), (3, 12, 12), (2, 16, 18), (1, 3, 4)])
def test_sums_are_kept_apart(count, a, width):
    seed = f"{count} {a} {width}"
    source = random.Random(seed)
    dut = Sums(count, a, width)

    async def bench(ctx):
        totals = None
        for step in range(400):
            clear = step == 0 or source.random() < 0.1
            subtract, double = source.getrandbits(1), source.getrandbits(1)
            operands = [wrapped(source.getrandbits(24), a) for _ in range(count)]
            for port, value in (
                (dut.clear, clear), (dut.subtract, subtract), (dut.double, double),
                (dut.x, join(operands, a)),
            ):  # fmt: skip
                ctx.set(port, value)
            totals = [
                0 if clear else wrapped(total + (-1) ** subtract * x * (1 + double), width)
                for total, x in zip(totals or operands, operands, strict=True)
            ]
            await ctx.tick()
            assert split_signed(ctx.get(dut.y), width, count) == totals, seed

    run(dut, bench)


def test_what_a_block_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"^a block's sum must have at most 48 bits, not 49$"):
        Total(4, 4, 49)
    for count, width in ((5, 12), (3, 13), (1, 25)):
        with pytest.raises(ValueError) as error:
            Sums(count, 4, width)
        assert str(error.value) == (
            f"a block's sums must be at most 4 of 12 or 2 of 24 bits, not {count} of {width}"
        )
