"""How long a sweep takes: the space `boards` (10,368 designs) on a local cluster, and again.

    python benchmarks/explore.py --workers 2 --out benchmarks/results/explore.json

Wall time on a machine that may be busy; the second run finds everything done.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from program import OutputFile, Program
from record import write_record

LIMITS = "lut<=100000,usd<=400"


def sweep(folder: str, workers: int, limits: str) -> dict[str, object]:
    """Run the command from process start to exit."""
    program = Path(sys.executable).with_name("signacc")
    command = ["explore", "--space", "boards", "--workers", str(workers), "--json"]
    command += ["--constraints", limits] if limits else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [program, *command, "-o", folder], stdout=subprocess.PIPE, check=True
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    return {
        "command": " ".join(["signacc", *command]),
        "wall_s": wall,
        "processor_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        **{name: report[name] for name in ("designs", "evaluated", "resumed", "refused",
                                           "feasible", "pruned")},
        "front": len(report["front"]),
    }


@click.command(cls=Program)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(0))
@click.option("--out", required=True, type=OutputFile())
def main(workers: int, out: Path) -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "load_average_before": load,
            "all": sweep(folder, workers, ""),
            "resumed_with_limits": sweep(folder, workers, LIMITS),
        }
    write_record(out, result, ("signacc", "dask", "distributed"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
