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
    m: Module, most: int, *, given: Value, taken: Value, name: str, init: int | None = None
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
    """
    init = most if init is None else init
    count = Signal(range(most + 1), init=init, name=f"{name}_count")
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
    nothing is compared but when `load` begins a new total.
    """  # fmt: skip
    last = Signal(name=f"{name}_last")
    ahead = Signal(range(-2 * step, max(1, most - 2 * step)), name=f"{name}_ahead")
    follows = Signal(name=f"{name}_last_follows")
    begun = bind(m, total - (2 * step + 1), f"{name}_begun")
    single = bind(m, at_most(total, step), f"{name}_single")
    next_last, next_ahead = ahead[-1], ahead - step
    if again:
        start = Signal.like(ahead, name=f"{name}_start", reset_less=True)
        only = Signal(name=f"{name}_only", reset_less=True)
        next_last, next_ahead = Mux(last, only, next_last), Mux(last, start, next_ahead)
        with m.If(load):
            m.d.sync += [start.eq(begun), only.eq(single)]
    m.d.comb += follows.eq(last)
    with m.If(load):
        m.d.comb += follows.eq(single)
        m.d.sync += ahead.eq(begun)
    with m.Elif(advance):
        m.d.comb += follows.eq(next_last)
        m.d.sync += ahead.eq(next_ahead)
    m.d.sync += last.eq(follows)
    bits = clog2(step + 1)
    return Steps(last, follows, bind(m, (ahead + (2 * step + 1))[:bits], f"{name}_rest"))
