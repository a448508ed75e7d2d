"""CUDA graphs of a step, their time, and the ceilings of a device in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

COPY_BYTES = 4 << 30
MATMUL_SIZE = 8192


@dataclass(frozen=True)
class Ceilings:
    """What the device reached in this run.

    Attributes
    ----------
    copy_bytes_per_second
        Read + written.
    matmul_flop_per_second
        Of a bf16 product.
    int8_op_per_second
        Of an int8 product with int32 sums; None where PyTorch has none for the device.
    """

    copy_bytes_per_second: float
    matmul_flop_per_second: float
    int8_op_per_second: float | None = None


def capture(step: Callable[[], None], warmups: int = 1) -> torch.cuda.CUDAGraph:
    """Return a CUDA graph of `step`, which is run before to compile and choose kernels."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warmups):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def seconds_of(run: Callable[[], None], times: int) -> float:
    """Return the mean device time of `times` calls of `run`, s."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(times):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / times


@dataclass(frozen=True)
class Times:
    """Times of one step, s: median and best; spread (max − min)/median; repeats and their steps."""

    median: float
    best: float
    spread: float
    repeats: int
    steps: int


STEADY = 0.02
"""Spread at which a point's time is taken for steady."""


def repeated(
    run: Callable[[], None], *, seconds: float, repeats: int, patience: float = 0.0
) -> Times:
    """Time `run` in `repeats` stretches of about `seconds` / `repeats` each.

    A GPU at its power limit lowers its clocks within the first seconds of work. With `patience` the
    stretches go on, for so many seconds at most, until the spread of the last `repeats` is at most
    :data:`STEADY`; these are what is returned, and their spread, be it steady or not.
    """
    seconds_of(run, 1)
    guess = seconds_of(run, 1)
    steps = max(1, round(seconds / repeats / guess))
    seconds_of(run, max(1, steps // 2))  # clocks settle
    stretches = [seconds_of(run, steps) for _ in range(repeats)]
    start = time.perf_counter()
    while _spread(stretches) > STEADY and time.perf_counter() - start < patience:
        stretches = [*stretches[1:], seconds_of(run, steps)]
    middle = statistics.median(stretches)
    return Times(middle, min(stretches), _spread(stretches), repeats, steps)


def _spread(stretches: list[float]) -> float:
    return (max(stretches) - min(stretches)) / statistics.median(stretches)


def steady(run: Callable[[], None], step_seconds: float, seconds: float) -> tuple[int, list[float]]:
    """Run for at least `seconds`; return how many steps, and the step time of each stretch, s."""
    steps = max(1, round(0.1 / step_seconds))
    total, stretches = 0, []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        stretches.append(seconds_of(run, steps))
        total += steps
    return total, stretches


def measure_ceilings() -> Ceilings:
    """Measure a copy of 4 GiB, and products of 8192³ in bf16 and int8, of random data.

    The fastest stretch of each counts: a ceiling is what the device can do at best.
    """
    rate = 2 * MATMUL_SIZE**3
    try:
        int8 = rate / _product_seconds(torch.int8)
    except (RuntimeError, NotImplementedError):
        int8 = None
    return Ceilings(
        2 * COPY_BYTES / _copy_seconds(), rate / _product_seconds(torch.bfloat16), int8
    )


def _copy_seconds() -> float:
    source = torch.randint(-(2**62), 2**62, (COPY_BYTES // 8,), device="cuda")
    target = torch.empty_like(source)
    return repeated(lambda: target.copy_(source), seconds=0.5, repeats=10).best


def _product_seconds(dtype: torch.dtype) -> float:
    shape = (MATMUL_SIZE, MATMUL_SIZE)
    if dtype == torch.int8:
        a, b = (torch.randint(-128, 128, shape, device="cuda", dtype=dtype) for _ in range(2))
        product = torch._int_mm
    else:
        a, b = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(2))
        product = torch.mm
    b = b.t()  # both with K contiguous, the layout that int8 instructions read
    return repeated(lambda: product(a, b), seconds=0.1, repeats=20).best
