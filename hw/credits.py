"""Counters of credits, whose "there is one" is a register: nothing compares a counter in time."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.hdl import Value

from .arith import bind


def credits(
    m: Module, most: int, *, given: Value, taken: Value, name: str, init: int | None = None
) -> tuple[Signal, Signal]:
    """Count credits; return whether there is one, a register, and whether there will be one.

    Parameters
    ----------
    most
        Credits there can be, at least 1.
    given, taken
        One bit each: a credit comes, one goes. None goes where there is none.
    init
        Credits at the start; default `most`.
    """
    init = most if init is None else init
    count = Signal(range(most + 1), init=init, name=f"{name}_count")
    some = Signal(init=init > 0, name=name)
    several = [count[1:].any()] if len(count) > 1 else []
    follows = bind(
        m, Cat(given, count[0] & ~taken, *several).any(), f"{name}_follows"
    )
    # One up, one down, or none: one adder.
    step = Cat(given ^ taken, (taken & ~given).replicate(len(count) - 1))
    m.d.sync += [count.eq(count + step), some.eq(follows)]
    return some, follows
