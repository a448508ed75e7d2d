"""Memories between the blocks: exact products, and quantized activations in two banks."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .config import BANKS, EngineConfig, clog2


class ProductBuffer(wiring.Component):
    """Circular buffer of product chunks, one write and one read a cycle.

    It holds one vector of k_max, or several shorter ones. Room is counted by the writer.
    Read latency: one cycle after `read_next`.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "write_data": In(layouts.products(config)),
                "write_valid": In(1),
                "read_next": In(1),
                "read_data": Out(layouts.products(config)),
            }
        )

    def elaborate(self, platform):
        """Build a simple dual-port memory with two wrapping pointers."""
        m = Module()
        depth = max(2, self.config.chunks_max)  # a memory of one word would have no address
        shape = unsigned(layouts.products(self.config).size)
        m.submodules.storage = storage = memory.Memory(shape=shape, depth=depth, init=[])
        write, read = storage.write_port(), storage.read_port()
        pointers = (
            (write.addr, self.write_valid, Signal(range(depth), name="write_pointer")),
            (read.addr, self.read_next, Signal(range(depth), name="read_pointer")),
        )
        for address, step, pointer in pointers:
            m.d.comb += address.eq(pointer)
            with m.If(step):
                m.d.sync += pointer.eq(Mux(pointer == depth - 1, 0, pointer + 1))
        m.d.comb += [
            write.data.eq(self.write_data),
            write.en.eq(self.write_valid),
            read.en.eq(1),
            self.read_data.eq(read.data),
        ]
        return m


class ActivationBuffer(wiring.Component):
    """Two banks of quantized activations; written a chunk, read a word of k_par at a time.

    Read latency: one cycle.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        address = clog2(BANKS * config.words_max)
        super().__init__(
            {
                "write_addr": In(address),
                "write_slot": In(max(1, clog2(config.slots_per_word))),
                "write_data": In(config.act_bits * config.act_par),
                "write_valid": In(1),
                "read_addr": In(address),
                "read_data": Out(layouts.word(config)),
            }
        )

    def elaborate(self, platform):
        """Build one memory whose write port has an enable per slot."""
        m = Module()
        config = self.config
        slot_bits = config.act_bits * config.act_par
        m.submodules.storage = storage = memory.Memory(
            shape=unsigned(slot_bits * config.slots_per_word),
            depth=BANKS * config.words_max,
            init=[],
        )
        write = storage.write_port(granularity=slot_bits)
        read = storage.read_port()
        m.d.comb += [
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data.replicate(config.slots_per_word)),
            write.en.eq(self.write_valid << self.write_slot),
            read.addr.eq(self.read_addr),
            read.en.eq(1),
            self.read_data.eq(read.data),
        ]
        return m
