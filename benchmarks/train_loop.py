"""Time of training as it is, on real rows, beside a step of it alone: what the loop around costs.

    python benchmarks/train_loop.py --teacher teacher.gguf --data data --model fbi-135m \\
        --vocab 32000 --out loop.json
    torchrun --nproc-per-node 2 benchmarks/train_loop.py … --out loop-2.json

`start_s` are seconds before the first step: what is read, and the run that is made of it. `lines`
are tokens/s of each `--line` steps of `model.train`, the first with compilation in it. Then
steps in a row without what the loop adds (`step_s`: no data read, no figures, no log), the same on
a batch already turned into student tokens and targets (`example_s`: without the spelling of the
rows and the teacher), and where the device was idle in two steps (`gaps`). Compare with `step_s` of
`train_step.py` for the same rows a device. `clocks` are of `nvidia-smi`, each half second, if it is
there: a device that is hot for minutes may be slower than one that is for seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from program import OutputFile, Program
from record import write_record
from step_profile import gaps, read_trace
from train_step import Timer

from model.batches import read_batches
from model.manifest import load_mixture
from model.parallel import run_program
from model.settings import PARALLEL, TrainSettings
from model.teacher import load_teacher
from model.tokenizer import read_vocabulary
from model.train import Run, with_end_of_text
from model.train_command import read_shape

QUERY = ["nvidia-smi", "--query-gpu=index,clocks.sm,power.draw", "--format=csv,noheader,nounits"]


@contextmanager
def watched_clocks(found: list[list[float]]) -> Iterator[None]:
    """Add [device, MHz, W] of every half second to `found`; nothing without ``nvidia-smi``."""
    if shutil.which(QUERY[0]) is None:
        yield
        return
    watcher = subprocess.Popen([*QUERY, "-lms", "500"], stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        watcher.terminate()
        lines = watcher.communicate()[0].splitlines()
        for line in lines:
            try:
                found.append([float(cell) for cell in line.split(",")])
            except ValueError:  # a line cut off, or a device that does not tell
                continue


@click.command(cls=Program)
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", "name", default="fbi-135m", show_default=True)
@click.option("--vocab", type=int)
@click.option("--layers", type=int)
@click.option("--twin", is_flag=True)
@click.option("--micro", default=64, show_default=True, help="Rows a device takes in a pass.")
@click.option("--context", default=1024, show_default=True)
@click.option("--parallel", type=click.Choice(PARALLEL), default="auto", show_default=True)
@click.option("--steps", default=60, show_default=True)
@click.option("--line", default=20, show_default=True, help="Steps of a line.")
@click.option("--repeats", default=10, show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(teacher: Path, data: Path, name: str, vocab: int | None, layers: int | None, twin: bool,
         micro: int, context: int, parallel: str, steps: int, line: int, repeats: int,
         out: Path) -> None:  # fmt: skip
    size = int(os.environ.get("WORLD_SIZE", "1"))
    folder = out.with_suffix(".run")
    start: dict[str, float] = {}

    def lap(name: str, since: float) -> float:
        start[name] = round(time.perf_counter() - since, 2)
        return time.perf_counter()

    now = time.perf_counter()
    vocabulary = read_vocabulary(teacher)
    now = lap("vocabulary", now)
    mixture = load_mixture(data, vocabulary, real_share=None, seed=0)
    now = lap("shards", now)
    large = load_teacher(teacher)
    now = lap("teacher", now)
    settings = TrainSettings(
        steps=steps + 2 * repeats, warmup=1, batch=micro * size, micro=micro, context=context,
        binary=not twin, log_every=line, checkpoint_every=steps,
    )  # fmt: skip
    shape = read_shape(name, vocab=vocab, layers=layers, context=context)
    run = Run(
        settings, with_end_of_text(shape, vocabulary), mixture, vocabulary, large, folder,
        parallel=parallel,
    )  # fmt: skip
    lap("run", now)
    world, lines, clocks = run.world, [], []
    with watched_clocks(clocks):
        run.train(stop_after=steps, say=lambda text: lines.append(json.loads(text)))
    timer = Timer(world.device, repeats)
    batches = read_batches(run.mixture, settings, world, run.targets, steps, steps + 1)
    batch = next(batches)
    example = run.targets(batch.rows.to(world.device).long())

    def step() -> None:
        run.one_step(batch, watch=False)
        run.step -= 1  # the rate of learning stays, and never runs out

    def prepared() -> None:
        run.replica.backward(example, world.size / batch.positions, last=True)
        run.replica.clip(settings.clip)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)

    rows = micro * context
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if world.cuda else "cpu",
        "devices": world.size,
        "engine": run.replica.engine,
        "start_s": start,
        "lines": [{k: row[k] for k in ("step", "tokens_per_s", "mfu")} for row in lines],
        "step_s": round(timer.in_a_row(step), 6),
        "example_s": round(timer.in_a_row(prepared), 6),
        "clocks": clocks,
    }
    results["tokens_per_s_of_steps"] = round(rows * world.size / results["step_s"], 1)
    if world.cuda:
        results["gaps"] = gaps(read_trace(lambda: timer.in_a_row(step, 2)), 2)
    world.wait()
    if world.rank == 0:
        shutil.rmtree(folder)
        write_record(out, results, ("torch", "numpy"))
        click.echo(out.read_text())


if __name__ == "__main__":
    run_program(main)
