"""Rows of the output-stationary array: one output each, and its accumulator."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from amaranth import Module, Signal, signed
from amaranth.hdl import Const, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .adders import JoinAdder, PairAdder
from .arith import select
from .config import EngineConfig
from .tree import Item, add_or_subtract, delay, register, sign_push_tree
from .triples import Join, Pair


def codes(config: EngineConfig, weights: Value) -> list[tuple[Value, Value]]:
    """Return (flip, index) of every group of one output's weights.

    The code of group 0 says its sign (1 = +1), that of the others whether it differs.
    """
    result = []
    for g in range(config.groups):
        code = weights.word_select(g, config.code_bits)
        result.append((~code[0] if g == 0 else code[0], code[1:]))
    return result


class _AnyRow(wiring.Component):
    """What rows have in common: ports and accumulator."""

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

    def _accumulate(self, m: Module, add: Callable[[Signal], Value]) -> None:
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


class Row(_AnyRow):
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
        self._accumulate(
            m, lambda accumulator: add_or_subtract(m, accumulator, term.value, term.flip, "after")
        )
        return m


class TripleRow(_AnyRow):
    """One output by adders of three operands, as :mod:`hw.triples` plans them; accumulates.

    Members as of a Row, but for `options`: input j comes ``config.lane_delays[j]`` cycles after
    the weights. Latency: `sum` belongs to the weights of tree_stages cycles before.

    Parameters
    ----------
    pair, join
        What makes the adders: the components of :mod:`hw.adders`, or instances of them.
    """

    def __init__(
        self, config: EngineConfig, *, pair: type[PairAdder] = PairAdder,
        join: type[JoinAdder] = JoinAdder,
    ):
        self._pair, self._join = pair, join
        super().__init__(config)

    def elaborate(self, platform):
        """Place the plan's adders; a sum that another stage needs is registered."""
        m = Module()
        config = self.config
        root = config.plan.root
        flags: list[list[Value]] = [[bit] for bit in self.weights]
        number = count()

        def flag(lane: int, level: int) -> Value:
            """Whether the lane's weight is -1, when an adder of the level needs it."""
            known = flags[lane]
            while len(known) <= config.stage_of(level):
                # Kept as flip-flops, of which adders leave more than enough: a shift register
                # takes a table.
                name = f"flag_{lane}_{len(known)}"
                known.append(register(m, known[-1], name, copy=True))
            return known[config.stage_of(level)]

        def total(node: Pair | Join) -> Value:
            """Return a node's sum, in the stage of the adder that takes it."""
            name = f"{type(node).__name__.lower()}_{next(number)}"
            if isinstance(node, Pair):
                m.submodules[name] = adder = self._pair(config.act_bits)
                left, right = node.leaves
                m.d.comb += [
                    adder.q0.eq(self.options[left]),
                    adder.q1.eq(self.options[right]),
                    adder.n0.eq(flag(left, node.level)),
                    adder.n1.eq(flag(right, node.level)),
                    adder.c.eq(flag(left, node.level)),
                ]
            else:
                below = [total(part) for part in node.below]
                # Every input of a sum counts 2**(A-1) too much: so does this one.
                adder = joined(node, name, below, offset=len(node.leaves))
            if config.stage_of(node.level) == config.stage_of(node.level - 1):
                return adder.y
            return register(m, adder.y, f"{name}_sum")

        def joined(node: Join, name: str, sums: list[Value], offset: int) -> JoinAdder:
            a, b = (*sums, Const(0, 1))[:2]
            m.submodules[name] = adder = self._join(
                config.act_bits, len(a), len(b), node.bits, leaf=bool(node.leaves),
                carries=len(node.carries), offset=offset,
            )
            m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
            for lane in node.leaves:
                m.d.comb += [
                    adder.q.eq(self.options[lane]), adder.n.eq(flag(lane, node.level))
                ]
            for carry, lane in zip((adder.c0, adder.c1), node.carries, strict=False):
                m.d.comb += carry.eq(flag(lane, node.level))
            return adder

        def add(accumulator: Signal) -> Value:
            sums = [total(part) for part in root.below]
            return joined(
                root, "accumulate", [accumulator, *sums],
                offset=len(root.leaves) - config.k_par,
            ).y.as_signed()

        self._accumulate(m, add)
        return m
