"""Block memory as every FPGA family has it, and queues made of it."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal
from amaranth.hdl import Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .arith import bind, select
from .config import MEMORY_LATENCY, SELECT_BITS, clog2
from .counters import credits
from .tree import delay, register

_AHEAD = 8
"""Infos read ahead by the queue of tiles: more than a read takes, so that it gives one a cycle."""


class BlockMemory(wiring.Component):
    """One write and one read port, read latency MEMORY_LATENCY.

    The second register has no reset and nothing before it, so that place and route can move it into
    the block; without it block memory limits the clock of every family. Reading the address that
    is being written gives an undefined value: whoever reads makes sure not to use it.

    Parameters
    ----------
    width, depth
        Of the memory, in bits and words.
    granularity
        Width of the parts of a word that can be written alone; default the whole word.
    block
        Whether synthesis must take block memory, even where look-up RAM would hold it.

    Members
    -------
    write_addr, write_data, write_en : In
        `write_en` has one bit per part.
    read_addr, read_en : In
        The memory's own register loads if `read_en` is high.
    move_en : In
        The second register loads; 1 for a plain pipeline.
    read_data : Out
    """

    def __init__(
        self, width: int, depth: int, *, granularity: int | None = None, block: bool = False
    ):
        self.block = block
        self.width = width
        self.depth = max(2, depth)  # a memory of one word would have no address
        self.granularity = granularity or width
        address = clog2(self.depth)
        super().__init__(
            {
                "write_addr": In(address),
                "write_data": In(width),
                "write_en": In(width // self.granularity),
                "read_addr": In(address),
                "read_en": In(1, init=1),
                "move_en": In(1, init=1),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform):
        """Place the memory and its output register."""
        m = Module()
        m.submodules.words = storage = memory.Memory(
            shape=unsigned(self.width), depth=self.depth, init=[],
            attrs={"no_rw_check": 1} | ({"ram_style": "block"} if self.block else {}),
        )  # fmt: skip
        write = storage.write_port(granularity=self.granularity)
        read = storage.read_port()
        output = Signal(self.width, name="output_register", reset_less=True)
        m.d.comb += [
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            write.en.eq(self.write_en),
            read.addr.eq(self.read_addr),
            read.en.eq(self.read_en),
            self.read_data.eq(output),
        ]
        with m.If(self.move_en):
            m.d.sync += output.eq(read.data)
        return m


class NarrowedMemory(wiring.Component):
    """Block memory that is written in wide words and read in narrow parts of them.

    Read latency MEMORY_LATENCY. Written as one write port per part: synthesis joins them to one
    wide port, as block memories have it, and the choice of a part costs no logic.

    Parameters
    ----------
    part, parts, depth
        Bits of a part, parts in a word (filled up to a power of two), words.

    Members
    -------
    write_addr, write_data, write_en : In
        A word: its first part lowest.
    read_addr, read_part : In
    read_data : Out
    """

    def __init__(self, part: int, parts: int, depth: int):
        self.part, self.parts = part, parts
        self.depth = max(2, depth)
        address = clog2(self.depth)
        super().__init__(
            {
                "write_addr": In(address),
                "write_data": In(part * parts),
                "write_en": In(1),
                "read_addr": In(address),
                "read_part": In(max(1, clog2(parts))),
                "read_data": Out(part),
            }
        )

    def elaborate(self, platform):
        """Place the memory and its output register."""
        m = Module()
        part_bits = clog2(self.parts)
        m.submodules.words = storage = memory.Memory(
            shape=unsigned(self.part), depth=self.depth << part_bits, init=[],
            attrs={"no_rw_check": 1},
        )
        for i in range(1 << part_bits):
            write = storage.write_port()
            m.d.comb += [
                write.addr.eq(Cat(Const(i, part_bits), self.write_addr)),
                write.en.eq(self.write_en),
            ]
            if i < self.parts:
                m.d.comb += write.data.eq(self.write_data.word_select(i, self.part))
        read = storage.read_port()
        output = Signal(self.part, name="output_register", reset_less=True)
        m.d.comb += [
            read.addr.eq(Cat(self.read_part[:part_bits], self.read_addr)),
            self.read_data.eq(output),
        ]
        m.d.sync += output.eq(read.data)
        return m


class TileQueue(wiring.Component):
    """Finished tiles that wait for the drain: what is known of a tile first, its sums later.

    Sums written in cycle t are offered in cycle t + TILE_QUEUE_LATENCY if the queue was empty; one
    tile a cycle otherwise. The writer counts room, and writes `info` at least four cycles before
    the sums.

    Parameters
    ----------
    info_bits, part_bits, parts, depth
        Bits of `info`; bits of a part of the sums, and how many; tiles.

    Members
    -------
    info, info_valid : In
        What the drain must know of the next tile, before its sums.
    sums, sums_valid : In
        Sums of the oldest tile that has none yet.
    tile_info, tile_valid : Out
        The oldest tile.
    part : In, part_sums : Out
        Which part of its sums is wanted; the part, MEMORY_LATENCY cycles later.
    tile_taken : In
        Pulse: the drain has asked for all of it.
    """

    def __init__(self, info_bits: int, part_bits: int, parts: int, depth: int):
        self.depth = max(2, 1 << clog2(depth))  # pointers that need no comparison
        self.parts = parts
        super().__init__(
            {
                "info": In(info_bits),
                "info_valid": In(1),
                "sums": In(part_bits * parts),
                "sums_valid": In(1),
                "tile_info": Out(info_bits),
                "tile_valid": Out(1),
                "part": In(max(1, clog2(parts))),
                "part_sums": Out(part_bits),
                "tile_taken": In(1),
            }
        )

    def elaborate(self, platform):
        """Build the memory of sums; that of infos, read ahead; their pointers."""
        m = Module()
        # Read ahead into a few words of their own: the memory's output register then has no enable,
        # and place and route can move it into the block. The oldest stands in a register: what the
        # drain decides by it does not wait for a read. It is there when its sums are: it came at
        # least four cycles before them, and is read ahead before the tile in front of it leaves.
        m.submodules.ahead = ahead = memory.Memory(
            shape=unsigned(len(self.info)), depth=_AHEAD, init=[]
        )
        came, oldest = ahead.write_port(), ahead.read_port(domain="comb")
        read, passed = Signal(), Signal()
        waiting, _ = credits(  # infos in memory
            m, self.depth, given=self.info_valid, taken=read, name="waiting", init=0
        )
        room, _ = credits(m, _AHEAD, given=self.tile_taken, taken=read, name="room")
        has_sums, _ = credits(
            m, self.depth, given=self.sums_valid, taken=self.tile_taken, name="has_sums", init=0
        )
        has_ahead, _ = credits(m, _AHEAD, given=came.en, taken=passed, name="has_ahead", init=0)
        has_info = Signal()
        info = Signal(len(self.info), reset_less=True)
        moves = bind(m, ~has_info | self.tile_taken, "moves")
        m.d.comb += [read.eq(waiting & room), passed.eq(moves & has_ahead)]
        with m.If(moves):
            m.d.sync += [has_info.eq(has_ahead), info.eq(oldest.data)]
        m.submodules.info_memory = infos = BlockMemory(len(self.info), self.depth)
        m.submodules.sums_memory = sums = NarrowedMemory(
            len(self.part_sums), self.parts, self.depth
        )
        m.d.comb += [
            infos.write_addr.eq(_pointer(m, self.info_valid, self.depth, "info_pointer")),
            infos.write_data.eq(self.info),
            infos.write_en.eq(self.info_valid),
            infos.read_addr.eq(_pointer(m, read, self.depth, "read_pointer")),
            came.addr.eq(_pointer(m, came.en, _AHEAD, "came_pointer")),
            came.data.eq(infos.read_data),
            came.en.eq(delay(m, read, MEMORY_LATENCY, "read", reset_less=False)),
            oldest.addr.eq(_pointer(m, passed, _AHEAD, "passed_pointer")),
            sums.write_addr.eq(_pointer(m, self.sums_valid, self.depth, "sums_pointer")),
            sums.write_data.eq(self.sums),
            sums.write_en.eq(self.sums_valid),
            sums.read_addr.eq(_pointer(m, self.tile_taken, self.depth, "drain_pointer")),
            sums.read_part.eq(self.part),
            self.part_sums.eq(sums.read_data),
            self.tile_info.eq(info),
            self.tile_valid.eq(has_sums),
        ]
        return m


def _pointer(m: Module, step: Value, depth: int, name: str) -> Signal:
    """Return a place among `depth`, a power of two, that goes on by one with `step`."""
    pointer = Signal(range(depth), name=name)
    m.d.sync += pointer.eq(pointer + step)
    return pointer


class TileHold(wiring.Component):
    """The sums of one finished tile, until the drain is done with them; the queue's one register.

    Parameters
    ----------
    part_bits, parts
        Bits of a part of the sums, and how many there are.
    stages
        Registers in which a part is selected.

    Members
    -------
    sums, sums_valid, tile_valid, part, part_sums, tile_taken
        As of :class:`TileQueue`, but for `part_sums`, which comes `stages` cycles after `part`, and
        `tile_valid`, which comes one cycle after `sums_valid`.
    """

    def __init__(self, part_bits: int, parts: int, stages: int):
        self.parts, self.stages = parts, stages
        super().__init__(
            {
                "sums": In(part_bits * parts),
                "sums_valid": In(1),
                "tile_valid": Out(1),
                "part": In(max(1, clog2(parts))),
                "part_sums": Out(part_bits),
                "tile_taken": In(1),
            }
        )

    def elaborate(self, platform):
        """Build a register with a valid bit, and the selection."""
        m = Module()
        held = Signal(len(self.sums), reset_less=True)
        with m.If(self.tile_taken):
            m.d.sync += self.tile_valid.eq(0)
        with m.If(self.sums_valid):
            m.d.sync += [held.eq(self.sums), self.tile_valid.eq(1)]
        options = [held.word_select(i, len(self.part_sums)) for i in range(self.parts)]
        index: Value = self.part
        for stage in range(self.stages):
            options = [
                register(
                    m,
                    select(
                        m, options[i : i + (1 << SELECT_BITS)], index[:SELECT_BITS],
                        f"select_{stage}_{i}",
                    ),
                    f"selected_{stage}_{i}",
                )
                for i in range(0, len(options), 1 << SELECT_BITS)
            ]
            if len(index) > SELECT_BITS:
                index = delay(m, index[SELECT_BITS:], 1, f"index_{stage}")
        (chosen,) = options
        m.d.comb += self.part_sums.eq(chosen)
        return m
