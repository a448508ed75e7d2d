"""The output-stationary array: rows that add or subtract, one accumulator per output.

No XNOR, no popcount and no multiplier: a weight chooses a sum, and whether to add or subtract it.
Rows stand in clusters; each cluster keeps its own copy of what its rows share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth import Cat, Module
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind
from .config import EngineConfig
from .row import Row
from .tree import delay, register
from .triple_row import TripleRow


class Cluster(wiring.Component):
    """Up to CLUSTER_ROWS rows behind one register stage for all that they are given.

    Latency: tree_stages + 1 cycles from `weights` to `sums`; `options` come as the rows need them.
    """

    def __init__(
        self, config: EngineConfig, *, row: Callable[[EngineConfig], wiring.Component] | None = None
    ):
        self.config = config
        self._row = row or (TripleRow if config.structure == "triple" else Row)
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


@dataclass(frozen=True)
class Parts:
    """How the array's repeated parts are made: in place, or as instances of Verilog modules."""

    cluster: Callable[[EngineConfig], wiring.Component]


class SharedSums(wiring.Component):
    """The signed sums of every group of a word, computed once for all rows.

    Latency: one cycle with structure shared, none with direct and triple, whose only sum is the
    input.
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
        # With structure triple some inputs are added later than others.
        word = Cat(
            delay(m, lane, cycles, f"lane_{j}")
            for j, (lane, cycles) in enumerate(zip(self.word, config.lane_delays, strict=True))
        )
        m.d.comb += shared.word.eq(word)
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
