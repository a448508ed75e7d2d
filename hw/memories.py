"""Block memory as every FPGA family has it, and queues made of it."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .arith import bind
from .config import clog2


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

    def __init__(self, width: int, depth: int, *, granularity: int | None = None):
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
            shape=unsigned(self.width), depth=self.depth, init=[], attrs={"no_rw_check": 1}
        )
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


class TileQueue(wiring.Component):
    """Finished tiles that wait for the drain: what is known of a tile first, its sums later.

    Sums written in cycle t are offered in cycle t + TILE_QUEUE_LATENCY if the queue was empty; one
    tile a cycle otherwise. The writer counts room.

    Members
    -------
    info, info_valid : In
        What the drain must know of the next tile, before its sums.
    sums, sums_valid : In
        Sums of the oldest tile that has none yet.
    tile_info, tile_sums, tile_valid : Out
        The oldest tile.
    tile_taken : In
        Pulse: the drain is done with it.
    """

    def __init__(self, info_bits: int, sum_bits: int, depth: int):
        self.depth = max(2, depth)
        self._widths = {"info": info_bits, "sums": sum_bits}
        super().__init__(
            {
                "info": In(info_bits),
                "info_valid": In(1),
                "sums": In(sum_bits),
                "sums_valid": In(1),
                "tile_info": Out(info_bits),
                "tile_sums": Out(sum_bits),
                "tile_valid": Out(1),
                "tile_taken": In(1),
            }
        )

    def elaborate(self, platform):
        """Build two memories with one read pointer, and two stages of valid bits."""
        m = Module()
        waiting = Signal(range(self.depth + 1))
        in_memory, in_output = Signal(), Signal()
        move = bind(m, in_memory & (~in_output | self.tile_taken), "move")
        read = bind(m, (waiting != 0) & (~in_memory | move), "read")
        read_pointer = self._pointer(m, read, "read_pointer")
        m.d.sync += [
            waiting.eq(waiting + self.sums_valid - read),
            in_memory.eq(read | (in_memory & ~move)),
            in_output.eq(move | (in_output & ~self.tile_taken)),
        ]
        m.d.comb += self.tile_valid.eq(in_output)
        for name, target in (("info", self.tile_info), ("sums", self.tile_sums)):
            valid = getattr(self, f"{name}_valid")
            m.submodules[f"{name}_memory"] = storage = BlockMemory(
                self._widths[name], self.depth
            )
            m.d.comb += [
                storage.write_addr.eq(self._pointer(m, valid, f"{name}_pointer")),
                storage.write_data.eq(getattr(self, name)),
                storage.write_en.eq(valid),
                storage.read_addr.eq(read_pointer),
                storage.read_en.eq(read),
                storage.move_en.eq(move),
                target.eq(storage.read_data),
            ]
        return m

    def _pointer(self, m: Module, step: Signal, name: str) -> Signal:
        pointer = Signal(range(self.depth), name=name)
        with m.If(step):
            m.d.sync += pointer.eq(Mux(pointer == self.depth - 1, 0, pointer + 1))
        return pointer
