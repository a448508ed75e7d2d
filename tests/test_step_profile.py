"""Gaps of a trace made by hand."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def step_profile(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("step_profile")


def event(cat, name, ts, dur, correlation=None):
    args = {} if correlation is None else {"correlation": correlation}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


def test_gaps_are_told_by_whose_doing_they_are(step_profile):
    events = [
        event("kernel", "c", 1150, 50, 3),  # out of order; launched after b had ended
        event("kernel", "a", 1000, 20, 1),
        event("gpu_memset", "Memset", 1005, 5, 4),  # beside a, on another stream
        event("kernel", "b", 1021, 19, 2),  # queued: a gap of 1, the device's own
        event("cuda_runtime", "cudaLaunchKernel", 900, 5, 1),
        event("cuda_runtime", "cudaLaunchKernel", 910, 5, 2),
        event("cuda_driver", "cuLaunchKernelEx", 1100, 5, 3),
        event("cuda_runtime", "cudaStreamSynchronize", 1030, 65),
        event("cpu_op", "outer", 800, 400),
        event("cpu_op", "aten::item", 1020, 80),
        event("cpu_op", "elsewhere", 1300, 80),
    ]
    found = step_profile.gaps(events, 2)
    assert found["span_s"] == pytest.approx(200e-6 / 2)
    assert found["idle_s"] == pytest.approx(111e-6 / 2, abs=1e-6)
    assert found["host_late_s"] == pytest.approx(110e-6 / 2)
    assert (found["kernels"], found["memsets"], found["launches"]) == (1.5, 0.5, 1.5)
    assert found["waits"] == {"cudaStreamSynchronize": 0.5}
    assert [part["gaps"] for part in found["by_length"].values()] == [0.5, 0, 0, 0.5]
    longest = found["longest"][0]
    assert longest == {"s": 110e-6, "after": "b", "before": "c", "host": "aten::item",
                       "call": "cudaStreamSynchronize"}  # fmt: skip


def test_a_trace_without_a_device(step_profile):
    assert step_profile.gaps([event("cpu_op", "x", 0, 1)], 1) == {"steps": 1, "kernels": 0}


def test_a_trace_is_read(step_profile):
    import torch

    events = step_profile.read_trace(lambda: torch.ones(3) + 1)
    assert "aten::add" in {e["name"] for e in events}
