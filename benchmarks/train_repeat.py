"""Does training repeat to the bit? The same run several ways, its weights and moments compared.

    python benchmarks/train_repeat.py --out repeat.json -- --teacher teacher.gguf --data data \\
        --model fbi-135m --vocab 32000 --initial teacher --batch 64 --context 1024 --warmup 10

What follows ``--`` is `signacc train`'s. Each way is trained by a process of its own: `again` is
`whole` once more; `resumed` stops after half of the steps and goes on in another process; `beside`
runs while another process trains on the same devices; `cold` has nothing in the compiler's caches,
so that kernels are built, and chosen, anew; `eager` is without the compiler, and `eager-again` that
once more. `first_step` is the first step whose loss or gradient norm reads differently than in
`against`, to the digits of ``metrics.csv``; `sha256` is of all parameters and moments after the
last step, to be compared with a record of another machine (`gpus` are the devices' UUIDs).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from program import OutputFile, Program
from record import write_record

from golden.errors import InputError
from model.checkpoint import checkpoints, read_tensors
from model.metrics import read_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

OURS = ("--out", "--steps", "--stop-after", "--resume", "--log-every", "--checkpoint-every",
        "--minutes", "--carry", "--carry-every")  # fmt: skip
"""Options of `signacc train` that this program gives itself, or that would make runs differ."""


@dataclass(frozen=True)
class Way:
    """How a run is made, and which run it is compared with."""

    against: str | None = "whole"
    parts: bool = False
    beside: bool = False
    cold: bool = False
    eager: bool = False


WAYS = {
    "whole": Way(None),
    "again": Way(),
    "resumed": Way(parts=True),
    "beside": Way(beside=True),
    "cold": Way(cold=True),
    "eager": Way(None, eager=True),
    "eager-again": Way("eager", eager=True),
}


@dataclass(frozen=True)
class Trainer:
    """Calls `signacc train` in processes of `devices` devices each."""

    options: Sequence[str]
    steps: int
    devices: int
    folder: Path

    def _start(self, name: str, environment: dict[str, str], *more: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m"]
        if self.devices > 1:  # standalone: a port of its own, so that two can run at once
            words += ["torch.distributed.run", "--standalone", "--nproc-per-node",
                      str(self.devices), "-m"]  # fmt: skip
        words += ["model.train_command", *self.options, "--out", str(self.folder / name), "--steps",
                  str(self.steps), "--log-every", "1", "--checkpoint-every",
                  str(max(1, self.steps // 2)), *more]  # fmt: skip
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, env=environment)

    def _wait(self, name: str, process: subprocess.Popen[bytes]) -> None:
        if code := process.wait():
            log = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
            said = [line.removeprefix("Error: ") for line in log if line.startswith("Error: ")]
            if code == 2 and said:
                raise InputError(said[-1])
            click.echo("\n".join(log[-20:]), err=True)
            raise subprocess.CalledProcessError(code, ["signacc train"])

    def train(self, name: str, way: Way) -> float:
        """Make the run of a way in the folder of its name; return the seconds that it took."""
        environment = dict(os.environ)
        if way.eager:
            environment["TORCH_COMPILE_DISABLE"] = "1"
        if way.cold:
            for cache in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
                environment[cache] = str(self.folder / f"{name}.cache")
        begun = time.perf_counter()
        with self._neighbour(environment) if way.beside else nullcontext():
            if way.parts:
                half = str(max(1, self.steps // 2))
                self._wait(name, self._start(name, environment, "--stop-after", half))
            rest = ["--resume"] if way.parts else []
            self._wait(name, self._start(name, environment, *rest))
        return time.perf_counter() - begun

    @contextmanager
    def _neighbour(self, environment: dict[str, str]) -> Iterator[None]:
        """Train the same beside what is done meanwhile, to the end of both."""
        process = self._start("neighbour", environment)
        try:
            yield
            self._wait("neighbour", process)
        finally:
            process.kill()
            process.wait()


def digest(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of names and bytes, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + b"\0")
        found.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def compare(run: Path, reference: Path) -> dict[str, Any]:
    """Return how the last checkpoint and the metrics of a run differ from those of another."""
    mine, other = (read_tensors(checkpoints(path)[-1]) for path in (run, reference))
    if mine.keys() != other.keys():
        raise InputError(f"{run} and {reference} must hold the same tensors, and do not")
    differing, largest = 0, 0.0
    for name, value in mine.items():
        # as bits: -0 and 0 differ, a NaN and itself do not
        if not torch.equal(value.view(torch.int32), other[name].view(torch.int32)):
            differing += 1
            largest = max(largest, float((value.double() - other[name].double()).abs().max()))
    steps = (
        int(a["step"] or 0)
        for a, b in zip(read_metrics(run), read_metrics(reference), strict=True)
        if any(a[key] != b[key] for key in ("step", "loss", "grad_norm", "flip_flop"))
    )
    return {
        "same_bits": not differing,
        "differing_tensors": differing,
        "largest_difference": largest,
        "first_step": next(steps, None),
    }


@click.command(cls=Program)
@click.option("--way", "chosen", multiple=True, type=click.Choice(tuple(WAYS)),
              help="Repeat for several; what they are compared with is made, too [default: all].")
@click.option("--steps", type=click.IntRange(2), default=40, show_default=True)
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True,
              help="Of each run, by torchrun if there are several.")
@click.option("--out", type=OutputFile(), required=True)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def main(
    chosen: tuple[str, ...], steps: int, devices: int, out: Path, options: tuple[str, ...]
) -> None:
    for option in options:
        if option.split("=")[0] in OURS:
            raise InputError(f"{option} is not to be given: this program gives it, or cannot")
    names = [
        name for name in WAYS
        if not chosen or name in chosen or any(WAYS[one].against == name for one in chosen)
    ]  # fmt: skip
    folder = out.with_suffix(".run")
    if folder.exists():
        raise InputError(f"{folder} must not exist yet: runs are made there, and removed")
    folder.mkdir()
    trainer = Trainer(options, steps, devices, folder)
    rows = []
    try:
        for name in names:
            way = WAYS[name]
            seconds = trainer.train(name, way)
            tensors = read_tensors(checkpoints(folder / name)[-1])
            row = {
                "way": name, "against": way.against, "tensors": len(tensors),
                "sha256": digest(tensors), "loss": read_metrics(folder / name)[-1]["loss"],
                "seconds": round(seconds, 1),
            }  # fmt: skip
            if way.against:
                row |= compare(folder / name, folder / way.against)
                for made in (folder / name, folder / "neighbour", folder / f"{name}.cache"):
                    shutil.rmtree(made, ignore_errors=True)
            rows.append(row)
            click.echo(row)
    except InputError:
        shutil.rmtree(folder)
        raise
    cuda = torch.cuda.is_available()
    results = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "gpus": [
            str(torch.cuda.get_device_properties(i).uuid) for i in range(devices) if cuda
        ],
        "devices": devices,
        "steps": steps,
        "ways": rows,
    }  # fmt: skip
    write_record(out, results, ("torch", "numpy", "triton") if cuda else ("torch", "numpy"))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
