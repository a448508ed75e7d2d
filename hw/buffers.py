"""Memories between the blocks: exact products, and quantized activations in two banks."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .config import BANKS, EngineConfig, clog2
from .memories import BlockMemory

_BLOCK_BITS = 16384
"""Bits of a block memory, in widths of powers of two: what most families have."""
_SHALLOW = 512
"""Words that a block of full width holds."""


def column_bits(depth: int) -> int | None:
    """Return the width at which one block memory is `depth` words deep; None if any width is.

    A memory of more words than a block needs a choice among blocks for every bit.
    """
    if depth <= _SHALLOW:
        return None
    return max(1, _BLOCK_BITS >> clog2(depth))


class ProductBuffer(wiring.Component):
    """Circular buffer of product chunks, one write and one read a cycle.

    Its memory stands in columns, each as wide as a block of its depth.

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
        depth = max(2, self.config.chunks_max)
        addresses = []
        for step, name in ((self.write_valid, "write_pointer"), (self.read_next, "read_pointer")):
            pointer = Signal(range(depth), name=name)
            with m.If(step):
                m.d.sync += pointer.eq(Mux(pointer == depth - 1, 0, pointer + 1))
            addresses.append(pointer)
        written, read = self.write_data.as_value(), self.read_data.as_value()
        width = column_bits(depth) or len(written)
        for start in range(0, len(written), width):
            end = min(start + width, len(written))
            m.submodules[f"column_{start}"] = storage = BlockMemory(end - start, depth)
            m.d.comb += [
                storage.write_addr.eq(addresses[0]),
                storage.read_addr.eq(addresses[1]),
                storage.write_data.eq(written[start:end]),
                storage.write_en.eq(self.write_valid),
                read[start:end].eq(storage.read_data),
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
