"""The sign-push adder tree: every adder adds or subtracts, nothing negates.

``s0*a + s1*b = s0*(a + s0*s1*b)``: the sign of the left operand is pushed to the root, and an
adder needs only to know whether its two operands' signs differ. The weight code holds just that
(hw.streams), so that one adder bit and its choice fit one look-up table of any FPGA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth import Cat, Const, Module, Signal
from amaranth.hdl import Value

from .arith import bind


@dataclass(frozen=True)
class Item:
    """An operand of the tree.

    Attributes
    ----------
    value
        Signed.
    flip
        For the leftmost operand: the sum is to be negated at the end. Else: the operand counts
        with the other sign than the one it is joined to.
    """

    value: Value
    flip: Value


def add_or_subtract(m: Module, a: Value, b: Value, subtract: Value, name: str) -> Signal:
    """Return ``a - b if subtract else a + b`` of two signed values, one bit wider than both.

    Written as one subtraction, ``a - ~(b ^ flip)`` and a bit below that brings the carry: adders
    are commutative, and a synthesizer that puts the flipped operand first spends a second table
    per bit. A subtraction keeps `a` first.
    """
    width = max(len(a), len(b))
    widened = Cat(b, b[-1].replicate(width - len(b)))
    flipped = bind(m, (widened ^ (~subtract).replicate(width))[:width], f"{name}_b")
    total = bind(
        m, Cat(subtract, a).as_signed() - Cat(Const(1, 1), flipped).as_signed(), f"{name}_c"
    )
    return bind(m, total[1:].as_signed(), name)


def sign_push_tree(
    m: Module, items: Sequence[Item], *, stages: int, levels_per_stage: int, name: str = "tree"
) -> Item:
    """Sum `items` in `stages` cycles; the result's flip is still to be applied.

    Adds neighbours level by level, so item j is joined to item ``j & (j - 1)``.
    """
    items = list(items)
    for stage in range(stages):
        for level in range(levels_per_stage):
            if len(items) == 1:
                break
            pairs = [
                Item(
                    add_or_subtract(
                        m, a.value, b.value, b.flip, f"{name}_{stage}_{level}_{i}"
                    ),
                    a.flip,
                )
                for i, (a, b) in enumerate(zip(items[::2], items[1::2], strict=False))
            ]
            items = pairs + ([items[-1]] if len(items) % 2 else [])
        items = [
            Item(
                register(m, item.value, f"{name}_r{stage}_{i}"),
                register(m, item.flip, f"{name}_f{stage}_{i}"),
            )
            for i, item in enumerate(items)
        ]
    (result,) = items
    return result


def register(m: Module, value: Value, name: str, *, copy: bool = False) -> Signal:
    """Return `value` one cycle later, without a reset.

    A `copy` is there to divide a net's load: synthesis must not merge it with others like it.
    """
    attrs = {"keep": "true"} if copy else {}
    target = Signal(Value.cast(value).shape(), name=name, reset_less=True, attrs=attrs)
    m.d.sync += target.eq(value)
    return target


def delay(
    m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True, copy: bool = False,
    in_lut: bool = True,
) -> Value:
    """Return `value` `cycles` later; the last register is a copy as in :func:`register`.

    Synthesis may make a shift register of a look-up table of three registers without reset. If not
    `in_lut`, every third one has a reset, so that they stay flip-flops.
    """  # fmt: skip
    for i in range(cycles):
        target = Signal(
            Value.cast(value).shape(),
            name=f"{name}_d{i}",
            reset_less=reset_less and (in_lut or i % 3 != 2),
            attrs={"keep": "true"} if copy and i == cycles - 1 else {},
        )
        m.d.sync += target.eq(value)
        value = target
    return value
