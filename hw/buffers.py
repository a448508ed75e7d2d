"""Memories between the blocks: exact products, and quantized activations in two banks."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind
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
        if column_bits(depth) is not None:
            depth = 1 << clog2(depth)  # as deep as its blocks: pointers that need no comparison
        addresses = []
        for step, name in ((self.write_valid, "write_pointer"), (self.read_next, "read_pointer")):
            pointer = Signal(range(depth), name=name)
            after = pointer + 1
            if depth & (depth - 1):
                after = Mux(pointer == depth - 1, 0, after)
            with m.If(step):
                m.d.sync += pointer.eq(after)
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

    Or a part of it: with word_parts above 1, part p has lanes p*act_par and so on of every group.
    An address is a word, below it the bank, and lowest a part. Read latency: MEMORY_LATENCY cycles.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        address = layouts.activation_address(config)
        super().__init__(
            {
                "write_addr": In(address),
                "write_slot": In(layouts.slot_bits(config)),
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
        slots = config.slots_per_word // config.word_parts
        depth = BANKS * config.words_max << clog2(config.word_parts)
        enable = bind(m, (self.write_valid << self.write_slot)[:slots], "write_en")
        written, read = self.write_data.replicate(slots), self.read_data.as_value()
        # Whole words are wide and shallow; parts of them may need blocks of their own depth.
        width = column_bits(depth) if config.word_parts > 1 else None
        columns = [(0, len(read))] if width is None else [
            (first + start, first + min(start + width, slot_bits))
            for first in range(0, len(read), slot_bits)
            for start in range(0, slot_bits, width)
        ]  # fmt: skip
        for start, end in columns:
            one = end - start <= slot_bits
            storage = BlockMemory(
                end - start, depth, granularity=None if one else slot_bits
            )
            m.submodules["storage" if width is None else f"column_{start}"] = storage
            m.d.comb += [
                storage.write_addr.eq(self.write_addr),
                storage.write_data.eq(written[start:end]),
                storage.write_en.eq(enable[start // slot_bits] if one else enable),
                storage.read_addr.eq(self.read_addr),
                read[start:end].eq(storage.read_data),
            ]
        return m
