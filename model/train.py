"""AD training of an FBI-LLM, or of its full-precision twin, on CPU, one GPU, or many (torchrun).

    torchrun --nproc-per-node 2 -m model.train --teacher FILE.gguf --sampled corpus \\
        --real text/real.npy --out run-fbi --steps 8000 --lr 1.5e-3

The order of the data depends on the seed and the step alone: a twin started with the same options
reads the same tokens, and a resumed run continues as if it had not stopped.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import click
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from golden.config import ModelConfig, named_model
from golden.errors import InputError

from .data import Mixture, expand, load_shard
from .export import export_packed
from .fbi import FbiLinear, FbiLlm
from .loss import FirstPiece, ad_loss, spell_targets
from .teacher import Teacher, load_teacher
from .tokenizer import Vocabulary, cut_files, pieces, read_vocabulary


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step and what is kept."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What decides a run, apart from the data.

    Attributes
    ----------
    steps, batch, context : optimizer steps; rows a step over all GPUs; student tokens a row
    lr, lr_min, warmup : peak and last learning rate of the cosine; linear warm-up steps
    betas, weight_decay, clip : AdamW and the gradient norm it is clipped to
    real_share : share of rows that are real text
    binary : FBI-LLM if true, the full-precision twin if false
    """

    steps: int
    batch: int = 256
    context: int = 512
    lr: float = 3e-4
    lr_min: float = 3e-5
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    real_share: float = 0.15
    seed: int = 0
    binary: bool = True
    log_every: int = 10
    flip_every: int = 50
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "context", "log_every", "flip_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.lr_min <= self.lr:
            raise InputError(f"0 < lr_min <= lr must hold, not lr {self.lr}, lr_min {self.lr_min}")
        if not 0 <= self.warmup <= self.steps:
            raise InputError(f"warmup must be 0 to {self.steps} steps, not {self.warmup}")

    def rate(self, step: int) -> float:
        """Return the learning rate of 0-based `step`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - 1 - self.warmup)
        return self.lr_min + 0.5 * (self.lr - self.lr_min) * (1 + math.cos(math.pi * min(done, 1)))


def compile_layers(layers: Iterable[nn.Module], device: torch.device) -> None:
    """Compile decoder layers in place, on a GPU; all share one compiled graph."""
    if device.type == "cuda":
        for layer in layers:
            layer.compile()


class Targets:
    """Turns rows of teacher tokens into student tokens and teacher distributions.

    Parameters
    ----------
    teacher : the frozen teacher, on the device and in the dtype to run it in
    vocabulary : the teacher's
    size : student vocabulary
    context : student tokens a row
    """

    def __init__(
        self, teacher: Teacher, vocabulary: Vocabulary, *, size: int, context: int
    ) -> None:
        if len(vocabulary.tokens) != teacher.config.vocab:
            raise InputError(
                f"teacher and tokenizer must have one vocabulary, not {teacher.config.vocab} "
                f"and {len(vocabulary.tokens)} tokens"
            )
        device = teacher.embedding.device
        table, count = pieces(vocabulary, size)
        self.table = torch.from_numpy(table.astype(np.int64)).to(device)
        self.count = torch.from_numpy(count).to(device)
        first = FirstPiece(self.table[:, 0].cpu(), size).to(device)
        self.first, self.size, self.context = first, size, context
        self.head = teacher.embedding[first.order].contiguous()
        self.teacher, self.device = teacher, device
        compile_layers(teacher.layers, device)

    @torch.no_grad()
    def __call__(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens ``[n, context]``, p_teacher fp32 ``[n, context, size]``, valid (bool).

        Parameters
        ----------
        rows : uint16 ``[n, length]`` teacher tokens
        """
        teacher_tokens = torch.from_numpy(rows.astype(np.int64)).to(self.device)
        batch = expand(teacher_tokens, self.table, self.count, self.context)
        hidden = self.teacher(teacher_tokens).flatten(0, 1)
        pooled = torch.cat([self.first(h @ self.head.t()) for h in hidden.split(8192)])
        targets = spell_targets(pooled.view(*rows.shape, self.size), batch)
        return batch.tokens, targets, batch.target >= 0


def save_atomically(path: Path, data: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, then rename it."""
    temporary = path.with_suffix(".part")
    torch.save(data, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, settings: TrainSettings, config: ModelConfig) -> dict[str, Any]:
    """Read a checkpoint; raises InputError if it belongs to other settings or another shape."""
    try:
        data = torch.load(path, weights_only=True, map_location="cpu")
        _ = data["settings"], data["config"]
    except (RuntimeError, KeyError, UnpicklingError) as error:
        raise InputError(f"{path} must be a checkpoint of model.train: {error}") from None
    for name, ours in (("settings", asdict(settings)), ("config", config.to_dict())):
        theirs = data[name]
        for key, value in ours.items():
            same = list(value) == list(theirs[key]) if key == "betas" else value == theirs[key]
            if not same and key not in ("log_every", "flip_every", "checkpoint_every"):
                raise InputError(f"{path} was made with {key} {theirs[key]}, not {value}")
    return data


def _world() -> tuple[int, int, torch.device]:
    """Return rank, world size and device; starts the process group under torchrun."""
    cuda = torch.cuda.is_available()
    if "LOCAL_RANK" in os.environ:
        local = int(os.environ["LOCAL_RANK"])
        if cuda:
            torch.cuda.set_device(local)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo")
        device = torch.device("cuda", local) if cuda else torch.device("cpu")
        return dist.get_rank(), dist.get_world_size(), device
    return 0, 1, torch.device("cuda") if cuda else torch.device("cpu")


def train(
    settings: TrainSettings,
    config: ModelConfig,
    mixture: Mixture,
    teacher: Teacher,
    vocabulary: Vocabulary,
    out: Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
) -> FbiLlm:
    """Train and return the model; write ``log.jsonl``, ``checkpoint.pt`` and ``packed/`` to `out`.

    Parameters
    ----------
    mixture : rows of teacher tokens
    teacher, vocabulary : the teacher (fp32, CPU) and its vocabulary
    resume : continue from ``checkpoint.pt`` if there is one
    stop_after : leave after that many steps in all, with a checkpoint, for tests and short trials

    Raises
    ------
    InputError
        If settings, data and model do not fit each other.
    TrainingError
        If the loss or the gradient norm is not finite; the last checkpoint is kept.
    """
    rank, world, device = _world()
    if settings.batch % world:
        raise InputError(f"batch must be a multiple of {world} GPUs, not {settings.batch}")
    if settings.context > config.max_position_embeddings:
        raise InputError(
            f"context must be at most {config.max_position_embeddings}, not {settings.context}"
        )
    if settings.context + 1 > len(teacher.cos):
        raise InputError(f"context must be below {len(teacher.cos)}, not {settings.context}")
    cuda = device.type == "cuda"
    torch.manual_seed(settings.seed)
    model = FbiLlm(config, binary=settings.binary)
    out = Path(out)
    path = out / "checkpoint.pt"
    first, saved = 0, None
    if resume and path.is_file():
        saved = load_checkpoint(path, settings, config)
        model.load_state_dict(saved["model"])
        first = saved["step"]
    if rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        if not first:
            (out / "log.jsonl").unlink(missing_ok=True)
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=cuda,
    )
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    teacher = teacher.to(device, torch.bfloat16 if cuda else torch.float32)
    targets = Targets(teacher, vocabulary, size=config.vocab_size, context=settings.context)
    compile_layers(model.model.layers, device)
    student: Any = model
    if world > 1:
        student = DistributedDataParallel(student, gradient_as_bucket_view=True)
    loss_of = torch.compile(ad_loss) if cuda else ad_loss
    files = cut_files(vocabulary, config.vocab_size)
    linears = [m for m in model.modules() if isinstance(m, FbiLinear)]
    share = settings.batch // world

    def kept() -> str:
        return f"{path} is kept" if path.is_file() else "there is no checkpoint yet"

    def checkpoint(step: int) -> None:
        if rank:
            return
        state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
        if not all(v.isfinite().all() for v in state.values()):
            raise TrainingError(f"step {step}: a parameter is not finite; {kept()}")
        save_atomically(
            path,
            {
                "model": state,
                "optimizer": optimizer.state_dict(),
                "step": step,
                "settings": {**asdict(settings), "betas": list(settings.betas)},
                "config": config.to_dict(),
            },
        )
        if settings.binary:
            export_packed(
                state,
                config,
                out / "packed",
                extra_files=files,
                extra_config={"trained_steps": step, "trained_context": settings.context},
            )

    pending: tuple[int, Tensor] | None = None
    seconds, since, flips = 0.0, time.perf_counter(), float("nan")
    last = min(settings.steps, stop_after or settings.steps)

    def settle() -> tuple[float, float]:
        """Read the loss and norm of the step before; stop if one is not finite."""
        assert pending is not None
        step, values = pending
        if world > 1:
            dist.all_reduce(values, op=dist.ReduceOp.AVG if cuda else dist.ReduceOp.SUM)
            if not cuda:
                values /= world
        loss, norm = (float(v) for v in values)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(f"step {step}: loss {loss}, gradient norm {norm}; {kept()}")
        return loss, norm

    for step in range(first, last):
        rows = mixture.batch(step, settings.batch)[rank * share : (rank + 1) * share]
        tokens, wanted, valid = targets(rows)
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            loss = loss_of(student(tokens), wanted, valid)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        if pending is not None:
            settle()
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        watch = bool(linears) and (step + 1) % settings.flip_every == 0
        before = [m.weight.detach().sign() for m in linears] if watch else []
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if watch:
            after = (m.weight.detach().sign() for m in linears)
            changed = sum((a != b).sum() for a, b in zip(after, before, strict=True))
            flips = float(changed) / sum(m.weight.numel() for m in linears)
        pending = (step + 1, torch.stack((loss.detach(), norm.detach())))
        done = step + 1
        if done % settings.log_every == 0 or done == last:
            values = settle()
            pending = None
            now = time.perf_counter()
            seconds += now - since
            if rank == 0:
                count = settings.log_every if done % settings.log_every == 0 else 1
                entry = {
                    "step": done,
                    "tokens": done * settings.batch * settings.context,
                    "loss": round(values[0], 5),
                    "lr": float(f"{settings.rate(step):.4g}"),
                    "grad_norm": round(values[1], 4),
                    "flip_flop": None if math.isnan(flips) else float(f"{flips:.4g}"),
                    "tokens_per_s": round(
                        count * settings.batch * settings.context / (now - since)
                    ),
                    "seconds": round(seconds, 2),
                }
                with open(out / "log.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
                if done % (10 * settings.log_every) == 0 or done == last:
                    click.echo(json.dumps(entry))
            flips, since = float("nan"), now
        if done % settings.checkpoint_every == 0 or done == last:
            if pending is not None:
                settle()
                pending = None
            checkpoint(done)
            since = time.perf_counter()
    return model


def find_shards(path: Path | None) -> list[np.ndarray]:
    """Return the shard at `path`, or all of a folder in name order; none for None."""
    if path is None:
        return []
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise InputError(f"{path} must hold token shards (*.npy); it holds none")
        return [load_shard(file) for file in files]
    return [load_shard(path)]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="GGUF file.")
@click.option("--sampled", type=click.Path(path_type=Path), help="Folder of sampled shards.")
@click.option("--real", type=click.Path(path_type=Path), help="Shard or folder of real text.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--model", "name", default="fbi-43m", show_default=True, help="Shape.")
@click.option("--twin", is_flag=True, help="Train the full-precision twin.")
@click.option("--resume", is_flag=True, help="Continue from the run folder's checkpoint.")
@click.option("--stop-after", type=int, help="Leave after this many steps.")
@click.option("--steps", type=int, required=True)
@click.option("--batch", default=256, show_default=True, help="Rows a step, over all GPUs.")
@click.option("--context", default=512, show_default=True, help="Student tokens a row.")
@click.option("--lr", default=3e-4, show_default=True)
@click.option("--lr-min", default=3e-5, show_default=True)
@click.option("--warmup", default=200, show_default=True)
@click.option("--real-share", default=0.15, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--checkpoint-every", default=1000, show_default=True)
def main(
    teacher: Path,
    sampled: Path | None,
    real: Path | None,
    out: Path,
    name: str,
    twin: bool,
    resume: bool,
    stop_after: int | None,
    **options: Any,
) -> None:
    """Train one model by autoregressive distillation from the teacher.

    \b
    Example: signacc train --teacher teacher.gguf --sampled shards/ --out run/ --steps 8600
    On several GPUs: torchrun --nproc-per-node 4 -m model.train with the same options.
    """
    try:
        settings = TrainSettings(binary=not twin, **options)
        config = replace(named_model(name), max_position_embeddings=settings.context)
        mixture = Mixture(
            find_shards(sampled), find_shards(real), settings.real_share, settings.seed
        )
        train(
            settings,
            config,
            mixture,
            load_teacher(teacher),
            read_vocabulary(teacher),
            out,
            resume=resume,
            stop_after=stop_after,
        )
    except InputError as error:
        raise click.UsageError(str(error)) from None
    except TrainingError as error:
        raise click.ClickException(str(error)) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
