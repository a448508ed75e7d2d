"""The host's side of ``hw.uart``: an engine on a serial line, as a function of arrays.

Works over anything with the `read` and `write` of a pyserial port.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from golden.errors import InputError
from hw import layouts, streams, uart
from hw.config import EngineConfig


class SerialPort(Protocol):
    """What a port must do: that of ``serial.Serial`` opened with a timeout."""

    def write(self, data: bytes, /) -> object:
        """Send all of `data`."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer if the time is up."""


class LinkError(RuntimeError):
    """The device did not answer, or answered against the protocol."""


class EngineLink:
    """An engine behind a serial port.

    Parameters
    ----------
    port
        The open port; its timeout is how long the device may be silent.
    config
        The engine's configuration.

    Raises
    ------
    InputError
        If the engine scales its outputs, which this host does not feed.
    """

    def __init__(self, port: SerialPort, config: EngineConfig):
        if config.resident:
            raise InputError(f"the host does not load weights, which {config.name} holds itself")
        if config.scales:
            raise InputError(f"the host does not feed output scales, which {config.name} needs")
        self.config = config
        self._port = port
        self._widths = uart.widths(config)
        self._unacknowledged: list[int] = []  # bytes of frames that wait in the device
        self._results: list[int] = []
        self._state: int | None = None

    def reset(self) -> None:
        """Reset the engine, and forget what was under way."""
        self._unacknowledged = []
        self._send(bytes([uart.RESET]))
        self._drain(until=lambda: not self._unacknowledged)
        self._results = []

    def state(self) -> dict[str, bool]:
        """Return busy, error, overflow and fault."""
        self._state = None
        self._port.write(bytes([uart.STATE]))
        self._drain(until=lambda: self._state is not None)
        assert self._state is not None
        names = ("busy", "error", "overflow", "fault")
        return {name: bool(self._state >> i & 1) for i, name in enumerate(names)}

    def linear(self, x: np.ndarray, signs: np.ndarray, scale_in: np.ndarray,
               shift_in: np.ndarray) -> np.ndarray:
        """Return an FBI-linear's outputs, as the engine computes them.

        Parameters
        ----------
        x
            float16 ``[M, K]``.
        signs
            uint8 ``[N, ceil(K/8)]``, least significant bit first, 1 = +1.
        scale_in, shift_in
            float16 ``[K]``.

        Raises
        ------
        LinkError
            If the device is silent or breaks the protocol.
        ConfigError
            If the engine cannot hold the layer.
        """
        config = self.config
        (vectors, k), n = x.shape, len(signs)
        config.check_shape(k, n)
        weights = streams.payload_integers(streams.weight_beats(config, signs, k))
        coefficients = streams.coefficient_chunks(config, scale_in, shift_in)
        outputs: list[list[int]] = []
        for first in range(0, vectors, config.m_par):
            batch = x[first : first + config.m_par]
            fields = {"k": k, "n": n} | ({"m": len(batch)} if config.m_par > 1 else {})
            self._send_items("cmd", [layouts.command(config).const(fields).as_value().value])
            for row in batch:
                chunks = streams.activation_chunks(config, row)
                # In step: the engine takes neither without the other.
                for activation, coefficient in zip(chunks, coefficients, strict=True):
                    self._send_items("act", [activation])
                    self._send_items("coef", [coefficient])
            self._send_items("weight", weights)
            outputs += self._collect(len(batch), n)
        return np.array(outputs, dtype=np.uint16).view(np.float16).reshape(vectors, n)

    def _collect(self, vectors: int, n: int) -> list[list[int]]:
        layout = layouts.results(self.config)
        rows: list[list[int]] = [[] for _ in range(vectors)]
        open_rows = set(range(vectors))
        while open_rows:
            self._drain(until=lambda: bool(self._results))
            chunk = layout.from_bits(self._results.pop(0))
            row = int(chunk.vector) if self.config.m_par > 1 else 0
            if row not in open_rows:
                raise LinkError(f"the device sent a result of vector {row}, which was not due")
            keep = int(chunk.keep)
            rows[row] += [
                int(chunk.data[lane]) for lane in range(self.config.out_par) if keep >> lane & 1
            ]
            if chunk.last:
                open_rows.remove(row)
        for row in rows:
            if len(row) != n:
                raise LinkError(f"the device sent {len(row)} results of {n}")
        return rows

    def _send_items(self, port: str, items: list[int]) -> None:
        size = uart.item_bytes(self._widths[port])
        head = uart.FRAME | uart.PORTS.index(port)
        most = min(256, (uart.BUFFER_BYTES // 2 - 2) // size)
        if most < 1:
            raise InputError(f"an item of {port} must fit half the device's buffer of "
                             f"{uart.BUFFER_BYTES} bytes; it has {size}")
        for start in range(0, len(items), most):
            some = items[start : start + most]
            body = b"".join(item.to_bytes(size, "little") for item in some)
            self._send(bytes([head, len(some) - 1]) + body)

    def _send(self, frame: bytes) -> None:
        """Send a frame once the device has room for it."""
        self._drain(
            until=lambda: sum(self._unacknowledged) + len(frame) <= uart.BUFFER_BYTES
        )
        self._unacknowledged.append(len(frame))
        self._port.write(frame)

    def _drain(self, until) -> None:
        """Read what the device says until the condition holds."""
        while not until():
            head = self._read(1)[0]
            if head == uart.TAKEN:
                if not self._unacknowledged:
                    raise LinkError("the device took a frame that was not sent")
                self._unacknowledged.pop(0)
            elif head == uart.RESULT:
                size = uart.item_bytes(self._widths["result"])
                self._results.append(int.from_bytes(self._read(size), "little"))
            elif head & 0xF0 == uart.ANSWER:
                self._state = head & 0xF
            else:
                raise LinkError(f"the device said {head:#04x}, which starts nothing")

    def _read(self, size: int) -> bytes:
        data = self._port.read(size)
        if len(data) != size:
            raise LinkError("the device does not answer")
        return data
