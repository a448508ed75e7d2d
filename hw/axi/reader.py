"""AXI4 read master: several jobs at a time, each a run of beats, over one read channel."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from ..config import clog2
from .config import AxiConfig
from .frames import beat
from .lite import DECERR, SLVERR

ADDRESS_BITS = 64
ID_BITS = 1
"""The one ID is 0, so that answers come in the order of the requests."""
_INCR = 1
_CACHE = 0b0011
"""Normal, non-cacheable, bufferable (AXI4 specification, A4.4): what memory is read with."""
_BLOCK_MEMORY_FROM = 65
"""Entries from which a queue is worth block memory rather than look-up RAM."""


def read_signature(axi: AxiConfig) -> wiring.Signature:
    """Return the read channels of AXI4, as the master has them."""
    return wiring.Signature(
        {
            "arid": Out(ID_BITS),
            "araddr": Out(ADDRESS_BITS),
            "arlen": Out(8),
            "arsize": Out(3),
            "arburst": Out(2),
            "arcache": Out(4),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rid": In(ID_BITS),
            "rdata": In(axi.axi_data_bits),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def job(axi: AxiConfig, beats_max: int) -> data.StructLayout:
    """A run of beats; the address counts beats."""
    return data.StructLayout(
        {"address": ADDRESS_BITS - clog2(axi.data_bytes), "beats": clog2(beats_max + 1)}
    )


def request(axi: AxiConfig) -> data.StructLayout:
    """A burst; `final` if it is the last of its job."""
    return data.StructLayout(
        {
            "address": ADDRESS_BITS - clog2(axi.data_bytes),
            "beats": clog2(axi.max_burst + 1),
            "final": 1,
        }
    )


class _OneEntry(wiring.Component):
    """A queue of one entry, ports as of Amaranth's queues, whose address would have no bits."""

    def __init__(self, *, width: int):
        super().__init__(
            {
                "w_data": In(width),
                "w_rdy": Out(1),
                "w_en": In(1),
                "r_data": Out(width),
                "r_rdy": Out(1),
                "r_en": In(1),
            }
        )

    def elaborate(self, platform):
        """Build the register and its valid bit."""
        m = Module()
        held = Signal(len(self.w_data), reset_less=True)
        m.d.comb += [self.w_rdy.eq(~self.r_rdy), self.r_data.eq(held)]
        with m.If(self.w_en & self.w_rdy):
            m.d.sync += [held.eq(self.w_data), self.r_rdy.eq(1)]
        with m.Elif(self.r_en):
            m.d.sync += self.r_rdy.eq(0)
        return m


def _queue(width: int, depth: int) -> wiring.Component:
    """Return a queue of registers, look-up RAM or block memory, as `depth` asks."""
    if depth == 1:
        return _OneEntry(width=width)
    kind = fifo.SyncFIFOBuffered if depth >= _BLOCK_MEMORY_FROM else fifo.SyncFIFO
    return kind(width=width, depth=depth)


class ReadClient(wiring.Component):
    """Splits jobs into bursts, and holds what they bring until it is taken.

    A burst is only asked for when there is room for all of it, so the bus never waits for this
    client. Bursts end at multiples of max_burst beats, hence never cross 4096 bytes.

    Parameters
    ----------
    axi : AxiConfig
    depth
        Beats that are held.
    beats_max
        Beats of the longest job.

    Members
    -------
    job : In stream; at least one beat
    request : Out stream
    data, last, valid : In
        A beat of an answer; `last` on the final one of a job.
    o : Out stream of {data, last}
    """

    def __init__(self, axi: AxiConfig, *, depth: int, beats_max: int):
        self.axi, self._depth = axi, depth
        super().__init__(
            {
                "job": In(stream.Signature(job(axi, beats_max))),
                "request": Out(stream.Signature(request(axi))),
                "data": In(axi.axi_data_bits),
                "last": In(1),
                "valid": In(1),
                "o": Out(stream.Signature(beat(axi.axi_data_bits))),
            }
        )

    def elaborate(self, platform):
        """Build the splitter, the count of room and the queue."""
        m = Module()
        burst = self.axi.max_burst
        address = Signal.like(self.job.payload.address, name="address")
        rest = Signal.like(self.job.payload.beats, name="rest")
        active = bind(m, rest.any(), "active")
        into_block = address[: clog2(burst)]
        to_end = bind(m, Const(burst) - into_block, "to_end")
        final = bind(m, rest <= to_end, "final")
        beats = bind(m, Mux(final, rest, to_end)[: clog2(burst + 1)], "beats")
        room = Signal(range(self._depth + 1), init=self._depth)
        asks = bind(m, self.request.valid & self.request.ready, "asks")
        m.d.comb += [
            self.job.ready.eq(~active),
            self.request.valid.eq(active & (room >= beats)),
            self.request.payload.address.eq(address),
            self.request.payload.beats.eq(beats),
            self.request.payload.final.eq(final),
        ]
        with m.If(asks):
            m.d.sync += [address.eq(address + beats), rest.eq(rest - beats)]
        with m.Elif(self.job.valid & ~active):
            m.d.sync += [address.eq(self.job.payload.address), rest.eq(self.job.payload.beats)]

        m.submodules.queue = queue = _queue(self.axi.axi_data_bits + 1, self._depth)
        freed = bind(m, self.o.valid & self.o.ready, "freed")
        m.d.comb += [
            queue.w_data.eq(Cat(self.data, self.last)),
            queue.w_en.eq(self.valid),
            self.o.payload.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        m.d.sync += room.eq(room - Mux(asks, beats, 0) + freed)
        return m


class ReadMaster(wiring.Component):
    """Sends the bursts of several clients, in turn, and gives each its answers.

    After `stop` no new burst is sent, one on offer stays until it is taken, and what is still on
    its way is taken from the bus and dropped; `idle` says when all of it came.

    Parameters
    ----------
    axi : AxiConfig
    clients
        Names.

    Members
    -------
    bus : Out AXI4 read channels
    <name>_request : In stream, of each client
    data, last : Out, with ``<name>_valid`` of each client
    stop : In
    idle : Out
    slverr, decerr : Out
        Pulse: an answer said so; not after `stop`.
    misfit : Out
        Pulse: a burst's last beat came early, or not where it was due; not after `stop`.
    """

    def __init__(self, axi: AxiConfig, clients: Sequence[str]):
        self.axi, self._clients = axi, tuple(clients)
        super().__init__(
            {
                "bus": Out(read_signature(axi)),
                "data": Out(axi.axi_data_bits),
                "last": Out(1),
                "stop": In(1),
                "idle": Out(1),
                "slverr": Out(1),
                "decerr": Out(1),
                "misfit": Out(1),
            }
            | {f"{name}_request": In(stream.Signature(request(axi))) for name in clients}
            | {f"{name}_valid": Out(1) for name in clients}
        )

    def elaborate(self, platform):
        """Build the arbiter, the address register and the queue of who gets the next answer."""
        m = Module()
        axi, bus = self.axi, self.bus
        count = len(self._clients)
        requests = [getattr(self, f"{name}_request") for name in self._clients]

        # ---- whose turn it is: the next one after the last that had it --------------------------
        wanting = bind(m, Cat(*(stream.valid for stream in requests)), "wanting")
        after_last = Signal(count)
        later = bind(m, wanting & after_last, "later")
        pool = bind(m, Mux(later.any(), later, wanting), "pool")
        grant = bind(m, Cat(pool[i] & ~pool[:i].any() for i in range(count)), "grant")

        # Whose a burst is, whether it is the last of its job, and its length less one.
        length_bits = max(1, clog2(axi.max_burst))
        m.submodules.route = route = _queue(count + 1 + length_bits, axi.outstanding)
        load = bind(
            m,
            wanting.any() & (~bus.arvalid | bus.arready) & route.w_rdy & ~self.stop,
            "load",
        )
        size = clog2(axi.data_bytes)
        granted_length = Signal(length_bits)
        for i in range(count):
            with m.If(grant[i]):
                m.d.comb += granted_length.eq(requests[i].payload.beats - 1)
        m.d.comb += [
            bus.arsize.eq(size),
            bus.arburst.eq(_INCR),
            bus.arcache.eq(_CACHE),
            route.w_data.eq(
                Cat(
                    grant,
                    Cat(
                        grant[i] & requests[i].payload.final for i in range(count)
                    ).any(),
                    granted_length,
                )
            ),
            route.w_en.eq(load),
        ]
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(load):
            m.d.sync += [
                bus.arvalid.eq(1),
                after_last.eq(Cat(grant[:i].any() for i in range(count))),
            ]
            for i in range(count):
                with m.If(grant[i]):
                    m.d.sync += [
                        bus.araddr.eq(requests[i].payload.address << size),
                        bus.arlen.eq(granted_length),
                    ]
        for i in range(count):
            m.d.comb += requests[i].ready.eq(load & grant[i])

        # ---- answers: there is always room for them ------------------------------------------
        here = bind(m, bus.rvalid & bus.rready & ~self.stop, "here")
        owner = route.r_data[:count]
        position = Signal(length_bits)
        ends = bind(m, position == route.r_data[count + 1 :], "ends")
        with m.If(bus.rvalid):
            m.d.sync += position.eq(Mux(bus.rlast, 0, position + 1))
        m.d.comb += [
            bus.rready.eq(1),
            route.r_en.eq(bus.rvalid & bus.rlast),
            self.data.eq(bus.rdata),
            self.last.eq(bus.rlast & route.r_data[count]),
            self.slverr.eq(here & (bus.rresp == SLVERR)),
            self.decerr.eq(here & (bus.rresp == DECERR)),
            self.misfit.eq(here & (bus.rlast ^ ends)),
            self.idle.eq(~bus.arvalid & ~route.r_rdy),
        ]
        for i, name in enumerate(self._clients):
            m.d.comb += getattr(self, f"{name}_valid").eq(here & owner[i])
        return m
