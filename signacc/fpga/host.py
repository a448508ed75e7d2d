"""The host's side of ``hw.uart``: an engine on a serial line, as a function of arrays.

Works over anything with the `read` and `write` of a pyserial port.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    """

    def __init__(self, port: SerialPort, config: EngineConfig):
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

    def load(
        self, signs: np.ndarray, k: int, *, mask: np.ndarray | None = None, at: int = 0
    ) -> int:
        """Write a layer's weights into an engine that holds them; return the place behind them.

        Parameters
        ----------
        signs, mask
            As for :meth:`linear`.
        k
            Inputs of the layer.
        at
            Place of the first weight beat.

        Raises
        ------
        InputError
            If the engine holds no weights, or not so many.
        """
        config = self.config
        if not config.resident:
            raise InputError(f"a load needs an engine with weights in memory, not {config.name}")
        self._check_place(at, config.beats(k, len(signs)))
        beats = streams.payload_integers(streams.weight_beats(config, signs, k, mask=mask))
        layout = layouts.load(config)
        self._send_items(
            "load",
            [
                layout.const({"data": beat, "addr": at + i}).as_value().value
                for i, beat in enumerate(beats)
            ],
        )
        return at + len(beats)

    def linear(
        self,
        x: np.ndarray,
        signs: np.ndarray,
        scale_in: np.ndarray,
        shift_in: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        scale_out: np.ndarray | None = None,
        group_size: int = 0,
        weights_at: int | None = None,
    ) -> np.ndarray:
        """Return an FBI-linear's outputs, as the engine computes them.

        Parameters
        ----------
        x
            ``[M, K]``: float16, or uint16 patterns of bfloat16 for an engine of that format.
            The outputs are of the same kind.
        signs
            uint8 ``[N, ceil(K/8)]``, least significant bit first, 1 = +1.
        scale_in, shift_in
            Like `x`, ``[K]``.
        mask
            Like `signs`, 0 = the weight is zero; for ternary engines.
        scale_out
            Like `x`, ``[N]`` or ``[N, groups]``; for engines with output-axis scales.
        group_size
            Inputs that share a scale of an output; 0: all.
        weights_at
            Where the layer was loaded in an engine that holds weights; None: load it to place 0.

        Raises
        ------
        LinkError
            If the device is silent or breaks the protocol.
        InputError
            If the engine has no place for what is given, or needs what is not.
        ConfigError
            If the engine cannot hold the layer.
        """
        config = self.config
        (vectors, k), n = x.shape, len(signs)
        config.check_shape(k, n)
        if config.scales != (scale_out is not None):
            raise InputError(
                f"output scales must be given if and only if the engine has scale_out, "
                f"which {config.name} has as {config.scale_out}"
            )
        group_words = config.group_words(k, group_size or k)
        groups = -(-k // (group_words * config.k_par))
        if scale_out is not None and scale_out.shape not in ((n, groups), (n,)[: 2 - groups]):
            raise InputError(
                f"output scales must have a shape of {n} by {groups} groups, not {scale_out.shape}"
            )
        place = self._place(signs, k, mask, weights_at)
        weights = []
        if not config.resident:
            weights = streams.payload_integers(streams.weight_beats(config, signs, k, mask=mask))
        coefficients = streams.coefficient_chunks(config, scale_in, shift_in)
        outputs: list[list[int]] = []
        for first in range(0, vectors, config.m_par):
            batch = x[first : first + config.m_par]
            numbers = {"k": k, "n": n, "m": len(batch), "s": group_words, "w": place}
            layout = layouts.command(config)
            command = layout.const({name: numbers[name] for name in layout.members})
            self._send_items("cmd", [command.as_value().value])
            for row in batch:
                chunks = streams.activation_chunks(config, row)
                # In step: the engine takes neither without the other.
                for activation, coefficient in zip(chunks, coefficients, strict=True):
                    self._send_items("act", [activation])
                    self._send_items("coef", [coefficient])
            scales = []
            if scale_out is not None:
                scales = streams.scale_chunks(config, scale_out, vectors=len(batch))
            for port, items in self._in_step(weights, scales, k, n, len(batch), group_words):
                self._send_items(port, items)
            outputs += self._collect(len(batch), n)
        return np.array(outputs, dtype=np.uint16).view(x.dtype).reshape(vectors, n)

    def _place(
        self, signs: np.ndarray, k: int, mask: np.ndarray | None, at: int | None
    ) -> int:
        """Return where the weights lie in the engine, once they do; 0 if they come by stream."""
        if not self.config.resident:
            if at is not None:
                raise InputError(
                    f"weights_at needs an engine with weights in memory, not {self.config.name}"
                )
            return 0
        if at is None:
            self.load(signs, k, mask=mask)
            return 0
        self._check_place(at, self.config.beats(k, len(signs)))
        return at

    def _check_place(self, at: int, beats: int) -> None:
        words = self.config.weight_words
        if at < 0 or at + beats > words:
            raise InputError(
                f"weights must lie within the {words} beats that {self.config.name} holds, "
                f"not at {at} to {at + beats}"
            )

    def _in_step(
        self, weights: list[int], scales: list[int], k: int, n: int, vectors: int, group_words: int
    ) -> Iterator[tuple[str, list[int]]]:
        """Yield weights and scales in an order that the engine takes one by one.

        Frames wait for each other on the line. A tile's sums, or a group's, wait for their scales
        before the next ones are done; with tables, the queue of tiles holds all of a layer.
        """
        config = self.config
        if config.words_outer or not weights or not scales:
            yield from ((p, some) for p, some in (("weight", weights), ("scale", scales)) if some)
            return
        words = -(-k // config.k_par)
        place = 0
        for tile, first in enumerate(range(0, n, config.n_par)):
            chunks = -(-min(config.n_par, n - first) // config.out_par) * vectors
            for begin in range(0, words, group_words):
                end = min(words, begin + group_words)
                yield "weight", weights[tile * words + begin : tile * words + end]
                yield "scale", scales[place : place + chunks]
                place += chunks

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
