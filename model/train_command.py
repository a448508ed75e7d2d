"""``signacc train``: options of a run, read and checked; also ``python -m model.train_command``,
for torchrun.

What is heavy loads once the options are read, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from golden.config import ModelConfig, named_model
from golden.errors import InputError

from .errors import told
from .settings import INITIALS, LOSSES, PARALLEL, SCALE_AXES, SCHEDULES, TrainSettings


def read_shape(name: str, *, vocab: int | None, layers: int | None, context: int) -> ModelConfig:
    """Return the shape that ``--model`` names, a known one or a JSON file or folder, adapted.

    Raises
    ------
    InputError
        If there is no such shape, or the changes do not fit it.
    """
    path = Path(name)
    if path.is_dir():
        config = ModelConfig.from_folder(path)
    elif path.suffix == ".json":
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} must be a JSON file of a model's shape: {error}") from None
        config = ModelConfig.from_dict(data, where=str(path))
    else:
        config = named_model(name)
    config = replace(config, bos_token_id=None, eos_token_id=None, max_position_embeddings=context)
    if vocab is not None:
        config = replace(config, vocab_size=vocab)
    if layers is not None:
        config = replace(config, num_hidden_layers=layers)
    return config


def _choice(flag: str, known: Any, default: str, text: str) -> Any:
    return click.option(flag, type=click.Choice(tuple(known)), default=default,
                        show_default=True, help=text)  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--teacher", type=click.Path(path_type=Path), required=True, metavar="FILE.gguf",
              help="Teacher, and vocabulary of the shards.")
@click.option("--data", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Token shards with their manifest (signacc data).")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--model", "name", default="fbi-43m", show_default=True,
              help="Shape: a name, a config.json, or a folder that holds one.")
@click.option("--vocab", type=int, help="Vocabulary in place of the shape's: a cut of the "
              "teacher's.")
@click.option("--layers", type=int, help="Layers in place of the shape's, for trials.")
@click.option("--twin", is_flag=True, help="Train the full-precision twin.")
@_choice("--loss", LOSSES, "ad", "AD, half AD and half cross-entropy, or cross-entropy.")
@_choice("--scale-axis", SCALE_AXES, "column", "Where scale and shift lie; column is FBI-LLM.")
@_choice("--initial", INITIALS, "scratch", "From scratch, or from the teacher's own weights.")
@click.option("--steps", type=int, required=True)
@click.option("--batch", default=256, show_default=True, help="Rows a step, over all devices.")
@click.option("--micro", default=0, show_default=True,
              help="Rows a device takes in one pass; 0: its share of the batch.")
@click.option("--context", default=512, show_default=True, help="Student tokens a row.")
@click.option("--lr", default=3e-4, show_default=True)
@click.option("--lr-min", default=3e-5, show_default=True)
@click.option("--warmup", default=200, show_default=True, help="Steps.")
@_choice("--schedule", SCHEDULES, "cosine", "wsd: stable, then linear in the last part.")
@click.option("--decay", default=0.2, show_default=True, help="That part, of wsd.")
@click.option("--real-share", type=float,
              help="Share of rows that are real text [default: as the shards are].")
@click.option("--seed", default=0, show_default=True, help="Of weights and data order.")
@click.option("--recompute", is_flag=True, help="Less memory for a third more work: layers are "
              "computed again backwards.")
@_choice("--parallel", PARALLEL, "auto", "Engine on several devices; auto: by the model's size.")
@click.option("--deterministic/--fast", default=True, show_default=True,
              help="Kernels that repeat to the bit.")
@click.option("--log-every", default=10, show_default=True, help="Steps.")
@click.option("--checkpoint-every", default=1000, show_default=True, help="Steps.")
@click.option("--resume", is_flag=True, help="Continue from the newest checkpoint.")
@click.option("--carry", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Go on from the compact state in DIR if it is newer than the run, and leave one "
              "there: what a machine without a lasting disk needs. Not to the bit.")
@click.option("--carry-every", type=float, metavar="MINUTES",
              help="With --carry: leave one there that often, while training goes on.")
@click.option("--minutes", type=float,
              help="Stop after that time of training, with checkpoint and export.")
@click.option("--stop-after", type=int, help="Stop after that many steps in all.")
@told()
def main(
    teacher: Path,
    data: Path,
    out: Path,
    name: str,
    vocab: int | None,
    layers: int | None,
    twin: bool,
    real_share: float | None,
    parallel: str,
    resume: bool,
    carry: Path | None,
    carry_every: float | None,
    minutes: float | None,
    stop_after: int | None,
    **options: Any,
) -> None:
    """Train one model by autoregressive distillation from the teacher.

    \b
    Example: signacc train --teacher teacher.gguf --data data --out run --steps 8600
    On several GPUs: torchrun --nproc-per-node 4 -m model.train_command with the same options.
    """
    from .carry import Carrier, take
    from .manifest import load_mixture
    from .metrics import read_metrics
    from .plots import plot_runs
    from .teacher import load_teacher
    from .tokenizer import read_vocabulary
    from .train import Run, with_end_of_text

    settings = TrainSettings(binary=not twin, **options)
    for what, value in (("minutes", minutes), ("carry-every", carry_every)):
        if value is not None and not value > 0:
            raise InputError(f"{what} must be above 0, not {value}")
    if carry_every is not None and carry is None:
        raise InputError("--carry-every says how often --carry is done: give --carry DIR, too")
    if stop_after is not None and stop_after < 1:
        raise InputError(f"stop-after must be at least 1 step, not {stop_after}")
    if out.exists() and not out.is_dir():
        raise InputError(f"the run folder must be a folder, not a file: {out}")
    vocabulary = read_vocabulary(teacher)
    shape = read_shape(name, vocab=vocab, layers=layers, context=settings.context)
    needed = settings.shares[0] or settings.initial == "teacher"
    run = Run(
        settings,
        with_end_of_text(shape, vocabulary),
        load_mixture(data, vocabulary, real_share=real_share, seed=settings.seed),
        vocabulary,
        load_teacher(teacher) if needed else None,
        out,
        parallel=parallel,
        resume=resume or carry is not None,
        carry=carry,
    )
    carrier = Carrier(carry, click.echo) if carry is not None else None
    run.train(
        minutes=minutes, stop_after=stop_after, keep_minutes=carry_every,
        kept=carrier and carrier.start, say=click.echo,
    )  # fmt: skip
    if run.world.rank == 0:
        if carrier is not None:
            carrier.finish()
            click.echo(json.dumps({"carried": take(out, carry, run.step).step}))
        try:
            plot_runs({out.name: [read_metrics(out)]}, out / "metrics.svg")
        except InputError as error:  # the run itself is whole
            click.echo(f"no plot: {error}", err=True)


if __name__ == "__main__":
    from .parallel import run_program

    run_program(main)
