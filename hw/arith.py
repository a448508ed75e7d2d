"""Combinational building blocks: every intermediate value is a named Signal.

Amaranth emits an expression as often as it is used, and its shift operators widen by 2**bits of
the amount; these helpers bind each step once and keep the stated width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.hdl import ValueLike


def bind(m: Module, value: ValueLike, name: str) -> Signal:
    """Return a comb Signal of the shape of `value` that is driven with it."""
    value = Value.cast(value)
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal


def equals(value: Value, number: int) -> Value:
    """Return ``value == number``; written so that the Verilog has no ``!`` of several bits."""
    return ~value.any() if number == 0 else value == number


def at_most(value: Value, number: int) -> Value:
    """Return ``value <= number`` of unsigned `value`: a few look-up tables, no carry chain."""
    if number >= (1 << len(value)) - 1:
        return Const(1, 1)
    result: Value = Const(1, 1)
    for i in range(len(value)):
        result = (~value[i] | result) if number >> i & 1 else (~value[i] & result)
    return result


def up_down(count: Value, up: Value, down: Value) -> Value:
    """Return ``count + up - down`` of two single bits: one adder."""
    return count + Cat(up ^ down, down & ~up).as_signed()


def negate(m: Module, value: Value, negative: Value, name: str) -> Signal:
    """Return ``-value if negative else value`` of unsigned `value`, signed and one bit wider.

    Written as 0 - ~(value ^ negative) and a bit below that brings the one: with the flipped operand
    second, the choice fits the adder's look-up table, and no table is an inverter alone.
    """
    flip = negative.replicate(len(value) + 1)
    flipped = bind(m, ~(Cat(value, Const(0, 1)) ^ flip), f"{name}_flipped")
    total = Cat(negative, Const(0, len(flipped))) - Cat(Const(1, 1), flipped)
    return bind(m, total[1 : len(flipped) + 1].as_signed(), name)


def tree(items: Sequence[Value], combine: Callable[[Value, Value], Value]) -> Value:
    """Combine `items` as a balanced tree, so that widths grow by one bit a level."""
    items = list(items)
    while len(items) > 1:
        paired = [combine(a, b) for a, b in zip(items[::2], items[1::2], strict=False)]
        items = paired + ([items[-1]] if len(items) % 2 else [])
    return items[0]


def shift_left(
    m: Module, value: Value, amount: Value, width: int, name: str
) -> Signal:
    """Return ``value << amount`` truncated to `width` bits; keeps the signedness of `value`."""
    shape = signed(width) if value.shape().signed else width
    current = Signal(shape, name=f"{name}_0")
    m.d.comb += current.eq(value)
    for i in range(len(amount)):
        shifted = Signal(shape, name=f"{name}_{i + 1}")
        step = min(1 << i, width)
        m.d.comb += shifted.eq(Mux(amount[i], current.shift_left(step), current))
        current = shifted
    return current


def shift_right_sticky(
    m: Module, value: Value, amount: Value, name: str, *, lost: Value | None = None
) -> tuple[Signal, Signal]:
    """Return ``(value >> amount, lost)``; lost = any 1 was shifted out.

    A signed `value` is filled up with its sign. `lost` of an earlier step is passed on. Two bits of
    the amount at a time, the highest first: a choice of four fits a look-up table of six inputs.
    """
    width = len(value)
    current = bind(m, value, f"{name}_0")
    gone: Value = Const(0, 1) if lost is None else lost
    for i in reversed(range(0, len(amount), 2)):
        near, far = amount[i], amount[i + 1] if i + 1 < len(amount) else Const(0, 1)
        by = [current >> min(step << i, width) for step in range(4)]
        shifted = Signal(current.shape(), name=f"{name}_{i + 1}")
        passed = [current[min(step << i, width) : step + 1 << i].any() for step in range(3)]
        gone = bind(
            m,
            gone | ((near | far) & passed[0]) | (far & passed[1]) | (far & near & passed[2]),
            f"{name}_lost_{i + 1}",
        )
        m.d.comb += shifted.eq(Mux(far, Mux(near, by[3], by[2]), Mux(near, by[1], by[0])))
        current = shifted
    return current, bind(m, gone, f"{name}_lost")


def leading_one(m: Module, value: Value, name: str) -> Signal:
    """Return floor(log2(value)) of unsigned `value`, and 0 for 0."""
    bits = (len(value) - 1).bit_length()
    current: Value = value
    position = []
    for i in reversed(range(bits)):
        half = 1 << i
        if len(current) <= half:
            position.append(Value.cast(0)[:1])
            continue
        upper = bind(m, current[half:].any(), f"{name}_any_{i}")
        current = bind(m, Mux(upper, current[half:], current[:half]), f"{name}_part_{i}")
        position.append(upper)
    return bind(m, Cat(*reversed(position)) if position else Value.cast(0)[:1], name)


def one_hot(number: Value, *, down: bool = False) -> Value:
    """Return a bit for every value of `number`, 1 for the one it has; `down`: the last one lowest.

    As a factor it shifts: a multiplier's block is a shifter, and each bit here is a look-up table.
    """
    bits = [equals(number, i) for i in range(1 << len(number))]
    return Cat(reversed(bits) if down else bits)


def select(m: Module, options: Sequence[Value], index: Value, name: str) -> Value:
    """Return ``options[index]``; an index beyond the last option gives any of them."""
    options = list(options)
    for bit in range(len(index)):
        if len(options) == 1:
            break
        joined = [
            bind(m, Mux(index[bit], b, a), f"{name}_{bit}_{i}")
            for i, (a, b) in enumerate(zip(options[::2], options[1::2], strict=False))
        ]
        options = joined + ([options[-1]] if len(options) % 2 else [])
    (result,) = options
    return result
