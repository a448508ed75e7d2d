"""Times of a model's linears for many vectors on a Hopper GPU: cuBLAS, and every 1-bit kernel.

    python benchmarks/gpu_gemm.py --out gpu_gemm.json

Every 1-bit kernel is checked against float64 on fresh random inputs before it is timed; one that
fails, or does not compile, leaves its reason and the rest goes on. Kernels run in processes of
their own (gpu_gemm_worker.py), since one that breaks the device's context would take all others
with it. Times are medians of replayed CUDA graphs, whose calls take copies of the weights in turn,
so that weights do not come from the cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
from gpu_gemm_worker import COUNTS, TILES, key

from golden.config import named_model
from signacc.baseline.errors import DeviceError
from signacc.baseline.sign_wgmma import WgmmaTile, compile_tile
from signacc.baseline.weights import FUSED, fused_shape
from signacc.files import write_text

FAMILIES = ("library", "wgmma16", "wgmma8", "triton")
COLUMNS = {"cuBLAS bf16": "cublas bf16", "Triton a16": "triton16", "wgmma a16": "wgmma16",
           "Triton a8": "triton8", "wgmma a8": "wgmma8"}
"""Columns of the summary: the fastest kernel whose name begins so."""
WATCHDOG = 1 << 16
"""Tries after which a waiting kernel ends itself, many more than one that works needs."""

ATTEMPTS = 4


def _compile(job: tuple[WgmmaTile, int]) -> tuple[tuple[WgmmaTile, int], bytes | str]:
    """Return machine code, or why there is none."""
    try:
        return job, compile_tile(*job, WATCHDOG=WATCHDOG)
    except DeviceError as error:
        return job, str(error)


def compile_all(folder: Path) -> list[dict]:
    """Write the machine code of every tile to a folder; return reasons of those without."""
    tiles = {tile for some in TILES.values() for tile in some}
    work = sorted(((tile, bits) for tile in tiles for bits in (16, 8)), key=repr)
    failed = []
    with ProcessPoolExecutor(max(2, (os.cpu_count() or 2) - 1)) as pool:
        for (tile, bits), code in pool.map(_compile, work):
            if isinstance(code, str):
                failed.append({"key": key(tile, bits), "reason": code.replace("\n", " ")[:400]})
            else:
                (folder / key(tile, bits)).write_bytes(code)
    return failed


def run_family(family: str, model: str, folder: Path, seconds: float) -> list[dict]:
    """Run a family's process; when a kernel breaks it, again without that kernel."""
    results: list[dict] = []
    broken: list[str] = []
    end = time.monotonic() + seconds
    log = folder / f"{family}.jsonl"
    for _ in range(ATTEMPTS):
        log.write_text("", encoding="utf-8")
        done = [[r["key"], r["part"], r["count"]] for r in results if "part" in r]
        skip = json.dumps({"broken": broken, "done": done})
        (folder / "skip.json").write_text(skip, encoding="utf-8")
        worker = Path(__file__).with_name("gpu_gemm_worker.py")
        command = [sys.executable, str(worker), family, model, str(folder)]
        try:
            ended = subprocess.run(command, timeout=max(5.0, end - time.monotonic()),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            code, said = str(ended.returncode), ended.stdout
        except subprocess.TimeoutExpired as error:
            code, said = "out of time", (error.stdout or b"").decode(errors="replace")
        whole = log.read_text(encoding="utf-8").rpartition("\n")[0]  # a last line may be cut off
        lines = [json.loads(line) for line in whole.splitlines()]
        results += [line for line in lines if "start" not in line]
        if code == "0":
            break
        begun = [line["start"] for line in lines if "start" in line]
        culprit = begun[-1] if begun else family
        broken.append(culprit)
        tail = " ".join(said.split())[-400:]
        results.append({"key": culprit, "reason": f"ended its process ({code}): {tail}"})
        if not begun or code == "out of time":
            break
    return results


def table(model: str, results: list[dict]) -> str:
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
    failed = [f"{r['key']} {r.get('part', '')} {r.get('count', '')}: {r['reason'][:160]}"
              for r in results if "reason" in r]
    return "\n".join([*lines, *winners, f"{len(failed)} failed", *failed[:20]])


@click.command()
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", default="fbi-7b", show_default=True)
@click.option("--seconds", default=50.0, show_default=True, help="Longest time of a family.")
@click.option("--family", "families", multiple=True, type=click.Choice(FAMILIES),
              help="Only these; may be given several times.")
def main(out: Path, model: str, seconds: float, families: tuple[str, ...]) -> None:
    """Check and time all kernels; write the figures to a file, print a table last."""
    begin = time.monotonic()
    results: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not families or any(f.startswith("wgmma") for f in families):
            results += compile_all(folder)
            click.echo(f"{time.monotonic() - begin:.0f} s: compiled")
        for family in families or FAMILIES:
            results += run_family(family, model, folder, seconds)
            write_text(out, json.dumps({"model": model, "results": results}, indent=1) + "\n")
            click.echo(f"{time.monotonic() - begin:.0f} s: {family}")
    click.echo(table(model, results))


if __name__ == "__main__":
    main()
