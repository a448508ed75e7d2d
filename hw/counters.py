"""Counters that control asks: what it asks is a register, known the cycle before.

So no counter is compared between a register and the ready, valid or enable that it decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value

from .arith import at_most, bind, up_down
from .config import clog2


def credits(
    m: Module, most: int, *, given: Value, taken: Value, name: str, init: int | None = None,
    count: Signal | None = None,
) -> tuple[Signal, Signal]:
    """Count credits; return whether there is one, a register, and whether there will be one.

    Parameters
    ----------
    most
        Credits there can be, at least 1.
    given
        Credits that come in this cycle, mostly one bit.
    taken
        One bit: a credit goes. None goes where there is none.
    init
        Credits at the start; default `most`.
    count
        Is driven with how many there are, if that is asked for.
    """
    init = most if init is None else init
    asked, count = count, Signal(range(most + 1), init=init, name=f"{name}_count")
    if asked is not None:
        m.d.comb += asked.eq(count)
    some = Signal(init=init > 0, name=name)
    several = [count[1:].any()] if len(count) > 1 else []
    follows = bind(
        m, Cat(given, count[0] & ~taken, *several).any(), f"{name}_follows"
    )
    after = up_down(count, given, taken) if len(given) == 1 else count + given - taken
    m.d.sync += [count.eq(after), some.eq(follows)]
    return some, follows


def count_down(
    m: Module, count: Value, step: int, *, counting: Value, advance: Value, start: Value, name: str
) -> Signal:
    """Return what follows on `count`: while `counting`, less by `step` if `advance`; else `start`.

    `advance` comes while `counting` only. Written as ``a - ~b`` = a + b + 1, where `a` is -1 - step
    or -1: the choice of `b` fits the adder's look-up table, and the counter needs no enable.
    """
    shape = signed(len(count))
    minus = Mux(advance, Const(-1 - step, shape), Const(-1, shape)).as_unsigned()
    chosen = bind(m, ~Mux(counting, count, start), f"{name}_of")
    return bind(m, (minus - chosen)[: len(count)], name)


@dataclass(frozen=True)
class Steps:
    """A total that is worked off in steps.

    Attributes
    ----------
    last
        Register: this step is the last one.
    follows
        What `last` will be in the next cycle.
    rest
        What the last step has to do, where it is one.
    """

    last: Signal
    follows: Signal
    rest: Value


def steps(
    m: Module, total: Value, most: int, step: int, *, load: Value, advance: Value, again: bool,
    name: str,
) -> Steps:
    """Count `total`, 1 to `most`, down by `step`; with `again`, from the start after the last.

    The counter is two steps ahead, so that its sign says whether the next step is the last one:
    nothing is compared but when `load` begins a new total. It counts in units of the largest power
    of two that divides `step`, which has the fewest bits; what a total has beside whole units
    comes in as the carry. Written as ``a - ~b``, see :func:`count_down`.
    """  # fmt: skip
    fraction = (step & -step).bit_length() - 1
    unit = step >> fraction
    last = Signal(name=f"{name}_last")
    ahead = Signal(range(-2 * unit, max(1, -(-most >> fraction) - 2 * unit)), name=f"{name}_ahead")
    follows = Signal(name=f"{name}_last_follows")
    single = bind(m, at_most(total, step), f"{name}_single")
    held = Signal(len(total), name=f"{name}_start", reset_less=True)  # low bits: for `rest`
    with m.If(load):
        m.d.sync += held.eq(total)
    part = bind(m, _any(held[:fraction]), f"{name}_part")
    restart, count, carry, next_last = load, ahead, _any(total[:fraction]), ahead[-1]
    if again:
        only = Signal(name=f"{name}_only", reset_less=True)
        with m.If(load):
            m.d.sync += only.eq(single)
        restart = bind(m, load | last, f"{name}_restart")
        count, carry = Mux(last, held[fraction:], ahead), Mux(load, carry, part)
        next_last = Mux(last, only, next_last)
    shape = signed(len(ahead))
    minus = Mux(restart, Const(-2 * unit - 1, shape), Const(-unit, shape)).as_unsigned()
    chosen = bind(m, ~Mux(load, total[fraction:], count)[: len(ahead)], f"{name}_of")
    moved = Cat(restart & carry, minus) - Cat(Const(1, 1), chosen)
    with m.If(load | advance):
        m.d.sync += ahead.eq(moved[1:])
    m.d.comb += follows.eq(last)
    with m.If(load):
        m.d.comb += follows.eq(single)
    with m.Elif(advance):
        m.d.comb += follows.eq(next_last)
    m.d.sync += last.eq(follows)
    # Of the units left in the last step one may be a part.
    units = ~part if unit == 1 else (ahead + (2 * unit + 1) - part)[: clog2(unit + 1)]
    return Steps(last, follows, bind(m, Cat(held[:fraction], units), f"{name}_rest"))


def _any(bits: Value) -> Value:
    return bits.any() if len(bits) else Const(0, 1)
