"""Where the time of a decode step goes on a GPU, by kind of kernel.

    python benchmarks/gpu_profile.py --out gpu_profile.json

Kernels that overlap (programmatic dependent launch) count the time they wait, so the kinds' sum can
exceed the step; `idle` is the time in which none runs. A step that fails or hangs leaves its reason
and the rest goes on (gpu_worker.py).
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from gpu_worker import Task, Tasks, supervise
from program import OutputFile, Program
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from golden.config import named_model
from golden.errors import InputError
from signacc.baseline.device import require_gpu
from signacc.baseline.measure import fastest_early, release, step_of
from signacc.baseline.plan import EARLY, GEMMS, PATHS
from signacc.baseline.points import Point
from signacc.baseline.run import make_decoder
from signacc.baseline.timing import capture, repeated
from signacc.files import write_text

REPLAYS = 3
KINDS = {
    "whole step": ("decode_step",),
    "before linears": ("fold_kernel", "quantize_kernel", "prepare", "rms_norm", "silu_mul"),
    "attention": ("attend", "combine_kernel", "rotate", "flash", "fmha", "sdpa", "softmax"),
    "linears": ("sign_", "gemv", "gemm", "nvjet", "cutlass", "splitk", "matmul", "tinygemm"),
}
"""Kinds by what a kernel's name contains, the first that fits; else it is `other`."""


@dataclass(frozen=True)
class Span:
    """One kernel's run, us."""

    name: str
    start: float
    end: float


def kind_of(name: str) -> str:
    """Return the kind of a kernel."""
    name = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), "other")


def idle_of(spans: list[Span]) -> float:
    """Return the time between the first start and the last end in which no kernel runs, us."""
    idle, until = 0.0, spans[0].start
    for span in sorted(spans, key=lambda s: s.start):
        idle += max(0.0, span.start - until)
        until = max(until, span.end)
    return idle


def kinds_of(spans: list[Span]) -> dict[str, dict[str, float]]:
    """Return time, us, and launches of each kind in one step; its last linear is the head."""
    found: dict[str, dict[str, float]] = {}
    order = sorted(spans, key=lambda s: s.start)
    head = max((i for i, s in enumerate(order) if kind_of(s.name) == "linears"), default=-1)
    for i, span in enumerate(order):
        kind = found.setdefault("head" if i == head else kind_of(span.name), {"us": 0.0, "n": 0})
        kind["us"] += span.end - span.start
        kind["n"] += 1
    return found


def profile_step(
    path: str, model: str, batch: int, context: int, gemm: str, gemv_limit: int | None,
    early: str | None,
) -> dict[str, object]:
    """Return the step's time and what its kernels take, of the middle one of three replays."""
    decoder = make_decoder(path, model, require_gpu(), gemm)
    if gemv_limit is not None and path.startswith("sign"):
        decoder.path.gemv_limit = gemv_limit
    cache = decoder.path.cache(batch, context)
    step, _ = step_of(decoder, cache, Point(model, path, "decode", batch, context))
    if early is None:
        early = fastest_early(decoder.path, step, 0.3, one=batch == 1)
    else:
        decoder.path.start_early(early)
    graph = capture(step)
    times = repeated(graph.replay, seconds=0.5, repeats=5)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(REPLAYS):
            graph.replay()
        torch.cuda.synchronize()
    on_device = (e for e in profiler.events() if e.device_type == DeviceType.CUDA)
    spans = sorted(
        (Span(e.name, e.time_range.start, e.time_range.end) for e in on_device),
        key=lambda s: s.start,
    )
    each = len(spans) // REPLAYS
    middle = spans[each : 2 * each]
    names: dict[str, list[float]] = {}
    for span in middle:
        names.setdefault(span.name, []).append(span.end - span.start)
    longest = sorted(names.items(), key=lambda item: -sum(item[1]))[:10]
    return {
        "gemv_limit": getattr(decoder.path, "gemv_limit", None), "early": early,
        "step_us": 1e6 * times.median, "spread": times.spread, "idle_us": idle_of(middle),
        "kinds": kinds_of(middle),
        "kernels": [{"name": n[:160], "us": sum(t), "n": len(t)} for n, t in longest],
    }


def table(results: list[Task]) -> str:
    """Return a line for each step, us and launches by kind, and the reasons of those without."""
    kinds = [*dict.fromkeys(kind for one in results for kind in one.get("kinds", {}))]
    lines = [f"{'us (launches)':20s}{'step':>9s}{'idle':>9s}" + "".join(f"{k:>18s}" for k in kinds)]
    for one in results:
        if "reason" in one:
            lines.append(f"{one['key']}: {one['reason']}")
            continue
        line = f"{one['key']:20s}{one['step_us']:9.0f}{one['idle_us']:9.0f}"
        for kind in kinds:
            found = one["kinds"].get(kind, {"us": 0.0, "n": 0})
            line += f"{found['us']:11.0f} ({found['n']:4d})"
        lines.append(line + (f"  early: {one['early']}" if "early" in one else ""))
    return "\n".join(lines)


@click.command(cls=Program)
@click.option("--model", default="fbi-7b", show_default=True)
@click.option("--path", "paths", multiple=True, type=click.Choice(PATHS),
              default=("bf16", "sign-a16", "sign-a8"), show_default=True)
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), default=(1, 256),
              show_default=True)
@click.option("--context", default=512, show_default=True, type=click.IntRange(2))
@click.option("--gemm", default=GEMMS[0], show_default=True, type=click.Choice(GEMMS),
              help="Of the 1-bit paths.")
@click.option("--gemv-limit", type=click.IntRange(0),
              help="Most vectors that 1-bit paths give to the GEMV.")
@click.option("--early", type=click.Choice(EARLY),
              help="Which kernels start while the one ahead ends [default: the fastest way].")
@click.option("--seconds", default=180.0, show_default=True, type=click.FloatRange(1),
              help="Time of everything.")
@click.option("--out", type=OutputFile(), help="Write figures here.")
@click.option("--worker", type=click.Path(file_okay=False, path_type=Path), hidden=True)
def main(
    model: str, paths: tuple[str, ...], batches: tuple[int, ...], context: int, gemm: str,
    gemv_limit: int | None, early: str | None, seconds: float, out: Path | None,
    worker: Path | None,
) -> None:
    """Print a step's time, and what each kind of kernel takes of it."""
    if worker is not None:
        tasks = Tasks(worker)
        for batch in batches:
            for path in paths:
                task = {"key": f"{path} batch {batch}", "path": path, "model": model,
                        "batch": batch, "context": context,
                        "gemm": gemm if path.startswith("sign") else None}
                tasks.run(task, lambda path=path, batch=batch: profile_step(
                    path, model, batch, context, gemm, gemv_limit, early))
                release()
        return
    longest = named_model(model).max_position_embeddings
    if context > longest:
        raise InputError(
            f"a context of {model} must be at most {longest} positions, not {context}"
        )
    require_gpu()
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, *sys.argv, "--worker", name]
        results = supervise(command, Path(name), seconds=seconds, still=60.0)
    if out is not None:
        made = {"command": shlex.join(["python", "benchmarks/gpu_profile.py", *sys.argv[1:]]),
                "date": datetime.now(UTC).date().isoformat(), "mark": "measured",
                "gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
        write_text(out, json.dumps(made | {"steps": results}, indent=1) + "\n")
    click.echo(table(results))


if __name__ == "__main__":
    main()
