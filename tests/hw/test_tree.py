# amaranth: UnusedElaboratable=no
"""The sign-push tree against integers: every way to join, every depth, exactly as late."""

import random

import pytest
from amaranth import Module, ResetInserter, Signal, signed

from hw.tree import Item, add_or_subtract, delay, register, sign_push_tree

from ..simulation import evaluate, run


def signed_range(width: int) -> range:
    return range(-(1 << width - 1), 1 << width - 1)


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 3), (4, 2), (2, 4), (1, 5)])
def test_add_or_subtract(left, right):
    m, a, b, subtract = Module(), Signal(signed(left)), Signal(signed(right)), Signal()
    total = add_or_subtract(m, a, b, subtract, "sum")
    assert total.shape() == signed(max(left, right) + 1)
    vectors = [[x, y, s] for x in signed_range(left) for y in signed_range(right) for s in (0, 1)]
    found = evaluate(m, [a, b, subtract], [total], vectors)
    assert found == [[x - y if s else x + y] for x, y, s in vectors]


def total_by_pushing(values, flips) -> int:
    """Return the sum that the tree must give before its root's flip.

    Operand j counts with the sign of operand ``j & (j - 1)``, or the other one if its flip says so.
    """
    signs = [1]
    for j in range(1, len(values)):
        signs.append(-signs[j & (j - 1)] if flips[j] else signs[j & (j - 1)])
    return sum(s * v for s, v in zip(signs, values, strict=True))


@pytest.mark.parametrize(
    ("count", "stages", "levels"),
    [
        (1, 1, 1), (1, 3, 2), (2, 1, 1), (3, 2, 1), (4, 1, 2), (5, 3, 1), (5, 2, 2), (6, 1, 9),
        (7, 3, 1), (8, 2, 2), (9, 4, 1), (12, 5, 1), (16, 2, 3),
    ],
)  # fmt: skip
def test_sums_and_latency(count, stages, levels):
    width = 6
    seed = count * 100 + stages
    source = random.Random(seed)
    m = Module()
    values = [Signal(signed(width), name=f"v{i}") for i in range(count)]
    flips = [Signal(name=f"f{i}") for i in range(count)]
    items = [Item(v, f) for v, f in zip(values, flips, strict=True)]
    result = sign_push_tree(m, items, stages=stages, levels_per_stage=levels)
    # One bit a level of the smallest tree.
    assert result.value.shape() == signed(width + (count - 1).bit_length())
    vectors = [([-32] * count, [s] * count) for s in (0, 1)] + [([31] * count, [0] * count)]
    for _ in range(200):
        numbers = [source.choice(signed_range(width)) for _ in items]
        vectors.append((numbers, [source.getrandbits(1) for _ in items]))
    found = []

    async def bench(ctx):
        for numbers, bits in [*vectors, *[([0] * count, [0] * count)] * stages]:
            for signal, value in zip([*values, *flips], [*numbers, *bits], strict=True):
                ctx.set(signal, value)
            found.append((ctx.get(result.value), ctx.get(result.flip)))
            await ctx.tick()

    run(m, bench)
    want = [(total_by_pushing(numbers, bits), bits[0]) for numbers, bits in vectors]
    assert found[stages:] == want, seed


def test_a_tree_that_does_not_fit_its_stages_is_refused():
    items = [Item(Signal(signed(4)), Signal()) for _ in range(5)]
    with pytest.raises(ValueError):
        sign_push_tree(Module(), items, stages=1, levels_per_stage=2)


@pytest.mark.parametrize("cycles", [1, 2, 5])
@pytest.mark.parametrize("shape", [1, 4, signed(4)])
def test_delay(cycles, shape):
    m, value = Module(), Signal(shape)
    late = delay(m, value, cycles, "late")
    assert late.shape() == Signal(shape).shape()
    source = random.Random(cycles)
    span = signed_range(4) if signed(4) == shape else range(1 << Signal(shape).shape().width)
    values = [source.choice(span) for _ in range(50)]
    found = []

    async def bench(ctx):
        for number in values:
            ctx.set(value, number)
            found.append(ctx.get(late))
            await ctx.tick()

    run(m, bench)
    assert found == [0] * cycles + values[: len(values) - cycles]


def test_no_delay_is_the_value_itself():
    value = Signal(3)
    assert delay(Module(), value, 0, "late") is value


def test_a_reset_clears_tags_and_leaves_data():
    m, value, reset = Module(), Signal(4), Signal()
    inner = Module()
    data = register(inner, value, "data")
    late = delay(inner, value, 2, "data_late")
    tag = delay(inner, value, 2, "tag", reset_less=False)
    m.submodules.inner = ResetInserter(reset)(inner)
    found = []

    async def bench(ctx):
        ctx.set(value, 9)
        await ctx.tick().repeat(3)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        for _ in range(3):
            found.append((ctx.get(data), ctx.get(late), ctx.get(tag)))
            await ctx.tick()

    run(m, bench)
    assert found == [(9, 9, 0), (9, 9, 0), (9, 9, 9)]
