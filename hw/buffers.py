"""Memories between the blocks: exact products, and quantized activations in two banks."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .config import BANKS, EngineConfig, clog2
from .memories import BlockMemory


class ProductBuffer(wiring.Component):
    """Circular buffer of product chunks, one write and one read a cycle.

    It holds one vector of k_max, or several shorter ones. Room is counted by the writer.
    Read latency: MEMORY_LATENCY cycles after `read_next`.
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
        m.submodules.storage = storage = BlockMemory(
            layouts.products(self.config).size, self.config.chunks_max
        )
        pointers = (
            (storage.write_addr, self.write_valid, "write_pointer"),
            (storage.read_addr, self.read_next, "read_pointer"),
        )
        for address, step, name in pointers:
            pointer = Signal(range(storage.depth), name=name)
            m.d.comb += address.eq(pointer)
            with m.If(step):
                m.d.sync += pointer.eq(Mux(pointer == storage.depth - 1, 0, pointer + 1))
        m.d.comb += [
            storage.write_data.eq(self.write_data),
            storage.write_en.eq(self.write_valid),
            self.read_data.eq(storage.read_data),
        ]
        return m


class ActivationBuffer(wiring.Component):
    """Two banks of quantized activations; written a chunk, read a word of k_par at a time.

    Read latency: MEMORY_LATENCY cycles.
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
        m.submodules.storage = storage = BlockMemory(
            slot_bits * config.slots_per_word, BANKS * config.words_max, granularity=slot_bits
        )
        m.d.comb += [
            storage.write_addr.eq(self.write_addr),
            storage.write_data.eq(self.write_data.replicate(config.slots_per_word)),
            storage.write_en.eq(self.write_valid << self.write_slot),
            storage.read_addr.eq(self.read_addr),
            self.read_data.eq(storage.read_data),
        ]
        return m
