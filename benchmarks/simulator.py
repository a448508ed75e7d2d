"""How long the simulator takes: a whole model from the command line, a step, a design, a layer.

    python benchmarks/simulator.py --out benchmarks/results/simulator.json

Wall times are those of a machine that may be busy; processor times (user and system) are not.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
from program import OutputFile, Program
from record import write_record

from golden.config import named_model
from hw.config import ConfigError
from sim.engine import vector_cycles
from sim.system import Machine, estimate, named_system
from sim.workload import Pass

COMMAND = ["simulate", "--model", "fbi-7b", "--prefill", "512", "--decode", "128", "--json"]


def whole_model(repeats: int) -> dict[str, object]:
    """Time the command line from process start to exit."""
    program = Path(sys.executable).with_name("signacc")
    walls, processor = [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run([program, *COMMAND], stdout=subprocess.PIPE, check=True)
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    report = json.loads(done.stdout)
    return {
        "command": " ".join(["signacc", *COMMAND]),
        "repeats": repeats,
        "wall_s": {"median": statistics.median(walls), "min": min(walls), "max": max(walls)},
        "processor_s": {
            "median": statistics.median(processor), "min": min(processor), "max": max(processor)
        },
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "tokens_per_second": report["tokens_per_second"],
    }


def steps(count: int = 2000) -> float:
    """Return the processor microseconds of a decode step of a known batch at a new context."""
    machine = Machine(named_model("fbi-7b"), named_system("kv260"))
    machine.step(Pass.decode(4, 1))
    started = time.process_time()
    for context in range(1, count + 1):
        machine.step(Pass.decode(4, context))
    return (time.process_time() - started) / count * 1e6


def designs() -> dict[str, float]:
    """Return the processor seconds of a decoded token of fbi-7b on engines never seen before."""
    model, system = named_model("fbi-7b"), named_system("kv260")
    times = []
    for k_par in (16, 32, 64, 128):
        for n_par in (16, 32, 64, 128):
            for act_par in (2, 4, 8):
                try:
                    engine = replace(system.engine, k_par=k_par, n_par=n_par, act_par=act_par)
                except ConfigError:
                    continue
                started = time.process_time()
                estimate(model, replace(system, engine=engine))
                times.append(time.process_time() - started)
    return {"designs": len(times), "mean_s": statistics.mean(times), "max_s": max(times)}


def layer() -> dict[str, float]:
    """Return cycles of a layer of fbi-7b (7 linears, 32 x 32), and processor seconds for them."""
    engine = named_system("kv260").engine
    shapes = [(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]
    started = time.process_time()
    cycles = vector_cycles(engine, shapes)
    return {"cycles": cycles, "processor_s": time.process_time() - started}


@click.command(cls=Program)
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=OutputFile())
def main(repeats: int, out: Path) -> None:
    load = os.getloadavg()[0]
    found = designs()
    result = {
        "whole_model": whole_model(repeats),
        "step_us": steps(),
        "designs": found,
        "designs_in_ten_minutes_on_two_cores": int(1200 / found["mean_s"]),
        "layer": layer(),
        "load_average_before": load,
    }
    write_record(out, result, ("signacc", "numpy"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
