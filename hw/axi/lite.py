"""AXI4-Lite slave: turns five channels into register accesses, one read and one write a time."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from .fields import ADDRESS_BITS, DATA_BITS

OKAY, SLVERR, DECERR = 0, 2, 3
"""Responses of AXI."""


def lite_signature(address_bits: int = ADDRESS_BITS) -> wiring.Signature:
    """Return the signals of an AXI4-Lite bus of 32 bits, as the master sees them."""
    return wiring.Signature(
        {
            "awaddr": Out(address_bits),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(DATA_BITS),
            "wstrb": Out(DATA_BITS // 8),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(address_bits),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(DATA_BITS),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def access_ports() -> dict[str, wiring.Member]:
    """Return the ports of register accesses, as the slave has them: see LiteSlave."""
    word = ADDRESS_BITS - 2
    return {
        "write": Out(1),
        "write_word": Out(word),
        "write_data": Out(DATA_BITS),
        "write_strobe": Out(DATA_BITS // 8),
        "write_error": In(1),
        "read": Out(1),
        "read_word": Out(word),
        "read_data": In(DATA_BITS),
        "read_error": In(1),
    }


class LiteSlave(wiring.Component):
    """Serves an AXI4-Lite master; a word is addressed by its offset divided by 4.

    A write happens in one cycle, when address and data are both there (in whatever order they
    came); a read in the cycle after its address. Neither waits for the other. No output follows an
    input within a cycle, as AXI demands.

    Members
    -------
    bus : In AXI4-Lite
    write, write_word, write_data, write_strobe : Out
        An access, for one cycle; one strobe a byte.
    write_error : In
        In the same cycle: there is nothing to write at this word.
    read, read_word : Out
        An access, for one cycle.
    read_data, read_error : In
        In the same cycle: what stands there, or that nothing does.
    """

    def __init__(self):
        super().__init__({"bus": In(lite_signature())} | access_ports())

    def elaborate(self, platform):
        """Build a holding register per channel."""
        m = Module()
        bus = self.bus

        has_address, has_data = Signal(), Signal()
        free = bind(m, ~bus.bvalid | bus.bready, "response_free")
        m.d.comb += [
            bus.awready.eq(~has_address),
            bus.wready.eq(~has_data),
            self.write.eq(has_address & has_data & free),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(self.write):
            m.d.sync += [
                has_address.eq(0),
                has_data.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(self.write_error, SLVERR, OKAY)),
            ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), self.write_word.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [
                has_data.eq(1),
                self.write_data.eq(bus.wdata),
                self.write_strobe.eq(bus.wstrb),
            ]

        asked = Signal()
        m.d.comb += [bus.arready.eq(~asked & ~bus.rvalid), self.read.eq(asked)]
        m.d.sync += asked.eq(bus.arvalid & bus.arready)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += self.read_word.eq(bus.araddr[2:])
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rdata.eq(self.read_data),
                bus.rresp.eq(Mux(self.read_error, SLVERR, OKAY)),
            ]
        return m
