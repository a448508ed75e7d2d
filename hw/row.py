"""Rows of the output-stationary array: one output each, and its accumulator."""

from __future__ import annotations

from collections.abc import Callable

from amaranth import Module, Signal, signed
from amaranth.hdl import Const, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import select
from .config import EngineConfig
from .tree import Item, add_or_subtract, delay, sign_push_tree


def codes(config: EngineConfig, weights: Value) -> list[tuple[Value, Value]]:
    """Return (flip, index) of every group of one output's weights.

    The code of group 0 says its sign (1 = +1), that of the others whether it differs.
    """
    result = []
    for g in range(config.groups):
        code = weights.word_select(g, config.code_bits)
        result.append((~code[0] if g == 0 else code[0], code[1:]))
    return result


class AnyRow(wiring.Component):
    """What rows have in common: the ports, as of a Row, and the accumulator."""

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "options": In(layouts.options(config)),
                "weights": In(config.groups * config.code_bits),
                "valid": In(1),
                "last": In(1),
                "sum": Out(signed(config.acc_bits)),
            }
        )

    def accumulate(self, m: Module, add: Callable[[Signal], Value]) -> None:
        """Keep ``add(accumulator)``, the sum that includes the word of tree_stages cycles ago."""
        stages = self.config.tree_stages
        valid = delay(m, self.valid, stages, "valid", reset_less=False, copy=True)
        clear = delay(m, self.valid & self.last, stages, "clear", reset_less=False, copy=True)
        accumulator = Signal(signed(self.config.acc_bits))
        total = add(accumulator)
        m.d.comb += self.sum.eq(total)
        with m.If(valid):
            m.d.sync += accumulator.eq(total)
        # A tile's last sum leaves at once, so the next tile finds a cleared accumulator: a reset
        # of the register costs nothing, a choice in front of the adder costs a table per bit.
        with m.If(clear):
            m.d.sync += accumulator.eq(0)


class Row(AnyRow):
    """One output: chooses a sum for every group, adds them up, accumulates.

    Latency: `sum` belongs to the options and weights of tree_stages cycles before; the tags travel
    along inside, so that no control net fans out over the rows.

    Members
    -------
    options : In
        The signed sums of every group, without the one that is zero.
    weights : In
        groups * code_bits.
    valid, last : In
        The word counts; it is the last of a tile.
    sum : Out, signed acc_bits
        Accumulator including the word that arrives now.
    """

    def elaborate(self, platform):
        """Select, add up, accumulate."""
        m = Module()
        config = self.config
        zero = Const(0, signed(config.term_bits))
        items = []
        for g, (flip, index) in enumerate(codes(config, self.weights)):
            given = iter(layouts.group_options(config, self.options, g))
            options = [next(given) if any(entry) else zero for entry in config.entries]
            items.append(Item(select(m, options, index, f"chosen_{g}").as_signed(), flip))
        term = sign_push_tree(
            m, items, stages=config.tree_stages, levels_per_stage=config.levels_per_stage
        )
        self.accumulate(
            m, lambda accumulator: add_or_subtract(m, accumulator, term.value, term.flip, "after")
        )
        return m
