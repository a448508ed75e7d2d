"""Energy of a GPU board: NVML's energy counter, or sampled power where a driver has none.

Functions and codes are those of NVIDIA's NVML API reference.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .errors import DeviceError

_NOT_SUPPORTED = 3
SAMPLE_SECONDS = 0.05
"""Distance of power samples, s; NVML averages over 25 ms or more by itself."""


class UnsupportedError(Exception):
    """The driver does not have this reading."""


class Board(Protocol):
    """What a meter asks a board for."""

    def joules(self) -> float:
        """Return energy since some fixed moment, J; raises UnsupportedError without a counter."""

    def watts(self) -> float:
        """Return power now, W."""


class NvmlBoard:
    """One board as NVML sees it.

    Parameters
    ----------
    uuid
        As PyTorch gives it, without the prefix ``GPU-``.

    Raises
    ------
    DeviceError
        If NVML is missing or answers with an error.
    """

    def __init__(self, uuid: str) -> None:
        try:
            self._lib = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            raise DeviceError(
                "energy needs NVML, which comes with the driver; there is no libnvidia-ml.so.1"
            ) from None
        self._check(self._lib.nvmlInit_v2())
        self._handle = ctypes.c_void_p()
        name = f"GPU-{uuid}".encode()
        self._check(self._lib.nvmlDeviceGetHandleByUUID(name, ctypes.byref(self._handle)))

    @staticmethod
    def _check(code: int) -> None:
        if code == _NOT_SUPPORTED:
            raise UnsupportedError
        if code:
            raise DeviceError(f"NVML must answer 0, not {code}")

    def joules(self) -> float:
        """Return the board's energy since the driver was loaded, J."""
        value = ctypes.c_ulonglong()
        self._check(
            self._lib.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(value))
        )
        return value.value / 1000

    def watts(self) -> float:
        """Return the board's power, W."""
        value = ctypes.c_uint()
        self._check(self._lib.nvmlDeviceGetPowerUsage(self._handle, ctypes.byref(value)))
        return value.value / 1000

    def driver(self) -> str:
        """Return the driver's version."""
        text = ctypes.create_string_buffer(96)
        self._check(self._lib.nvmlSystemGetDriverVersion(text, 96))
        return text.value.decode()


@dataclass(frozen=True)
class Reading:
    """Energy of a stretch of work: J, s, and ``counter`` or ``sampled``."""

    joules: float
    seconds: float
    source: str


class Meter:
    """Measures the energy of a function's run on a board.

    Attributes
    ----------
    source
        ``counter`` if the board has an energy counter, else ``sampled``: power read every 50 ms
        and integrated.
    """

    def __init__(self, board: Board, clock: Callable[[], float] = time.perf_counter) -> None:
        self._board = board
        self._clock = clock
        try:
            board.joules()
            self.source = "counter"
        except UnsupportedError:
            self.source = "sampled"

    def measure(self, work: Callable[[], None]) -> Reading:
        """Run `work`, which returns when the device is done, and return its energy."""
        if self.source == "counter":
            before, start = self._board.joules(), self._clock()
            work()
            seconds = self._clock() - start
            return Reading(self._board.joules() - before, seconds, self.source)
        samples = [(self._clock(), self._board.watts())]
        done = threading.Event()

        def sample() -> None:
            while not done.wait(SAMPLE_SECONDS):
                samples.append((self._clock(), self._board.watts()))

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            work()
        finally:
            done.set()
            thread.join()
        samples.append((self._clock(), self._board.watts()))
        return Reading(trapezoid(samples), samples[-1][0] - samples[0][0], self.source)


def trapezoid(samples: list[tuple[float, float]]) -> float:
    """Return the integral over time of samples (s, W), J."""
    steps = itertools.pairwise(samples)
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in steps)
