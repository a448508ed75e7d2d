"""The row of structure triple: adders of three operands, placed as :mod:`hw.triples` plans them."""

from __future__ import annotations

from itertools import count

from amaranth import Const, Module
from amaranth.hdl import Value

from .adders import JoinAdder, PairAdder
from .config import EngineConfig
from .row import AnyRow
from .tree import register
from .triples import Join, Pair


class TripleRow(AnyRow):
    """One output: adds up its inputs, each flipped by its weight, and accumulates.

    Members as of a Row, but for `options`: input j, above ``-2**(act_bits - 1)``, comes
    ``config.lane_delays[j]`` cycles after the weights. Latency: `sum` belongs to the weights of
    tree_stages cycles before.

    Parameters
    ----------
    pair, join
        What makes the adders: the components of :mod:`hw.adders`, or instances of them.
    """

    def __init__(
        self, config: EngineConfig, *, pair: type[PairAdder] = PairAdder,
        join: type[JoinAdder] = JoinAdder,
    ):
        self.pair, self.join = pair, join
        super().__init__(config)

    def elaborate(self, platform):
        """Place the plan's adders."""
        m = Module()
        root = self.config.plan.root
        adders = _Adders(m, self)
        below = [adders.total(node) for node in root.below]
        # Takes off what all inputs but its own count too much.
        offset = len(root.leaves) - self.config.k_par
        self.accumulate(
            m,
            lambda accumulator: adders.joined(root, [accumulator, *below], offset).as_signed(),
        )
        return m


class _Adders:
    """Places adders in a row's module."""

    def __init__(self, m: Module, row: TripleRow):
        self._m = m
        self._row = row
        self._config = row.config
        self._flags: list[list[Value]] = [[bit] for bit in row.weights]  # by lane and stage
        self._numbers = count()

    def total(self, node: Pair | Join) -> Value:
        """Return a node's sum, registered if the adder that takes it is in another stage."""
        if isinstance(node, Pair):
            y = self._paired(node)
        else:
            below = [self.total(part) for part in node.below]
            # Every input counts 2**(A-1) too much: so does this one.
            y = self.joined(node, below, offset=len(node.leaves))
        if self._config.stage_of(node.level) == self._config.stage_of(node.level - 1):
            return y
        return register(self._m, y, f"sum_{next(self._numbers)}")

    def _paired(self, node: Pair) -> Value:
        adder = self._row.pair(self._config.act_bits)
        self._m.submodules[f"pair_{next(self._numbers)}"] = adder
        for q, n, lane in zip((adder.q0, adder.q1), (adder.n0, adder.n1), node.leaves, strict=True):
            self._m.d.comb += [q.eq(self._row.options[lane]), n.eq(self._flag(lane, node.level))]
        (carry,) = node.carries
        self._m.d.comb += adder.c.eq(self._flag(carry, node.level))
        return adder.y

    def joined(self, node: Join, sums: list[Value], offset: int) -> Value:
        """Return what a join makes of one or two sums, its input and its carries."""
        a, b = (*sums, Const(0, 1))[:2]
        adder = self._row.join(
            self._config.act_bits, len(a), len(b), node.bits, leaf=bool(node.leaves),
            carries=len(node.carries), offset=offset,
        )
        self._m.submodules[f"join_{next(self._numbers)}"] = adder
        self._m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
        for lane in node.leaves:
            self._m.d.comb += [
                adder.q.eq(self._row.options[lane]), adder.n.eq(self._flag(lane, node.level))
            ]
        for carry, lane in zip((adder.c0, adder.c1), node.carries, strict=False):
            self._m.d.comb += carry.eq(self._flag(lane, node.level))
        return adder.y

    def _flag(self, lane: int, level: int) -> Value:
        """Return whether the lane's weight is -1, when an adder of the level needs it."""
        known, stage = self._flags[lane], self._config.stage_of(level)
        while len(known) <= stage:
            # Kept as flip-flops, of which adders leave more than enough: a shift register takes a
            # table.
            name = f"flag_{lane}_{len(known)}"
            known.append(register(self._m, known[-1], name, copy=True))
        return known[stage]
