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
    """What the device reached in this run: copy, bytes/s (read + written); bf16 matmul, FLOP/s."""

    copy_bytes_per_second: float
    matmul_flop_per_second: float


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


def repeated(run: Callable[[], None], *, seconds: float, repeats: int) -> Times:
    """Time `run` in `repeats` stretches of about `seconds` / `repeats` each."""
    seconds_of(run, 1)
    guess = seconds_of(run, 1)
    steps = max(1, round(seconds / repeats / guess))
    seconds_of(run, max(1, steps // 2))  # clocks settle
    stretches = [seconds_of(run, steps) for _ in range(repeats)]
    middle = statistics.median(stretches)
    return Times(middle, min(stretches), (max(stretches) - min(stretches)) / middle, repeats, steps)


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
    """Measure the copy bandwidth of 4 GiB and the rate of an 8192³ bf16 product, random data.

    The fastest stretch of each counts: a ceiling is what the device can do at best.
    """
    return Ceilings(2 * COPY_BYTES / _copy_seconds(), 2 * MATMUL_SIZE**3 / _product_seconds())


def _copy_seconds() -> float:
    source = torch.randint(-(2**62), 2**62, (COPY_BYTES // 8,), device="cuda")
    target = torch.empty_like(source)
    return repeated(lambda: target.copy_(source), seconds=0.5, repeats=10).best


def _product_seconds() -> float:
    shape = (MATMUL_SIZE, MATMUL_SIZE)
    a, b = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return repeated(lambda: torch.mm(a, b), seconds=0.1, repeats=20).best
