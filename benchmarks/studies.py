"""The studies of arXiv 2407.07093 in small: which loss, which start, which scale axis.

    python benchmarks/studies.py --study loss --teacher t.gguf --data data --run studies \\
        --model fbi-43m --steps 2000 --seeds 3 --minutes 20 --out studies-loss.json

Every variant trains with every seed on the same rows. A run that is finished is not made again, and
one that was stopped goes on from its checkpoint: give the same command until nothing is left. Under
torchrun each run uses all devices; with ``--lanes 2`` runs are made side by side, two on each GPU.
Compared, on rows that training never read and whatever loss the
variant was trained with, are AD loss, the teacher's cross-entropy with the student, and
cross-entropy, the student's own with the text.
"""

from __future__ import annotations

import csv
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from program import OutputFile, Program
from record import write_record
from side_by_side import run_all

from golden.errors import InputError
from model.checkpoint import checkpoints, read_state
from model.data import Mixture
from model.loss import chunked_loss
from model.manifest import load_mixture
from model.metrics import read_metrics
from model.parallel import World, run_program
from model.plots import plot_runs
from model.settings import TrainSettings
from model.targets import Targets
from model.teacher import Teacher, load_teacher
from model.tokenizer import Vocabulary, read_vocabulary
from model.train import Run, with_end_of_text
from model.train_command import read_shape
from model.trained import load_trained

STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "loss": {"AD": {"loss": "ad"}, "mixed": {"loss": "mixed"}, "CE": {"loss": "ce"}},
    "start": {"scratch": {"initial": "scratch"}, "continued": {"initial": "teacher"}},
    "axis": {axis: {"scale_axis": axis} for axis in ("column", "row", "single", "both")},
}
"""Variants by study, as changes of the settings; the first is what the others are compared with."""

T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""97.5 % quantiles of Student's t by degrees of freedom."""


@dataclass
class Outcome:
    """What one run ended with; `spikes` counts jumps of the loss, see `spikes`."""

    variant: str
    seed: int
    steps: int
    held_out_loss: float
    cross_entropy: float
    flip_flop: float | None
    grad_norm: float
    spikes: int
    folder: Path = field(repr=False)


def interval(values: list[float]) -> tuple[float, float]:
    """Return mean and half width of the 95 % confidence interval; NaN half width for one value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan
    freedom = len(values) - 1
    quantile = T95.get(freedom, 1.96 + 2.6 / freedom)  # within 0.01 of the quantile from 10 on
    return mean, quantile * statistics.stdev(values) / math.sqrt(len(values))


def spikes(losses: list[float], *, span: int = 10, by: float = 0.1) -> int:
    """Count lines whose loss is `by` nats or more above the median of the `span` lines before."""
    return sum(
        value > statistics.median(losses[i - span : i]) + by
        for i, value in enumerate(losses)
        if i >= span
    )


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, targets: Targets, rows: np.ndarray) -> float:
    """Return the loss on `rows` by the shares of `targets`, nats a token."""
    total, count = 0.0, 0
    for start in range(0, len(rows), 8):
        part = rows[start : start + 8]
        example = targets(torch.from_numpy(part.astype(np.int64)).to(targets.device))
        hidden = model.features(example.tokens).flatten(0, 1)
        total += float(chunked_loss(hidden, model.lm_head.weight, example.wanted))
        count += targets.positions(part)
    return total / count


def held_apart(mixture: Mixture, rows: int) -> tuple[Mixture, np.ndarray]:
    """Take the last rows of the shards, in proportion, out of a mixture; return both."""
    groups = []
    kept = []
    total = sum(len(a) for a in (*mixture.sampled, *mixture.real))
    for group in (mixture.sampled, mixture.real):
        left = []
        for array in group:
            count = min(len(array) - 1, -(-rows * len(array) // total))
            kept.append(np.asarray(array[len(array) - count :]))
            left.append(array[: len(array) - count])
        groups.append(left)
    return replace(mixture, sampled=groups[0], real=groups[1]), np.concatenate(kept)[:rows]


class Study:
    """Runs the variants of one study in their folders."""

    def __init__(self, name: str, base: TrainSettings, shape: Any, mixture: Mixture,
                 vocabulary: Vocabulary, teacher: Teacher, folder: Path, hold: int,
                 keep: bool = True) -> None:  # fmt: skip
        self.name, self.base, self.shape, self.folder = name, base, shape, folder
        self.keep = keep
        self.vocabulary, self.teacher = vocabulary, teacher
        self.mixture, self.held = held_apart(mixture, hold)

    def run(self, variant: str, seed: int, minutes: float) -> Outcome | None:
        """Train one variant with one seed, or go on with it; None if its time was not enough."""
        changes = STUDIES[self.name][variant]
        settings = replace(self.base, seed=seed, **changes)
        # named by what it is, so that the studies share the run with nothing changed
        label = "-".join(str(v) for k, v in changes.items() if v != getattr(self.base, k))
        out = self.folder / f"{label or 'base'}-{seed}"
        done = out / "held-out.json"
        if not done.is_file():
            if minutes <= 0:
                return None
            mixture = replace(self.mixture, seed=seed)
            # a copy: a run takes its teacher to the device, and rounds it to bf16 there
            training = Run(settings, self.shape, mixture, self.vocabulary, deepcopy(self.teacher),
                           out, resume=True)  # fmt: skip
            if training.step < settings.steps:
                training.train(minutes=minutes)
            if training.step < settings.steps:
                return None
            if training.world.rank == 0:
                self.score(out, done, training.world.device)
                for file in () if self.keep else out.glob("checkpoints/*/*.safetensors"):
                    file.unlink()
            training.world.wait()
        found = json.loads(done.read_text())
        rows = read_metrics(out)
        late = rows[len(rows) // 2 :]
        flips = [r["flip_flop"] for r in late if r["flip_flop"] is not None]
        state = read_state(checkpoints(out)[-1])
        settings.check_continues(state["settings"], state["step"], str(out))
        return Outcome(
            variant=variant, seed=seed, steps=state["step"],
            held_out_loss=found["loss"], cross_entropy=found["cross_entropy"],
            flip_flop=statistics.fmean(flips) if flips else None,
            grad_norm=statistics.fmean(r["grad_norm"] for r in late),
            spikes=spikes([r["loss"] for r in rows]), folder=out,
        )  # fmt: skip

    def score(self, out: Path, done: Path, device: torch.device) -> None:
        """Write the held-out AD loss and cross-entropy of a finished run, in fp32."""
        model, teacher = load_trained(out).to(device), deepcopy(self.teacher).to(device)
        found: dict[str, float] = {"rows": len(self.held)}
        for name, shares in {"loss": (1.0, 0.0), "cross_entropy": (0.0, 1.0)}.items():
            targets = Targets(
                self.vocabulary, size=self.shape.vocab_size, context=self.base.context,
                shares=shares, device=device, teacher=teacher,
            )  # fmt: skip
            found[name] = held_out_loss(model, targets, self.held)
        temporary = done.with_suffix(".part")
        temporary.write_text(json.dumps(found) + "\n")
        temporary.replace(done)


def child_command(call: click.Context, **changes: Any) -> list[str]:
    """Return this program's command line again, with other values of some options."""
    words = [sys.executable, str(Path(__file__).resolve())]
    for option in call.command.params:
        value = changes.get(option.name, call.params[option.name])
        if value is None or option.name == "lanes":
            continue
        if option.is_flag:
            words.append((option.opts if value else option.secondary_opts)[0])
        else:
            values = value if option.multiple else (value,)
            words += [word for one in values for word in (option.opts[0], str(one))]
    return words


def train_side_by_side(call: click.Context, variants: Sequence[str], end: float) -> list[str]:
    """Make the runs of a call, several at once, each by a process; return those that failed."""
    seeds, first = call.params["seeds"], call.params["first_seed"]
    jobs = {f"{v}-{seed}": (v, seed) for seed in range(first, first + seeds) for v in variants}

    def command(job: str) -> list[str] | None:
        minutes = (end - time.monotonic()) / 60
        variant, seed = jobs[job]
        return None if minutes <= 0 else child_command(
            call, variants=(variant,), first_seed=seed, seeds=1, minutes=minutes,
            out=logs / f"{job}.json",
        )  # fmt: skip

    logs = call.params["folder"] / "runs"
    return run_all(jobs, command, logs, lanes=call.params["lanes"])


def summary(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Return a row for each variant; `against_first` pairs the runs of a seed with the first's."""

    def shown(values: list[float]) -> tuple[float | None, float | None]:
        pair = interval(values) if values else (math.nan, math.nan)
        mean, half = (None if math.isnan(x) else round(x, 5) for x in pair)
        return mean, half

    table = []
    names = list(dict.fromkeys(o.variant for o in outcomes))
    firsts = {o.seed: o for o in outcomes if o.variant == names[0]}
    for name in names:
        mine = [o for o in outcomes if o.variant == name]
        row: dict[str, Any] = {"variant": name, "runs": len(mine)}
        for what, prefix in {"held_out_loss": "", "cross_entropy": "cross_entropy_"}.items():
            row[what], row[f"{prefix}ci95"] = shown([getattr(o, what) for o in mine])
            pairs = [
                getattr(o, what) - getattr(firsts[o.seed], what) for o in mine if o.seed in firsts
            ]
            row[f"{prefix}against_first"], row[f"{prefix}against_first_ci95"] = shown(pairs)
        flips = [o.flip_flop for o in mine if o.flip_flop is not None]
        row |= {
            "flip_flop": float(f"{statistics.fmean(flips):.4g}") if flips else None,
            "grad_norm": float(f"{statistics.fmean(o.grad_norm for o in mine):.4g}"),
            "spikes": sum(o.spikes for o in mine),
        }
        table.append(row)
    return table


def write(outcomes: list[Outcome], missing: list[str], study: Study, out: Path) -> None:
    """Write the record, the table as CSV, and the curves of all runs."""
    table = summary(outcomes)
    settings = study.base.to_dict()
    results = {
        "study": study.name, "complete": not missing, "missing": missing, "settings": settings,
        "held_out_rows": len(study.held), "summary": table,
        "runs": [{k: v for k, v in vars(o).items() if k != "folder"} for o in outcomes],
    }  # fmt: skip
    write_record(out, results, ("torch", "numpy"))
    with open(out.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table[0].keys())
        writer.writeheader()
        writer.writerows(table)
    try:
        plot_runs({v: [read_metrics(o.folder) for o in outcomes if o.variant == v]
                   for v in dict.fromkeys(o.variant for o in outcomes)},
                  out.with_suffix(".svg"))  # fmt: skip
    except InputError as error:
        click.echo(f"no plot: {error}", err=True)
    for row in table:
        click.echo(json.dumps(row))


@click.command(cls=Program)
@click.option("--study", "name", type=click.Choice(tuple(STUDIES)), required=True)
@click.option("--variant", "variants", multiple=True,
              help="One of the study's; repeat for several [default: all].")
@click.option("--teacher", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--run", "folder", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="Folder of the runs; keep it to go on.")
@click.option("--model", default="fbi-43m", show_default=True)
@click.option("--vocab", type=int)
@click.option("--layers", type=int)
@click.option("--steps", default=2000, show_default=True)
@click.option("--batch", default=256, show_default=True)
@click.option("--micro", default=0, show_default=True)
@click.option("--context", default=512, show_default=True)
@click.option("--lr", default=1e-3, show_default=True)
@click.option("--warmup", default=200, show_default=True)
@click.option("--real-share", type=float, help="Of the rows [default: as the shards are].")
@click.option("--deterministic/--fast", default=True, show_default=True)
@click.option("--log-every", default=10, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--first-seed", default=0, show_default=True,
              help="To make part of a study elsewhere, or on another device at the same time.")
@click.option("--hold-rows", default=256, show_default=True, help="Rows never trained on.")
@click.option("--minutes", default=20.0, show_default=True, help="For all runs of this call.")
@click.option("--lanes", type=click.IntRange(1),
              help="Runs at once on each GPU, each by a process, its output in RUN/runs "
              "[default: one after the other].")
@click.option("--keep-checkpoints/--drop-checkpoints", "keep", default=True, show_default=True,
              help="Of runs that are finished: their tensors take a gigabyte and more.")
@click.option("--out", type=OutputFile(), required=True)
@click.pass_context
def main(call: click.Context, name: str, variants: tuple[str, ...], teacher: Path, data: Path,
         folder: Path, model: str, vocab: int | None, layers: int | None, seeds: int,
         first_seed: int, hold_rows: int, minutes: float, lanes: int | None, keep: bool, out: Path,
         real_share: float | None, **options: Any) -> None:  # fmt: skip
    end = time.monotonic() + 60 * minutes
    for variant in variants:
        if variant not in STUDIES[name]:
            raise InputError(
                f"a variant of {name} is one of {', '.join(STUDIES[name])}, not {variant!r}"
            )
    chosen = [v for v in STUDIES[name] if not variants or v in variants]
    failed = []
    if lanes is not None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("give --lanes without torchrun: each of its runs is one process's")
        failed, end = train_side_by_side(call, chosen, end), 0.0
    world = World.join()
    vocabulary = read_vocabulary(teacher)
    base = TrainSettings(checkpoint_every=max(1, options["steps"] // 4), **options)
    shape = with_end_of_text(
        read_shape(model, vocab=vocab, layers=layers, context=base.context), vocabulary
    )
    mixture = load_mixture(data, vocabulary, real_share=real_share, seed=0)
    study = Study(name, base, shape, mixture, vocabulary, load_teacher(teacher), folder,
                  hold_rows, keep)  # fmt: skip
    outcomes, missing = [], []
    # all variants of a seed before the next: pairs come first
    for seed in range(first_seed, first_seed + seeds):
        for variant in chosen:
            mine = end - time.monotonic() if world.rank == 0 else 0.0
            left = float(world.sum(torch.tensor(mine / 60, device=world.device)))
            outcome = study.run(variant, seed, left)
            if outcome is None:
                missing.append(f"{variant}-{seed}")
            else:
                outcomes.append(outcome)
    if world.rank == 0 and outcomes:
        write(outcomes, missing, study, out)
    if world.rank == 0 and missing:
        click.echo(f"not finished: {', '.join(missing)}; the same command goes on")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    run_program(main)
