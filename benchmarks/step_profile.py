"""Where a GPU waits in a step: gaps between kernels, from a trace of PyTorch's profiler."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
CALLS = ("cuda_runtime", "cuda_driver")
HOST = ("cpu_op", "user_annotation")
CLASSES_US = (2.0, 10.0, 100.0)
"""Upper ends of the classes of gaps: a kernel behind another, a small host delay, a long one."""

Event = Mapping[str, Any]


def read_trace(work: Callable[[], object]) -> list[Event]:
    """Return the events of a run of `work`, as in a Chrome trace: times in microseconds.

    `work` must wait for the device at its end.
    """
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as record:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    return [e for e in events if e.get("ph") == "X" and e.get("dur") is not None]


def _host_at(events: Sequence[Event], time: float) -> str | None:
    """Return the name of the operation on the host that began last among those under way."""
    running = [e for e in events if e["ts"] <= time <= e["ts"] + e["dur"]]
    return max(running, key=lambda e: e["ts"])["name"][:90] if running else None


def gaps(events: Sequence[Event], steps: int, most: int = 20) -> dict[str, Any]:
    """Return where the device was idle between its first and its last event, for each of `steps`.

    Times are seconds. `host_late_s` is the part of `idle_s` in gaps at whose beginning the launch
    of what follows had not begun: the host's doing; what is left is the device's own. A gap's
    `host` and `call` are operation and driver call under way in its middle. `waits` counts calls
    that wait for the device. Several streams count as one device: it is idle if none works.
    """
    device = sorted((e for e in events if e.get("cat") in DEVICE), key=lambda e: e["ts"])
    calls = [e for e in events if e.get("cat") in CALLS]
    host = [e for e in events if e.get("cat") in HOST]
    if not device:
        return {"steps": steps, "kernels": 0}
    launched = {e.get("args", {}).get("correlation"): e["ts"] for e in calls}
    found: list[tuple[float, float, Event, Event]] = []
    last = device[0]
    end = last["ts"] + last["dur"]
    for event in device[1:]:
        if event["ts"] > end:
            found.append((event["ts"] - end, end, last, event))
        if event["ts"] + event["dur"] >= end:
            last, end = event, event["ts"] + event["dur"]
    classes = [0] * (len(CLASSES_US) + 1)
    idle_of = [0.0] * len(classes)
    late = 0.0
    for gap, _, _, after in found:
        at = sum(gap > limit for limit in CLASSES_US)
        classes[at] += 1
        idle_of[at] += gap
        begun = launched.get(after.get("args", {}).get("correlation"), 0.0)
        if begun > after["ts"] - gap:
            late += gap
    ends = [f"to {limit:g} us" for limit in CLASSES_US] + [f"over {CLASSES_US[-1]:g} us"]
    kinds = Counter(e["cat"] for e in device)
    waits = Counter(e["name"] for e in calls if "Synchronize" in e["name"])
    per = 1e-6 / steps
    return {
        "steps": steps,
        "span_s": round((end - device[0]["ts"]) * per, 6),
        "idle_s": round(sum(gap for gap, *_ in found) * per, 6),
        "host_late_s": round(late * per, 6),
        "kernels": kinds["kernel"] / steps,
        "memsets": kinds["gpu_memset"] / steps,
        "copies": kinds["gpu_memcpy"] / steps,
        "launches": sum("Launch" in e["name"] for e in calls) / steps,
        "waits": {name: count / steps for name, count in waits.items()},
        "by_length": {
            name: {"gaps": count / steps, "s": round(time * per, 6)}
            for name, count, time in zip(ends, classes, idle_of, strict=True)
        },
        "longest": [
            {
                "s": round(gap * 1e-6, 7),
                "after": before["name"][:90],
                "before": after["name"][:90],
                "host": _host_at(host, start + gap / 2),
                "call": _host_at(calls, start + gap / 2),
            }
            for gap, start, before, after in sorted(found, key=lambda f: -f[0])[:most]
        ],
    }
