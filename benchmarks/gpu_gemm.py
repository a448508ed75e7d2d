"""Times of a model's linears for many vectors on a Hopper GPU: cuBLAS, and every 1-bit kernel.

    python benchmarks/gpu_gemm.py --out gpu_gemm.json

Every 1-bit kernel is checked against float64 on fresh random inputs before it is timed; one that
fails, hangs, or does not compile leaves its reason and the rest goes on (gpu_worker.py). Times are
medians of replayed CUDA graphs, whose calls take copies of the weights in turn, so that weights do
not come from the cache. The family `layer` times the linears of whole layers and what comes before
them, as a decode step runs them without attention.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from gpu_gemm_tiles import COUNTS, TILES, name_of
from gpu_worker import Task, supervise
from program import OutputFile, Program

from golden.config import named_model
from signacc.baseline.device import require_gpu
from signacc.baseline.errors import DeviceError
from signacc.baseline.sign_wgmma import WgmmaTile, compile_tile
from signacc.baseline.weights import FUSED, fused_shape
from signacc.files import write_text

FAMILIES = ("layer", "library", "wgmma16", "wgmma8", "triton")
COLUMNS = {"cuBLAS bf16": "cublas bf16", "Triton a16": "triton16", "wgmma a16": "wgmma16",
           "Triton a8": "triton8", "wgmma a8": "wgmma8"}
"""Columns of the summary: the fastest kernel whose name begins so."""


def _compile(job: tuple[WgmmaTile, int]) -> tuple[str, bytes | str]:
    """Return a kernel's name and its machine code, or why there is none."""
    try:
        return name_of(*job), compile_tile(*job)
    except DeviceError as error:
        return name_of(*job), " ".join(str(error).split())[:400]


def compile_all(folder: Path, seconds: float) -> list[Task]:
    """Write the machine code of every tile to a folder; return reasons of those without."""
    end = time.monotonic() + seconds
    tiles = dict.fromkeys(tile for some in TILES.values() for tile in some)
    work = [(tile, bits) for tile in tiles for bits in (16, 8)]
    left = dict.fromkeys((name_of(*job) for job in work), "no time was left to compile it")
    processes = min(16, max(2, (os.cpu_count() or 2) - 1))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:  # leaving it ends them
        made = pool.imap_unordered(_compile, work)
        try:
            while left:
                name, code = made.next(timeout=max(0.0, end - time.monotonic()))
                left[name] = code
                if isinstance(code, bytes):
                    (folder / name).write_bytes(code)
                    del left[name]
        except (multiprocessing.TimeoutError, StopIteration):
            pass
    return [{"key": name, "reason": reason} for name, reason in left.items()]


def table(model: str, results: list[Task]) -> str:
    """Return the summary: by shape the fastest of each kind, and what a layer takes."""
    timed = [r for r in results if "seconds" in r]
    lines = [f"{'us, TFLOP/s':14s}" + "".join(f"{title:>18}" for title in COLUMNS)]
    winners = []
    for count in COUNTS:
        sums = dict.fromkeys(COLUMNS, 0.0)
        for part in FUSED:
            outputs, inputs, _ = fused_shape(named_model(model), part)
            line = f"{part:8s} {count:5d}"
            for title, prefix in COLUMNS.items():
                some = [r for r in timed if r["part"] == part and r["count"] == count
                        and r["key"].startswith(prefix)]
                best = min(some, key=lambda r: r["seconds"], default={"seconds": float("nan")})
                rate = 2 * outputs * inputs * count / best["seconds"] / 1e12
                line += f"{1e6 * best['seconds']:11.1f} {rate:6.0f}"
                sums[title] += best["seconds"]
                if "key" in best and prefix.startswith("wgmma"):
                    winners.append(f"{part:8s} {count:5d} {best['key']}")
            lines.append(line)
        lines.append(f"{'layer':8s} {count:5d}" + "".join(
            f"{1e6 * seconds:11.1f}       " for seconds in sums.values()))
        for before in ("before bf16", "before sign-a16", "before sign-a8"):
            some = [r["seconds"] for r in timed if r["key"] == before and r["count"] == count]
            lines.append(f"  {before} its linears: {1e6 * sum(some):.1f} us, {len(some)} launches")
    for one in timed:
        if one["part"] == "layer":
            lines.append(f"{one['count']:5d} {1e6 * one['seconds']:8.1f} us a layer, "
                         f"spread {100 * one['spread']:.1f} %: {one['key']}")
    failed = [f"{r['key']} {r.get('part', '')} {r.get('count', '')}: {r['reason'][:160]}"
              for r in results if "reason" in r]
    return "\n".join([*lines, *winners, f"{len(failed)} failed", *failed[:20]])


@click.command(cls=Program)
@click.option("--out", required=True, type=OutputFile(),
              help="File to write, anew after each family.")
@click.option("--model", default="fbi-7b", show_default=True)
@click.option("--seconds", default=240.0, show_default=True, type=click.FloatRange(1),
              help="Time of everything; what is not reached says so.")
@click.option("--family", "families", multiple=True, type=click.Choice(FAMILIES),
              default=FAMILIES, show_default=True, help="Only these; may be given several times.")
@click.option("--worker", nargs=2, hidden=True, help="Family and folder of a worker.")
def main(
    out: Path, model: str, seconds: float, families: tuple[str, ...],
    worker: tuple[str, str] | None,
) -> None:
    """Check and time all kernels; write the figures to a file, print a table last."""
    named_model(model)  # an unknown one is refused before any work
    begin = time.monotonic()
    require_gpu()
    if worker is not None:
        from gpu_gemm_worker import work  # needs Triton

        work(worker[0], model, Path(worker[1]))
        return
    results: list[Task] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if any(f == "layer" or f.startswith("wgmma") for f in families):
            results += compile_all(folder, seconds / 2)
        for i, family in enumerate(families):
            left = begin + seconds - time.monotonic()
            command = [sys.executable, *sys.argv, "--worker", family, str(folder)]
            found = supervise(command, folder, seconds=left / (len(families) - i))
            results += [{"family": family, **one} for one in found]
            made = {"command": shlex.join(["python", "benchmarks/gpu_gemm.py", *sys.argv[1:]]),
                    "date": datetime.now(UTC).date().isoformat(), "mark": "measured",
                    "gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
            content = made | {"model": model, "results": results}
            write_text(out, json.dumps(content, indent=1) + "\n")
    click.echo(table(model, results))


if __name__ == "__main__":
    main()
