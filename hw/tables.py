"""The activation-stationary array: sums looked up in tables, partial sums in block memory.

For every group of inputs a table holds its signed sums (one of each pair ±v). It is filled once
for a word of activations and then serves all outputs, while the next word's table is being filled.
A row is then an adder tree over looked-up sums: one adder per group instead of one per input.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, select
from .array import Parts
from .blocks import FIELD_BITS, TOTAL_BITS, Sums
from .config import MEMORY_LATENCY, TABLE_BANKS, EngineConfig, clog2
from .counters import credits, steps
from .memories import BlockMemory
from .row import codes
from .table_steps import TableStep
from .tree import Item, add_or_subtract, delay, register, sign_push_tree


class TableMaker(wiring.Component):
    """Computes one entry of every group's table a cycle.

    Latency: generator_stages cycles from `word` to `entry`; `index` comes one cycle before `word`.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "index": In(config.index_bits),
                "word": In(layouts.word(config)),
                "entry": Out(config.groups * config.term_bits),
            }
        )

    def elaborate(self, platform):
        """Decode the index into signs, then add up each group."""
        m = Module()
        config = self.config
        flips, zeros = [], []
        for lane in range(config.group):
            parent = lane & (lane - 1) if lane else None
            negative = [entry[lane] < 0 for entry in config.entries]
            if parent is not None:
                negative = [
                    a != (entry[parent] < 0)
                    for a, entry in zip(negative, config.entries, strict=True)
                ]
            flips.append(self._lookup(m, negative, f"flip_{lane}"))
            zero = [not entry[lane] for entry in config.entries]
            zeros.append(self._lookup(m, zero, f"zero_{lane}"))
        for g in range(config.groups):
            items = []
            for lane in range(config.group):
                value = self.word[g * config.group + lane]
                if config.ternary:
                    value = bind(m, Mux(zeros[lane], 0, value), f"lane_{g}_{lane}").as_signed()
                items.append(Item(value, flips[lane]))
            # The first input never counts negative, so there is nothing to negate at the end.
            total = sign_push_tree(
                m, items, stages=config.generator_stages,
                levels_per_stage=config.levels_per_stage, name=f"group_{g}",
            )
            m.d.comb += self.entry.word_select(g, config.term_bits).eq(total.value)
        return m

    def _lookup(self, m: Module, column: list[bool], name: str) -> Value:
        chosen = select(m, [Const(bit, 1) for bit in column], self.index, f"{name}_of")
        return register(m, chosen, name)


class SerialTableMaker(wiring.Component):
    """Computes one entry after the other with an adder for every table_turns groups.

    Steps are those of config.serial_steps, once for every turn. Latency: one cycle from `word`, the
    part of a word that holds the step's input of the turn's groups, to `entry`; `index`, the step,
    comes one cycle before `word`.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "index": In(clog2(config.table_cycles)),
                "word": In(layouts.word(config)),
                "entry": Out(config.part_lanes * config.term_bits),
            }
        )

    def elaborate(self, platform):
        """Decode the step, then add to or subtract from each group's sum."""
        m = Module()
        config = self.config
        steps = config.serial_steps * config.table_turns

        def decode(choose: Callable[[TableStep], int], bits: int, name: str) -> Value:
            if bits == 0:
                return Const(0, 0)
            numbers = [Const(choose(step), bits) for step in steps]
            return register(m, select(m, numbers, self.index, f"{name}_of"), name)

        clear = decode(lambda step: step.lane is None, 1, "clear")
        subtract = decode(lambda step: step.negative, 1, "subtract")
        double = decode(lambda step: step.double, int(not config.ternary), "double")
        fields = [bits for bits in FIELD_BITS if config.term_bits <= bits]
        if config.in_blocks and fields:
            per_block = TOTAL_BITS // fields[0]
            for first in range(0, config.part_lanes, per_block):
                lanes = range(first, min(first + per_block, config.part_lanes))
                block = Sums(len(lanes), config.act_bits, config.term_bits)
                m.submodules[f"sums_{first}"] = block
                m.d.comb += [
                    block.clear.eq(clear), block.subtract.eq(subtract), block.double.eq(double),
                    block.x.eq(Cat(self.word[g] for g in lanes)),
                    self.entry[first * config.term_bits:][: len(block.y)].eq(block.y),
                ]  # fmt: skip
            return m
        for g, value in enumerate(self.word):
            addend = value if config.ternary else Mux(double, value << 1, value)
            total = Signal(signed(config.term_bits), name=f"sum_{g}", reset_less=True)
            after = add_or_subtract(m, total, addend.as_signed(), subtract, f"after_{g}")
            m.d.sync += total.eq(after)
            # A reset of the register costs nothing, a choice in front of the adder a table per bit.
            with m.If(clear):
                m.d.sync += total.eq(0)
            m.d.comb += self.entry.word_select(g, config.term_bits).eq(total)
        return m


class TableControl(wiring.Component):
    """Steps through the words of a vector and the entries of each word's tables.

    Members
    -------
    batch : In stream
        Quantized batches in the order of the banks.
    read_addr : Out
        Address of the activation buffer: a word, or the part of it that a step needs.
    index : Out
        The step, of the table maker: without serial_steps the entry. It goes on while `step` is
        high in the sequence of the steps.
    step, entry, bank : Out
        An entry of a bank's tables is to be computed, from the word read in the same cycle: of the
        groups of a turn, a bit of `step` each.
    made : Out
        Pulse: with the last entry of a table.
    table_freed : In
        Pulse: the oldest table is not read any more.
    bank_freed : Out
        Pulse: the last word of the vector was read.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "batch": In(stream.Signature(layouts.batch(config))),
                "read_addr": Out(layouts.activation_address(config)),
                "index": Out(clog2(config.table_cycles)),
                "entry": Out(config.index_bits),
                "bank": Out(1),
                "step": Out(config.table_turns),
                "made": Out(1),
                "table_freed": In(1),
                "bank_freed": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the counters."""
        m = Module()
        config = self.config
        running, go = Signal(), Signal()
        vector_bank = Signal()
        word = Signal(range(max(2, config.words_max)))
        start = Signal(init=1)  # the index is 0
        begin = bind(m, self.batch.valid & ~running, "begin")
        end = bind(m, go & (self.index == config.table_cycles - 1), "end")
        words = steps(
            m, self.batch.payload.layer.k, config.k_max, config.k_par, load=begin, advance=end,
            again=False, name="k",
        )
        vector_end = bind(m, end & words.last, "vector_end")
        _, tables_follow = credits(
            m, TABLE_BANKS, given=self.table_freed, taken=go & start, name="free_tables"
        )
        runs = bind(m, begin | (running & ~vector_end), "runs")
        starts = bind(m, end | (start & ~go), "starts")
        m.d.comb += [
            self.batch.ready.eq(~running),
            *self._places(m, go, Cat(vector_bank, word)),
            self.made.eq(end),
            self.bank_freed.eq(vector_end),
        ]
        # Whether there is a step is known the cycle before.
        m.d.sync += [
            running.eq(runs), start.eq(starts), go.eq(runs & (~starts | tables_follow))
        ]  # fmt: skip
        with m.If(go):
            m.d.sync += self.index.eq(Mux(end, 0, self.index + 1))
        with m.If(end):
            m.d.sync += [word.eq(word + 1), self.bank.eq(~self.bank)]
        with m.If(vector_end):
            m.d.sync += [vector_bank.eq(~vector_bank), word.eq(0)]
        return m

    def _places(self, m: Module, step: Value, word: Value) -> list:
        """Assignments that say what a step reads, and which entry it makes, if any."""
        config = self.config
        plan = config.serial_steps
        if plan is None:
            return [
                self.read_addr.eq(word), self.entry.eq(self.index), self.step.eq(step)
            ]  # fmt: skip

        def decode(numbers: list[int], bits: int, name: str) -> Value:
            if bits == 0:
                return Const(0, 0)
            return select(m, [Const(n, bits) for n in numbers], self.index, name)

        numbers = {entry: number for number, entry in enumerate(config.entries)}
        turns = [(turn, s) for turn in range(config.table_turns) for s in plan]
        part = decode(
            [turn * config.group + (s.lane or 0) for turn, s in turns],
            clog2(config.word_parts), "part",
        )
        entry = decode(
            [numbers.get(s.coefficients, 0) for _, s in turns], config.index_bits, "entry"
        )
        makes = decode(
            [(s.coefficients is not None) << turn for turn, s in turns], config.table_turns, "makes"
        )
        return [
            self.read_addr.eq(Cat(part, word)),
            self.entry.eq(entry),
            self.step.eq(step.replicate(config.table_turns) & makes),
        ]


class TableRow(wiring.Component):
    """One output: a table per group, an adder tree, one addition to the partial sum.

    Latency: `sum` belongs to the weights of tree_stages + 2 cycles before, and to the `partial` of
    one cycle before.

    Members
    -------
    weights, bank : In
        Of a beat.
    write_en, write_addr, write_data : In
        One entry of the table of every group of a turn, whose bit of `write_en` is high.
    partial : In, sum : Out
        Signed acc_bits.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "weights": In(config.groups * config.code_bits),
                "bank": In(1),
                "write_en": In(config.table_turns),
                "write_addr": In(config.index_bits + 1),
                "write_data": In(config.groups // config.table_turns * config.term_bits),
                "partial": In(signed(config.acc_bits)),
                "sum": Out(signed(config.acc_bits)),
            }
        )

    def elaborate(self, platform):
        """Place the tables, add up what they give."""
        m = Module()
        config = self.config
        items = []
        for g, (flip, index) in enumerate(codes(config, self.weights)):
            m.submodules[f"table_{g}"] = table = memory.Memory(
                shape=unsigned(config.term_bits), depth=TABLE_BANKS << config.index_bits, init=[]
            )
            write, read = table.write_port(), table.read_port(domain="comb")
            adder, turn = divmod(g, config.table_turns)
            m.d.comb += [
                write.en.eq(self.write_en[turn]),
                write.addr.eq(self.write_addr),
                write.data.eq(self.write_data.word_select(adder, config.term_bits)),
                read.addr.eq(Cat(index, self.bank)),
            ]
            items.append(
                Item(
                    register(m, read.data.as_signed(), f"term_{g}"),
                    register(m, flip, f"flip_{g}"),
                )
            )
        term = sign_push_tree(
            m, items, stages=config.tree_stages, levels_per_stage=config.levels_per_stage
        )
        total = add_or_subtract(m, self.partial, term.value, term.flip, "after")
        m.d.comb += self.sum.eq(
            register(m, total[: config.acc_bits].as_signed(), "sum_register")
        )
        return m


def _beat(config: EngineConfig, rows: int) -> dict:
    """Members that say what a beat is."""
    return {
        "weights": In(rows * config.groups * config.code_bits),
        "bank": In(1),
        "valid": In(1),
        "first": In(1),
        "last": In(1),
        "tile": In(max(1, clog2(config.tiles_max))),
        "write_en": In(config.table_turns),
        "write_addr": In(config.index_bits + 1),
        "write_data": In(config.groups // config.table_turns * config.term_bits),
    }


class TableCluster(wiring.Component):
    """Rows behind one register stage, and the memory of their partial sums.

    Latency: tree_stages + 3 cycles from a beat to its `sums`; a beat of the same tile may follow
    PARTIAL_SUM_DISTANCE cycles later.
    """

    def __init__(self, config: EngineConfig, *, row: Callable[[EngineConfig], TableRow] = TableRow):
        self.config = config
        self._row = row
        rows = config.cluster_rows
        super().__init__(_beat(config, rows) | {"sums": Out(config.acc_bits * rows)})

    def elaborate(self, platform):
        """Register the inputs, place the rows, read and write partial sums."""
        m = Module()
        config = self.config
        rows = config.cluster_rows
        here = {
            name: register(m, getattr(self, name), f"{name}_here", copy=name != "weights")
            for name in ("weights", "bank", "first", "last", "tile", "write_addr", "write_data")
        }
        valid = delay(m, self.valid, 1, "valid_here", reset_less=False, copy=True)
        write_en = delay(m, self.write_en, 1, "write_en_here", reset_less=False, copy=True)

        m.submodules.partial_sums = storage = BlockMemory(
            config.acc_bits * rows, config.tiles_max
        )
        stages = config.tree_stages
        # The sum of a beat is needed when its terms leave the tree: reading starts so much before.
        read_at = delay(m, here["tile"], stages - MEMORY_LATENCY, "read_tile")
        first = delay(m, here["first"], stages, "first", copy=True)
        partial = Signal(config.acc_bits * rows, reset_less=True)
        # A reset of the register costs nothing, a choice in front of the adder a table per bit.
        m.d.sync += partial.eq(storage.read_data)
        with m.If(first):
            m.d.sync += partial.eq(0)
        keep = delay(m, valid & ~here["last"], stages + 2, "keep", reset_less=False)
        m.d.comb += [
            storage.read_addr.eq(read_at),
            storage.write_addr.eq(
                delay(m, read_at, MEMORY_LATENCY + 2, "write_tile")
            ),
            storage.write_data.eq(self.sums),
            storage.write_en.eq(keep),
        ]
        row_bits = config.groups * config.code_bits
        for r in range(rows):
            m.submodules[f"row_{r}"] = row = self._row(config)
            m.d.comb += [
                row.weights.eq(here["weights"].word_select(r, row_bits)),
                row.bank.eq(here["bank"]),
                row.write_en.eq(write_en),
                row.write_addr.eq(here["write_addr"]),
                row.write_data.eq(here["write_data"]),
                row.partial.eq(partial.word_select(r, config.acc_bits)),
                self.sums.word_select(r, config.acc_bits).eq(row.sum),
            ]
        return m


class TableArray(wiring.Component):
    """n_par outputs of one token vector, by look-up.

    Members
    -------
    word, index : In
        For the table maker: `index` one cycle before `word`.
    write_en, write_addr : In
        In the same cycle as the maker's entry.
    weights, bank, valid, first, last, tile : In
        A beat: its tables, its place in the partial sums, whether it starts or ends them.
    sums, load : Out
        Sums of a finished tile, tree_stages + 3 cycles after its beat.
    """

    def __init__(self, config: EngineConfig, *, parts: Parts | None = None):
        self.config = config
        self._parts = parts or Parts(TableCluster)
        members = _beat(config, config.n_par)
        del members["write_data"]
        super().__init__(
            members
            | {
                "index": In(clog2(config.table_cycles)),
                "word": In(layouts.word(config)),
                "sums": Out(config.acc_bits * config.n_par),
                "load": Out(1),
            }
        )

    def elaborate(self, platform):
        """Place the table maker and the clusters."""
        m = Module()
        config = self.config
        make = TableMaker if config.serial_steps is None else SerialTableMaker
        m.submodules.maker = maker = make(config)
        m.d.comb += [maker.index.eq(self.index), maker.word.eq(self.word)]
        shared = ("bank", "valid", "first", "last", "tile", "write_en", "write_addr")
        for c in range(config.n_par // config.cluster_rows):
            m.submodules[f"cluster_{c}"] = cluster = self._parts.cluster(config)
            m.d.comb += [getattr(cluster, name).eq(getattr(self, name)) for name in shared]
            m.d.comb += [
                cluster.weights.eq(self.weights.word_select(c, len(cluster.weights))),
                cluster.write_data.eq(maker.entry),
                self.sums.word_select(c, len(cluster.sums)).eq(cluster.sums),
            ]
        m.d.comb += self.load.eq(
            delay(m, self.valid & self.last, config.tree_stages + 3, "load", reset_less=False)
        )
        return m
