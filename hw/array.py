"""The sign-accumulate array: conditional negation, an adder tree, one accumulator per output.

No XNOR, no popcount and no multiplier: a weight bit chooses between an activation and its negative.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth import Instance, Module, Mux, Signal, signed
from amaranth.hdl import ClockSignal, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import add_with_carry, bind
from .config import EngineConfig


class Row(wiring.Component):
    """One output: k_par lanes, their adder tree, the accumulator.

    A negative weight takes the ones' complement of its activation, and leaves the missing 1 to the
    carry input of an adder: k_par lanes have k_par - 1 adders in the tree and one at the
    accumulator, so each lane finds one, and no lane needs an adder of its own to negate.

    Latency: `sum` belongs to the word and weights of tree_stages cycles before; the tags travel
    along inside, so that no control net fans out over the rows.

    Members
    -------
    word : In, k_par activations
    weights : In(k_par)
        Bit c is the sign of input c: 1 = +1, 0 = -1.
    valid, first : In
        The word counts; it is the first of a tile.
    sum : Out, signed acc_bits
        Accumulator including the word that arrives now.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "word": In(layouts.word(config)),
                "weights": In(config.k_par),
                "valid": In(1),
                "first": In(1),
                "sum": Out(signed(config.acc_bits)),
            }
        )

    def elaborate(self, platform):
        """Build the tree level by level, a register after each levels_per_stage of them."""
        m = Module()
        config = self.config
        negative = bind(m, ~self.weights, "negative")
        flips = [negative[c].replicate(config.act_bits) for c in range(config.k_par)]
        terms = [
            bind(m, self.word[c].as_unsigned() ^ flips[c], f"t{c}").as_signed()
            for c in range(config.k_par)
        ]
        carries = [negative[c] for c in range(config.k_par)]
        valid, first = self.valid, self.first
        for stage in range(config.tree_stages):
            for level in range(config.levels_per_stage):
                if len(terms) == 1:
                    break
                sums = [
                    add_with_carry(m, a, b, carries.pop(), f"s{stage}_{level}_{i}")
                    for i, (a, b) in enumerate(zip(terms[::2], terms[1::2], strict=False))
                ]
                terms = sums + ([terms[-1]] if len(terms) % 2 else [])
            terms = [self._register(m, term, f"r{stage}_{i}") for i, term in enumerate(terms)]
            carries = [self._register(m, bit, f"c{stage}_{i}") for i, bit in enumerate(carries)]
            next_valid = Signal(name=f"valid_{stage}")
            next_first = Signal(name=f"first_{stage}", reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_first.eq(first)]
            valid, first = next_valid, next_first
        accumulator = Signal(signed(config.acc_bits), reset_less=True)
        (last_term,), (last_carry,) = terms, carries
        before = bind(m, Mux(first, 0, accumulator), "before").as_signed()
        m.d.comb += self.sum.eq(add_with_carry(m, before, last_term, last_carry, "after"))
        with m.If(valid):
            m.d.sync += accumulator.eq(self.sum)
        return m


    @staticmethod
    def _register(m: Module, value: Value, name: str) -> Signal:
        register = Signal(value.shape(), name=name, reset_less=True)
        m.d.sync += register.eq(value)
        return register


class RowInstance(Row):
    """A Row placed as an instance of the Verilog module `module_name`, emitted once for all."""

    def __init__(self, config: EngineConfig, module_name: str):
        self._module_name = module_name
        super().__init__(config)

    def elaborate(self, platform):
        """Place the instance; Amaranth's own simulator cannot run it."""
        m = Module()
        m.submodules.row = Instance(
            self._module_name,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_word=self.word.as_value(),
            i_weights=self.weights,
            i_valid=self.valid,
            i_first=self.first,
            o_sum=self.sum,
        )
        return m


class Array(wiring.Component):
    """n_par rows that share the activation word; row r takes weight bits r*k_par and up.

    Latency: tree_stages cycles from `word` to `sums`; `load` marks the sums of a finished tile.

    Parameters
    ----------
    config : EngineConfig
    row : callable
        Makes a Row from the configuration.
    """

    def __init__(self, config: EngineConfig, *, row: Callable[[EngineConfig], Row] = Row):
        self.config = config
        self._row = row
        super().__init__(
            {
                "word": In(layouts.word(config)),
                "weights": In(config.weight_beat_bits),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "sums": Out(config.acc_bits * config.n_par),
                "load": Out(1),
            }
        )

    def elaborate(self, platform):
        """Place the rows and the tag that says when a tile is complete."""
        m = Module()
        config = self.config
        for r in range(config.n_par):
            m.submodules[f"row_{r}"] = row = self._row(config)
            m.d.comb += [
                row.word.eq(self.word),
                row.weights.eq(self.weights.word_select(r, config.k_par)),
                row.valid.eq(self.valid),
                row.first.eq(self.first),
                self.sums.word_select(r, config.acc_bits).eq(row.sum),
            ]
        load = self.valid & self.last
        for stage in range(config.tree_stages):
            register = Signal(name=f"load_{stage}")
            m.d.sync += register.eq(load)
            load = register
        m.d.comb += self.load.eq(load)
        return m
