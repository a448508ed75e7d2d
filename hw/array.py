"""The output-stationary array: rows that add or subtract, one accumulator per output.

No XNOR, no popcount and no multiplier: a weight chooses a sum, and whether to add or subtract it.
Rows stand in clusters; each cluster keeps its own copy of what its rows share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth import Instance, Module, Signal, signed
from amaranth.hdl import ClockSignal, Const, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, select
from .config import EngineConfig
from .tree import Item, add_or_subtract, delay, register, sign_push_tree


def codes(config: EngineConfig, weights: Value) -> list[tuple[Value, Value]]:
    """Return (flip, index) of every group of one output's weights.

    The code of group 0 says its sign (1 = +1), that of the others whether it differs.
    """
    result = []
    for g in range(config.groups):
        code = weights.word_select(g, config.code_bits)
        result.append((~code[0] if g == 0 else code[0], code[1:]))
    return result


class Row(wiring.Component):
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
        stages = config.tree_stages
        valid = delay(m, self.valid, stages, "valid", reset_less=False, copy=True)
        clear = delay(
            m, self.valid & self.last, stages, "clear", reset_less=False, copy=True
        )
        accumulator = Signal(signed(config.acc_bits))
        total = add_or_subtract(m, accumulator, term.value, term.flip, "after")
        m.d.comb += self.sum.eq(total)
        with m.If(valid):
            m.d.sync += accumulator.eq(total)
        # A tile's last sum leaves at once, so the next tile finds a cleared accumulator: a reset
        # of the register costs nothing, a choice in front of the adder costs a table per bit.
        with m.If(clear):
            m.d.sync += accumulator.eq(0)
        return m


class RowInstance(Row):
    """A Row placed as an instance of the Verilog module `module_name`, emitted once for all."""

    def __init__(self, config: EngineConfig, module_name: str):
        self._module_name = module_name
        super().__init__(config)

    def elaborate(self, platform):
        """Place the instance; Amaranth's own simulator cannot run it."""
        return place(self, self._module_name)


class Cluster(wiring.Component):
    """Up to CLUSTER_ROWS rows behind one register stage for all that they are given.

    Latency: tree_stages + 1 cycles from `options` to `sums`.
    """

    def __init__(self, config: EngineConfig, *, row: Callable[[EngineConfig], Row] = Row):
        self.config = config
        self._row = row
        rows = config.cluster_rows
        super().__init__(
            {
                "options": In(layouts.options(config)),
                "weights": In(rows * config.groups * config.code_bits),
                "valid": In(1),
                "last": In(1),
                "sums": Out(config.acc_bits * rows),
            }
        )

    def elaborate(self, platform):
        """Register the inputs and place the rows."""
        m = Module()
        config = self.config
        row_bits = config.groups * config.code_bits
        options = register(m, self.options.as_value(), "options_here", copy=True)
        weights = register(m, self.weights, "weights_here")
        valid = delay(m, self.valid, 1, "valid_here", reset_less=False, copy=True)
        last = register(m, self.last, "last_here", copy=True)
        for r in range(config.cluster_rows):
            m.submodules[f"row_{r}"] = row = self._row(config)
            m.d.comb += [
                row.options.eq(options),
                row.weights.eq(weights.word_select(r, row_bits)),
                row.valid.eq(valid),
                row.last.eq(last),
                self.sums.word_select(r, config.acc_bits).eq(row.sum),
            ]
        return m


class ClusterInstance(Cluster):
    """A Cluster placed as an instance of the Verilog module `module_name`."""

    def __init__(self, config: EngineConfig, module_name: str):
        self._module_name = module_name
        super().__init__(config)

    def elaborate(self, platform):
        """Place the instance; Amaranth's own simulator cannot run it."""
        return place(self, self._module_name)


def place(component: wiring.Component, module_name: str) -> Module:
    """Return a module that holds an instance with the ports of `component`."""
    m = Module()
    ports = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    for name, member in component.signature.members.items():
        prefix = "o" if member.flow == Out else "i"
        ports[f"{prefix}_{name}"] = Value.cast(getattr(component, name))
    m.submodules.instance = Instance(module_name, **ports)
    return m


@dataclass(frozen=True)
class Parts:
    """How the array's repeated parts are made: in place, or as instances of Verilog modules."""

    cluster: Callable[[EngineConfig], wiring.Component]


class SharedSums(wiring.Component):
    """The signed sums of every group of a word, computed once for all rows.

    Latency: one cycle with structure shared, none with direct, whose only sum is the input.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {"word": In(layouts.word(config)), "options": Out(layouts.options(config))}
        )

    def elaborate(self, platform):
        """Add inputs from the left; sums with the same beginning share it."""
        m = Module()
        config = self.config
        for g in range(config.groups):
            known: dict[tuple[int, ...], Value] = {}
            targets = iter(layouts.group_options(config, self.options, g))
            for entry in config.entries:
                if not any(entry):
                    continue
                value = self._sum(m, g, entry, known)
                if config.structure == "shared":
                    value = register(m, value, f"sum_{g}_{_label(entry)}")
                m.d.comb += next(targets).eq(value)
        return m

    def _sum(self, m: Module, g: int, entry: tuple[int, ...], known: dict) -> Value:
        entry = tuple(entry)
        while entry and entry[-1] == 0:
            entry = entry[:-1]
        if entry not in known:
            lane = self.word[g * self.config.group + len(entry) - 1]
            rest = entry[:-1]
            if not any(rest):
                value = lane  # the first coefficient that is not zero is +1
            else:
                before = self._sum(m, g, rest, known)
                value = bind(
                    m, before + lane if entry[-1] > 0 else before - lane,
                    f"part_{g}_{_label(entry)}",
                )
            known[entry] = value
        return known[entry]


def _label(entry: tuple[int, ...]) -> str:
    return "".join({1: "p", -1: "m", 0: "z"}[c] for c in entry)


class Array(wiring.Component):
    """n_par outputs of one token vector.

    Latency: from `word` to `sums` tree_stages + 1 cycles, and one more with structure shared;
    `load` marks the sums of a finished tile.

    Parameters
    ----------
    config : EngineConfig
    parts : Parts or None
        How clusters are made; None builds them in place.

    Members
    -------
    word : In
        k_par activations.
    weights : In(weight_beat_bits), with ``valid``, ``last``
        In the same cycle as `word`.
    """

    def __init__(self, config: EngineConfig, *, parts: Parts | None = None):
        self.config = config
        self._parts = parts or Parts(Cluster)
        super().__init__(
            {
                "word": In(layouts.word(config)),
                "weights": In(config.weight_beat_bits),
                "valid": In(1),
                "last": In(1),
                "sums": Out(config.acc_bits * config.n_par),
                "load": Out(1),
            }
        )

    def elaborate(self, platform):
        """Place the shared sums, the clusters and the tag that says when a tile is complete."""
        m = Module()
        config = self.config
        m.submodules.shared_sums = shared = SharedSums(config)
        before = int(config.structure == "shared")
        weights = delay(m, self.weights, before, "weights")
        valid = delay(m, self.valid, before, "valid", reset_less=False)
        last = delay(m, self.last, before, "last")
        m.d.comb += shared.word.eq(self.word)
        rows = config.cluster_rows
        for c in range(config.n_par // rows):
            m.submodules[f"cluster_{c}"] = cluster = self._parts.cluster(config)
            m.d.comb += [
                cluster.options.eq(shared.options),
                cluster.weights.eq(weights.word_select(c, len(cluster.weights))),
                cluster.valid.eq(valid),
                cluster.last.eq(last),
                self.sums.word_select(c, len(cluster.sums)).eq(cluster.sums),
            ]
        load = delay(m, valid & last, 1 + config.tree_stages, "load", reset_less=False)
        m.d.comb += self.load.eq(load)
        return m
