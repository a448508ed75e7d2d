"""A serial line to the engine: UART 8N1 and a small framed protocol.

From the host, a frame is one byte ``0xA0 | port``, one byte ``items - 1``, and the items, each in
whole bytes, least significant first. Ports are numbered as in :data:`PORTS`. ``0xA8`` resets the
engine; ``0xA9`` asks for its state. Any other first byte is noted as a fault and skipped.

To the host: ``0xC0`` for each frame (and reset) whose last item the engine has taken; ``0xB0`` and
the payload of a result, in whole bytes, least significant first; ``0xE0`` with busy in bit 0, error
in bit 1, overflow in bit 2 and fault in bit 3 as the state.

The device holds :data:`BUFFER_BYTES` received bytes. A host that never has more in frames without
``0xC0`` loses none; if bytes are lost, `overflow` says so until the next reset.
"""

from __future__ import annotations

from amaranth import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    Mux,
    ResetSignal,
    Signal,
)
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from . import layouts
from .config import ConfigError, EngineConfig
from .engine import Engine

PORTS = ("cmd", "act", "coef", "weight", "scale", "load")
"""Input ports by number; an engine has those of its configuration."""
FRAME, RESET, STATE = 0xA0, 0xA8, 0xA9
"""First bytes from the host."""
RESULT, TAKEN, ANSWER = 0xB0, 0xC0, 0xE0
"""First bytes to the host."""
BUFFER_BYTES = 1024
"""Received bytes that wait for the engine."""
MIN_DIVISOR = 4


def _check_divisor(divisor: int) -> None:
    if not isinstance(divisor, int) or isinstance(divisor, bool) or divisor < MIN_DIVISOR:
        raise ConfigError(
            f"divisor must be an integer of at least {MIN_DIVISOR} clock cycles a bit, not "
            f"{divisor!r}"
        )


def widths(config: EngineConfig) -> dict[str, int]:
    """Return the payload width in bits of every stream port of the engine, `result` included."""
    shapes = {
        "cmd": layouts.command(config).size,
        "act": layouts.activations(config).size,
        "coef": layouts.coefficients(config).size,
    }
    if config.resident:
        shapes["load"] = layouts.load(config).size
    else:
        shapes["weight"] = config.weight_beat_bits
    if config.scales:
        shapes["scale"] = layouts.scales(config).size
    return shapes | {"result": layouts.results(config).size}


def item_bytes(width: int) -> int:
    """Return the bytes that an item of `width` bits takes on the line."""
    return -(-width // 8)


class Receiver(wiring.Component):
    """Bytes from the line: start bit, 8 data bits, least significant first, one stop bit.

    Members
    -------
    rx : In
        The line, idle high, synchronized here.
    data : Out(8)
    valid : Out
        A byte, for one cycle; a byte without its stop bit is dropped.
    """

    def __init__(self, divisor: int):
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "data": Out(8), "valid": Out(1)})

    def elaborate(self, platform):
        """Sample each bit in its middle."""
        m = Module()
        line = Signal(init=1)
        m.submodules.line = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self.divisor + self.divisor // 2))
        left = Signal(range(11))
        bits = Signal(9)
        m.d.sync += self.valid.eq(0)
        with m.If(~left.any()):
            m.d.sync += [left.eq(Mux(line, 0, 10)), timer.eq(self.divisor // 2 - 1)]
        with m.Elif(timer.any()):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [
                timer.eq(self.divisor - 1), left.eq(left - 1), bits.eq(Cat(bits[1:], line)),
            ]
            with m.If((left == 10) & line):  # no start bit after all
                m.d.sync += left.eq(0)
            with m.If(left == 1):
                m.d.sync += self.valid.eq(line)
        m.d.comb += self.data.eq(bits[:8])
        return m


class Transmitter(wiring.Component):
    """Bytes to the line.

    Members
    -------
    data : In stream of 8
    tx : Out
        The line, idle high.
    """

    def __init__(self, divisor: int):
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"data": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        """Shift start bit, data and stop bit out."""
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(11))
        bits = Signal(10, init=0x3FF)
        m.d.comb += [self.tx.eq(bits[0]), self.data.ready.eq(~left.any())]
        with m.If(self.data.valid & self.data.ready):
            m.d.sync += [
                bits.eq(Cat(0, self.data.payload, 1)), left.eq(10), timer.eq(self.divisor - 1),
            ]
        with m.Elif(left.any() & timer.any()):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left.any()):
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), bits.eq(Cat(bits[1:], 1))]
        return m


class UartEngine(wiring.Component):
    """An engine that a host reaches over a serial line.

    Parameters
    ----------
    config : EngineConfig
    divisor : int
        Clock cycles of a bit.
    engine : Engine or None
        The engine to use; None makes one.

    Members
    -------
    rx : In
    tx : Out
    busy, error : Out
        Of the engine.
    overflow, fault : Out
        Bytes were lost, or a frame began with an unknown byte, since the last reset.

    Raises
    ------
    ConfigError
        If `divisor` is no integer of at least 4.
    """

    def __init__(self, config: EngineConfig, *, divisor: int, engine: Engine | None = None):
        _check_divisor(divisor)
        self.config = config
        self.divisor = divisor
        self._engine = engine or Engine(config)
        super().__init__(
            {"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1), "error": Out(1),
             "overflow": Out(1), "fault": Out(1)}
        )

    def elaborate(self, platform):
        """Join line, buffer, frames and engine."""
        m = Module()
        reset = Signal()
        m.submodules.receiver = receiver = Receiver(self.divisor)
        m.submodules.transmitter = transmitter = Transmitter(self.divisor)
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=8, depth=BUFFER_BYTES)
        # A domain of its own: instances inside the engine are reset by its reset signal.
        m.domains.engine = ClockDomain("engine")
        m.submodules.engine = DomainRenamer("engine")(self._engine)
        engine = self._engine
        m.d.comb += [
            ClockSignal("engine").eq(ClockSignal()),
            ResetSignal("engine").eq(ResetSignal() | reset),
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.busy.eq(engine.busy),
            self.error.eq(engine.error),
            buffer.w_data.eq(receiver.data),
            buffer.w_en.eq(receiver.valid),
        ]
        with m.If(receiver.valid & ~buffer.w_rdy):
            m.d.sync += self.overflow.eq(1)
        taken = Signal()  # a frame is done with
        asked = Signal()  # the host wants to know the state
        self._frames(m, buffer, reset, taken, asked)
        self._answers(m, transmitter, taken, asked)
        return m

    def _frames(self, m: Module, buffer, reset: Signal, taken: Signal, asked: Signal) -> None:
        """Turn the buffer's bytes into items of the engine's ports."""
        sizes = {
            i: width for i, name in enumerate(PORTS)
            if (width := widths(self.config).get(name)) is not None
        }
        longest = max(item_bytes(width) for width in sizes.values())
        item = Signal(8 * longest)
        items = Signal(8)
        bytes_left = Signal(range(longest + 1))
        head, count, filling, offer = (Signal(name=n) for n in ("head", "count", "fill", "offer"))
        idle = Signal(init=1)
        byte, here = Signal(8), Signal()  # a register behind the buffer, whose RAM is slow
        length, ready = Signal.like(bytes_left), Signal()
        m.d.comb += [
            head.eq(idle & here),
            buffer.r_en.eq(~here),
        ]
        with m.If(buffer.r_rdy & ~here):
            m.d.sync += [byte.eq(buffer.r_data), here.eq(1)]
        with m.Elif(idle | count | filling):
            m.d.sync += here.eq(0)
        m.d.sync += reset.eq(0)
        known = []
        for i, width in sizes.items():
            sink = getattr(self._engine, PORTS[i])
            chosen = Signal(name=f"to_{PORTS[i]}")
            # Bytes enter at the top, so that an item ends there.
            low = 8 * (longest - item_bytes(width))
            m.d.comb += [
                Value.cast(sink.payload).eq(item[low : low + width]),
                sink.valid.eq(chosen & offer),
            ]
            known.append(byte == FRAME | i)
            with m.If(head):
                m.d.sync += chosen.eq(known[-1])
            with m.If(chosen):
                m.d.comb += [length.eq(item_bytes(width)), ready.eq(sink.ready)]
        with m.If(head):
            with m.If(byte == RESET):
                m.d.sync += [reset.eq(1), self.overflow.eq(0), self.fault.eq(0)]
                m.d.comb += taken.eq(1)
            with m.Elif(byte == STATE):
                m.d.comb += asked.eq(1)
            with m.Elif(Cat(*known).any()):
                m.d.sync += [idle.eq(0), count.eq(1)]
            with m.Else():
                m.d.sync += self.fault.eq(1)
        with m.If(count & here):
            m.d.sync += [
                items.eq(byte), bytes_left.eq(length), count.eq(0), filling.eq(1),
            ]
        with m.If(filling & here):
            m.d.sync += [item.eq(Cat(item[8:], byte)), bytes_left.eq(bytes_left - 1)]
            with m.If(bytes_left == 1):
                m.d.sync += [filling.eq(0), offer.eq(1)]
        with m.If(offer & ready):
            m.d.sync += [
                items.eq(items - 1), bytes_left.eq(length), offer.eq(0),
                filling.eq(items.any()), idle.eq(~items.any()),
            ]
            m.d.comb += taken.eq(~items.any())

    def _answers(self, m: Module, transmitter: Transmitter, taken: Signal, asked: Signal) -> None:
        """Send what the host is told: frames taken, the state, results."""
        result = self._engine.result
        width = len(Value.cast(result.payload))
        length = item_bytes(width)
        # Every frame in the buffer may be taken before one byte is sent.
        pending = Signal(range(BUFFER_BYTES + 1))
        tell = Signal()  # the state
        payload = Signal(8 * length)
        left = Signal(range(length + 1))
        said = Signal()  # a "taken" goes out
        m.d.sync += pending.eq(pending + taken - said)
        with m.If(asked):
            m.d.sync += tell.eq(1)
        state = Cat(self.busy, self.error, self.overflow, self.fault, Const(ANSWER >> 4, 4))
        with m.If(left.any()):
            m.d.comb += [transmitter.data.valid.eq(1), transmitter.data.payload.eq(payload[:8])]
            with m.If(transmitter.data.ready):
                m.d.sync += [payload.eq(payload >> 8), left.eq(left - 1)]
        with m.Elif((pending.any()) | tell | result.valid):
            m.d.comb += [
                transmitter.data.valid.eq(1),
                transmitter.data.payload.eq(
                    Mux(pending.any(), TAKEN, Mux(tell, state, RESULT))
                ),
            ]
            with m.If(transmitter.data.ready):
                with m.If(pending.any()):
                    m.d.comb += said.eq(1)
                with m.Elif(tell):
                    m.d.sync += tell.eq(0)
                with m.Else():
                    m.d.comb += result.ready.eq(1)
                    m.d.sync += [payload.eq(Value.cast(result.payload)), left.eq(length)]
