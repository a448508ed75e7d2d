"""What carrying training in compact form costs: the same training whole, and carried in between.

    python benchmarks/carry.py --teacher teacher.gguf --data data --run carry --out carry.json

An FBI-LLM and its twin, three seeds each, small enough for a CPU; cross-entropy with the text, so
that no teacher runs. At a third and two thirds of the steps training stops and goes on: `exact`
from its checkpoint, `compact` from `model.compact`, `dropped` with AdamW started afresh, `nudged`
from its checkpoint with each parameter changed by a rounding error of fp32, which shows what any
change grows to; `rounded` and `coded` with what is lost of the weights alone and of the moments
alone. `often` is carried in compact form eleven times. All are compared with `whole`,
which never stops, on rows that training does not read. `codes` are errors of codes of the moments,
on a checkpoint at two thirds: the change of AdamW's next step, and bits a parameter.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from program import OutputFile, Program
from record import write_record
from studies import held_apart, held_out_loss, interval
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import InputError
from model.checkpoint import checkpoints, read_tensors
from model.compact import EPSILON, restore_compact, save_compact
from model.compact_codes import (
    decode_log8,
    decode_ratio8,
    encode_log8,
    encode_ratio8,
    ratio_bound,
    squeeze,
)
from model.data import Mixture
from model.manifest import load_mixture
from model.metrics import read_metrics
from model.settings import TrainSettings
from model.targets import Targets
from model.tokenizer import Vocabulary, read_vocabulary
from model.train import Run, with_end_of_text
from model.trained import load_trained

SHAPE = ModelConfig(
    hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=2,
    num_key_value_heads=2, vocab_size=1024, max_position_embeddings=128, tie_word_embeddings=True,
)  # fmt: skip
VARIANTS = (
    "whole", "exact", "nudged", "compact", "rounded", "coded", "often", "dropped",
)  # fmt: skip


def restart(run: Run) -> None:
    """Start AdamW afresh."""
    for state in run.optimizer.state.values():
        for value in state.values():
            value.zero_()


@torch.no_grad()
def nudge(run: Run) -> None:
    """Change each parameter by a relative 2^-24, up or down: half a place of fp32."""
    generator = torch.Generator().manual_seed(run.step)
    for parameter in run.replica.student.parameters():
        sign = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
        # 1 - 2^-24 is a number of fp32, 1 + 2^-24 is none
        parameter.mul_(1 + torch.where(sign > 0, 2.0**-23, -(2.0**-24)))


@torch.no_grad()
def round_weights(run: Run) -> None:
    """Lose what a compact state loses of decoder linears' weights."""
    for name, parameter in run.replica.student.named_parameters():
        if name.endswith("_proj.weight"):
            parameter.copy_(parameter.bfloat16())


def code_moments(run: Run) -> None:
    """Lose what a compact state loses of the moments."""
    bound = ratio_bound(run.settings.betas)
    for state in run.optimizer.state.values():
        first, second = state["exp_avg"], state["exp_avg_sq"]
        shape = second.shape
        second.copy_(decode_log8(encode_log8(second), shape))
        first.copy_(decode_ratio8(encode_ratio8(first, second, bound), shape, second, bound))


CHANGES: dict[str, Callable[[Run], None]] = {
    "dropped": restart, "nudged": nudge, "rounded": round_weights, "coded": code_moments,
}  # fmt: skip


class Trainings:
    """Trains each variant in a folder of its own; what is done is not done again."""

    def __init__(self, folder: Path, settings: TrainSettings, mixture: Mixture,
                 vocabulary: Vocabulary, held: Any) -> None:  # fmt: skip
        self.folder, self.settings, self.mixture = folder, settings, mixture
        self.vocabulary, self.held = vocabulary, held
        self.shape = with_end_of_text(SHAPE, vocabulary)

    def piece(self, settings: TrainSettings, out: Path, last: int,
              change: Callable[[Run], None] | None = None) -> None:  # fmt: skip
        if out.exists() and checkpoints(out):
            if int(checkpoints(out)[-1].name[5:]) >= last:
                return
        elif out.exists():
            shutil.rmtree(out)
        run = Run(settings, self.shape, self.mixture_of(settings), self.vocabulary, None, out,
                  resume=True)  # fmt: skip
        if change is not None and run.step:
            change(run)
        run.train(stop_after=last)

    def mixture_of(self, settings: TrainSettings) -> Mixture:
        return replace(self.mixture, seed=settings.seed)

    def variant(self, name: str, settings: TrainSettings, label: str) -> Path:
        """Train `name`; return its run folder."""
        out, steps = self.folder / f"{label}-{name}", settings.steps
        pieces = {"whole": 1, "often": 12}.get(name, 3)
        for number in range(pieces):
            here = out / str(number)
            if number and not checkpoints(here):
                before = out / str(number - 1)
                if name in ("compact", "often"):
                    save_compact(before, out / "carried")
                    restore_compact(out / "carried", here)
                else:
                    shutil.copytree(before, here, dirs_exist_ok=True)
            elif not number and pieces == 3 and name != "exact" and not here.exists():
                shutil.copytree(self.folder / f"{label}-exact" / "0", here)
            self.piece(settings, here, steps * (number + 1) // pieces, CHANGES.get(name))
        return out / str(pieces - 1)

    def held_out(self, run: Path) -> float:
        """Return cross-entropy on the rows held apart, nats a token."""
        targets = Targets(self.vocabulary, size=SHAPE.vocab_size, context=self.settings.context,
                          shares=(0.0, 1.0), device=torch.device("cpu"), teacher=None)  # fmt: skip
        return held_out_loss(load_trained(run), targets, self.held)


def codebook(signed: bool) -> Tensor:
    """Return the 8-bit dynamic code of arXiv 2110.02861 in [-1, 1] or [0, 1], sorted.

    A run of zeros chooses the power of ten, the bits after it a linear place in 0.1 to 1.
    """
    bits = 7 if signed else 8
    values = [0.0]
    for zeros in range(bits):
        places = 2 ** (bits - 1 - zeros)
        edges = torch.linspace(0.1, 1, places + 1)
        values += ((edges[1:] + edges[:-1]) / 2 * 10.0**-zeros).tolist()
    values[values.index(max(values))] = 1.0
    table = torch.tensor(values)
    return torch.cat((-table[1:], table)).sort().values if signed else table.sort().values


def in_blocks(value: Tensor, size: int, code: Callable[[Tensor], tuple[Tensor, Tensor]]
              ) -> tuple[Tensor, float]:  # fmt: skip
    """Return `value` coded in blocks by their largest magnitude, and bits a number.

    `code` returns levels and values of numbers in -1 to 1. Levels are counted as Huffman's code
    takes them, and 32 bits for each block.
    """
    flat = value.reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % size)).reshape(-1, size)
    largest = blocks.abs().amax(1, keepdim=True).clamp_min(1e-38)
    levels, values = code(blocks / largest)
    stream = squeeze(levels.to(torch.uint8).reshape(-1)[: len(flat)].numpy())
    bits = 8 * len(stream) / len(flat) + 32 / size
    return (values * largest).reshape(-1)[: len(flat)].reshape(value.shape), bits


def dynamic(signed: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    table = codebook(signed)
    middles = (table[1:] + table[:-1]) / 2

    def code(value: Tensor) -> tuple[Tensor, Tensor]:
        levels = torch.bucketize(value, middles)
        return levels, table[levels]

    return code


def linear(value: Tensor) -> tuple[Tensor, Tensor]:
    levels = (127 * value).round()
    return levels + 127, levels / 127


def compare_codes(run: Path, betas: tuple[float, float]) -> list[dict[str, Any]]:
    """Return error of AdamW's next step and bits a parameter of codes of both moments."""
    tensors = read_tensors(checkpoints(run)[-1])
    names = [name[10:] for name in tensors if name.startswith("parameter.")]
    bound = ratio_bound(betas)

    def log_and_ratio(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, float]:
        squares = encode_log8(second)
        found = decode_log8(squares, second.shape)
        shares = encode_ratio8(first, found, bound)
        bits = 8 * sum(map(len, (*squares, *shares))) / first.numel()
        return decode_ratio8(shares, first.shape, found, bound), found, bits

    def both(first_code: Any, second_code: Any, size: int, root: bool) -> Any:
        def code(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, float]:
            m, bits = in_blocks(first, size, first_code)
            v, more = in_blocks(second.sqrt() if root else second, size, second_code)
            return m, v.square() if root else v, bits + more

        return code

    found = []
    for label, code in (
        ("log8 and ratio8", log_and_ratio),
        ("dynamic 8 bits, blocks of 256", both(dynamic(True), dynamic(False), 256, False)),
        ("linear 8 bits of m and of the root of v, blocks of 256", both(linear, linear, 256, True)),
    ):
        error = size = bits = count = 0.0
        worst = 0.0
        for name in names:
            first, second = tensors[f"exp_avg.{name}"], tensors[f"exp_avg_sq.{name}"]
            m, v, taken = code(first, second)
            update = first / (second.sqrt() + EPSILON)
            change = m / (v.sqrt() + EPSILON) - update
            worst = max(worst, float(change.abs().max()))
            error += float(change.double().square().sum())
            size += float(update.double().square().sum())
            bits += taken * first.numel()
            count += first.numel()
        found.append({"code": label, "next_step_error": float(f"{math.sqrt(error / size):.3g}"),
                      "largest_error_in_steps": float(f"{worst:.3g}"),
                      "bits": round(bits / count, 2)})  # fmt: skip
    return found


def losses(run: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_metrics(run)}


def summary(trained: dict[str, list[Path]], held: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return a row for each variant; differences are from `whole`, seed by seed."""
    table = []
    for name, runs in trained.items():
        curves = []
        for run, whole in zip(runs, trained["whole"], strict=True):
            mine, theirs = losses(run), losses(whole)
            after = min(theirs) + (max(theirs) - min(theirs)) // 3
            curves.append([abs(mine[s] - theirs[s]) for s in theirs if s > after and s in mine])
        pairs = [a - b for a, b in zip(held[name], held["whole"], strict=True)]
        mean, half = interval(pairs)
        table.append({
            "variant": name, "held_out": [round(x, 5) for x in held[name]],
            "mean": round(statistics.fmean(held[name]), 5),
            "seeds_stdev": round(statistics.stdev(held[name]), 5),
            "against_whole": round(mean, 5), "against_whole_ci95": round(half, 5),
            "largest_difference": round(max(map(abs, pairs)), 5),
            "curve_mean_difference": round(statistics.fmean(map(statistics.fmean, curves)), 5),
            "curve_largest_difference": round(max(map(max, curves)), 5),
        })  # fmt: skip
    return table


@click.command(cls=Program)
@click.option("--teacher", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--run", "folder", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="Folder of the runs; keep it to go on.")
@click.option("--steps", default=240, show_default=True, help="A multiple of 12.")
@click.option("--batch", default=16, show_default=True)
@click.option("--lr", default=2e-3, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="At least 2.")
@click.option("--hold-rows", default=128, show_default=True, help="Rows never trained on.")
@click.option("--out", type=OutputFile(), required=True)
def main(teacher: Path, data: Path, folder: Path, steps: int, batch: int, lr: float, seeds: int,
         hold_rows: int, out: Path) -> None:  # fmt: skip
    if steps % 12 or seeds < 2:
        raise InputError(f"steps must be a multiple of 12, and seeds at least 2, "
                         f"not {steps} and {seeds}")  # fmt: skip
    vocabulary = read_vocabulary(teacher)
    mixture, held = held_apart(
        load_mixture(data, vocabulary, real_share=None, seed=0), hold_rows
    )
    results: dict[str, Any] = {"shape": SHAPE.to_dict(), "tables": {}, "codes": {}}
    for kind in ("fbi", "twin"):
        trained: dict[str, list[Path]] = {name: [] for name in VARIANTS}
        scores: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for seed in range(seeds):
            settings = TrainSettings(
                steps=steps, batch=batch, context=SHAPE.max_position_embeddings, loss="ce",
                binary=kind == "fbi", lr=lr, lr_min=lr / 10, warmup=steps // 10, seed=seed,
                log_every=5, checkpoint_every=steps,
            )  # fmt: skip
            results["settings"] = settings.to_dict()
            trainings = Trainings(folder, settings, mixture, vocabulary, held)
            for name in VARIANTS:
                run = trainings.variant(name, settings, f"{kind}-{seed}")
                trained[name].append(run)
                scores[name].append(trainings.held_out(run))
                click.echo(f"{kind} {seed} {name}: {scores[name][-1]:.5f}")
        results["tables"][kind] = summary(trained, scores)
        results["codes"][kind] = compare_codes(folder / f"{kind}-0-exact" / "1", settings.betas)
        for row in (*results["tables"][kind], *results["codes"][kind]):
            click.echo(json.dumps(row))
    write_record(out, results, ("torch", "numpy"))


if __name__ == "__main__":
    main()
