"""Bytes and time of a compact state of a whole model, beside its checkpoint's.

    python benchmarks/carry_size.py --run folder --out carry_size.json

The checkpoint is made up: initial weights, and AdamW's moments as independent gradients give them
whose size differs from parameter to parameter (log-normal, `--spread` of its logarithm). `bits`
tells how long the moments' codes are: compare those of a training (`benchmarks/carry.py`).
`restore_s` has the writing of the usual checkpoint in it.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click
import torch
from program import OutputFile, Program
from record import write_record
from torch import Tensor

from model.checkpoint import checkpoints, write_tensors
from model.compact import restore_compact, save_compact
from model.compact_manifest import parameters_of
from model.fbi import INIT_STD
from model.metrics import COLUMNS, Metrics
from model.parallel import World
from model.settings import TrainSettings
from model.train_command import read_shape


def make_state(name: str, binary: bool, context: int) -> dict[str, object]:
    shape = read_shape(name, vocab=None, layers=None, context=context)
    settings = TrainSettings(steps=1000, binary=binary, context=context)
    return {"step": 500, "settings": settings.to_dict(), "config": shape.to_dict()}


def make_tensors(state: dict[str, object], spread: float) -> dict[str, Tensor]:
    """Return parameters and moments: m ~ 0.229·g·N(0, 1), v ~ g², their spread for noise."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in parameters_of(state, "the shape")[0].items():

        def normal(shape: tuple[int, ...] = shape) -> Tensor:
            return torch.empty(shape).normal_(generator=generator)

        second = (1e-5 * torch.exp(spread * normal())).square()
        share = (0.229 * normal()).clamp_(-1.1, 1.1)  # √((1 - b1) / (1 + b1)), and its bound
        tensors[f"parameter.{name}"] = INIT_STD * normal()
        tensors[f"exp_avg.{name}"] = share * second.sqrt()
        # v itself varies around its mean: 2·(1 - b2) / (1 + b2) of its square
        tensors[f"exp_avg_sq.{name}"] = second * torch.exp(0.226 * normal())
    return tensors


@click.command(cls=Program)
@click.option("--model", "name", default="fbi-110m", show_default=True)
@click.option("--context", default=1024, show_default=True)
@click.option("--spread", default=1.0, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--run", "folder", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--out", type=OutputFile(), required=True)
def main(name: str, context: int, spread: float, repeats: int, folder: Path, out: Path) -> None:
    world = World(0, 1, torch.device("cpu"))
    results = {}
    for kind in ("fbi", "twin"):
        state = make_state(name, kind == "fbi", context)
        tensors = make_tensors(state, spread)
        run, carried, back = (folder / f"{kind}-{part}" for part in ("run", "carried", "back"))
        for path in (run, carried, back):
            shutil.rmtree(path, ignore_errors=True)
        run.mkdir(parents=True)
        Metrics(run, 0).add({**dict.fromkeys(COLUMNS, 1.0), "step": 500, "tokens": 1})
        times: dict[str, list[float]] = {"checkpoint_s": [], "save_s": [], "restore_s": []}
        for _ in range(repeats):
            shutil.rmtree(back, ignore_errors=True)
            begun = time.perf_counter()
            path = write_tensors(run, lambda: tensors, state, world)  # noqa: B023, called here
            written = time.perf_counter()
            manifest = save_compact(run, carried)
            saved = time.perf_counter()
            restore_compact(carried, back)
            ends = time.perf_counter()
            for label, took in zip(times, (written - begun, saved - written, ends - saved),
                                   strict=True):  # fmt: skip
                times[label].append(round(took, 2))
        count = sum(t.numel() for k, t in tensors.items() if k.startswith("parameter."))
        assert len(checkpoints(back)) == 1
        bits = {
            kind_of: round(8 * sum(sum(getattr(e, kind_of)) for e in manifest.entries) / count, 3)
            for kind_of in ("parameter", "exp_avg_sq", "exp_avg")
        }
        results[kind] = {
            "model": name, "parameters": count, "bits": bits,
            "checkpoint_bytes": sum(p.stat().st_size for p in path.iterdir()),
            "bytes": manifest.bytes, "parts": len(manifest.parts),
            "largest_part": max(part.bytes for part in manifest.parts),
            "manifest_bytes": (carried / "manifest.json").stat().st_size,
            "threads": torch.get_num_threads(), **times,
        }  # fmt: skip
        click.echo(f"{kind}: {results[kind]}")
        for path in (run, carried, back):
            shutil.rmtree(path)
    write_record(out, results, ("torch", "numpy"))


if __name__ == "__main__":
    main()
