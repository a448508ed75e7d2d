"""What training reports: ``metrics.csv``, model FLOPs, and the flip-flop ratio."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import InputError

from .checkpoint import checkpoints
from .fbi import FbiLinear, FbiLlm
from .files import write_text
from .teacher import TeacherConfig

COLUMNS: dict[str, str] = {
    "step": "optimizer steps done",
    "tokens": "student tokens read, over all devices",
    "loss": "of this step, nats a token",
    "lr": "learning rate of this step",
    "grad_norm": "before clipping",
    "flip_flop": "share of binary weights whose sign this step changed; empty for a twin",
    "tokens_per_s": "over all devices, since the line before",
    "mfu": "model FLOPs a second over the devices' measured matmul rate",
    "seconds": "of training, resumed parts included",
}
"""Columns of ``metrics.csv``."""

NAME = "metrics.csv"


def metrics_text(rows: Iterable[dict[str, float | int | None]]) -> str:
    """Return the text of a ``metrics.csv`` with these lines."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return file.getvalue()


class Metrics:
    """Appends lines to ``metrics.csv`` of a run folder.

    Parameters
    ----------
    run : run folder
    step : lines after this step, of a run that was stopped after its last checkpoint, are dropped

    Raises
    ------
    InputError
        If a run begins, at step 0, in a folder that holds another one's checkpoints: lines of that
        one would be lost, and checkpoints before its newest be dropped as they are written.
    """

    def __init__(self, run: Path, step: int) -> None:
        if not step and (whole := checkpoints(run)):
            raise InputError(
                f"a run folder must be new, or its run be continued (--resume); {run} holds "
                f"{whole[-1].name}"
            )
        self.path = Path(run) / NAME
        kept = [row for row in read_metrics(run) if row["step"] <= step] if step else []
        self.seconds = float(kept[-1]["seconds"]) if kept else 0.0
        write_text(self.path, metrics_text(kept))

    def add(self, row: dict[str, float | int | None]) -> None:
        """Append one line; None leaves a place empty."""
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writerow({k: "" if v is None else v for k, v in row.items()})


def read_metrics(run: Path) -> list[dict[str, float | int | None]]:
    """Return the lines of a run's metrics, steps and tokens as integers.

    Parameters
    ----------
    run : a run folder, whose ``metrics.csv`` is read, or such a file by itself

    Raises
    ------
    InputError
        If there is none, or it is none of ours.
    """
    path = Path(run) if Path(run).is_file() else Path(run) / NAME
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != tuple(COLUMNS):
                raise InputError(f"{path} must have the columns {', '.join(COLUMNS)}")
            return [
                {
                    k: int(v) if k in ("step", "tokens") else float(v) if v else None
                    for k, v in row.items()
                }
                for row in reader
                if None not in row.values()  # a line that a killed run left unfinished
            ]
    except FileNotFoundError:
        raise InputError(f"a run folder must hold {NAME}; there is none in {run}") from None
    except ValueError as error:
        raise InputError(f"{path} must hold numbers: {error}") from None


def matmul_parameters(config: ModelConfig | TeacherConfig) -> int:
    """Return how many parameters are in matrix products: decoder linears and head.

    A lookup in the embedding is none, so an untied embedding does not count; norms, scales and
    attention's products are left out too.
    """
    if isinstance(config, TeacherConfig):
        kv = config.kv_heads * config.head_dim
        layer = config.hidden * (2 * config.hidden + 2 * kv + 3 * config.ffn)
        return config.layers * layer + config.vocab * config.hidden
    return config.binary_weights + config.vocab_size * config.hidden_size


def flops_per_token(
    student: ModelConfig, teacher: TeacherConfig | None, teacher_share: float = 1.0
) -> float:
    """Return ``6·P_student + 2·P_teacher·teacher_share``, FLOPs a student token.

    Forward 2, backward 4 a parameter and token; the teacher runs forward alone.

    Parameters
    ----------
    teacher : None if the loss needs none
    teacher_share : teacher tokens for each student token, below 1 with a cut vocabulary
    """
    total = 6.0 * matmul_parameters(student)
    return total if teacher is None else total + 2.0 * matmul_parameters(teacher) * teacher_share


@torch.no_grad()
def matmul_rate(device: torch.device) -> float:
    """Return the device's rate of one large square product, FLOP/s, the best of five.

    bf16 of 8192 on a GPU, fp32 of 1024 on a CPU; normal random operands, since a GPU is faster on
    zeros.
    """
    cuda = device.type == "cuda"
    size, dtype = (8192, torch.bfloat16) if cuda else (1024, torch.float32)
    generator = torch.Generator(device).manual_seed(0)
    a, b = (
        torch.empty(size, size, device=device).normal_(generator=generator).to(dtype)
        for _ in range(2)
    )
    times = []
    for _ in range(8):
        if cuda:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        a @ b
        if cuda:
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(times[3:])


class FlipFlop:
    """Counts the signs of latent weights that optimizer steps change.

    The ratio is that of arXiv 2407.07093's analysis: changed signs over binary weights, between two
    consecutive steps.
    """

    def __init__(self, model: FbiLlm) -> None:
        self._weights = [m.weight for m in model.modules() if isinstance(m, FbiLinear)]
        self._before: list[Tensor] = []

    @staticmethod
    def _local(weight: Tensor) -> Tensor:
        return getattr(weight, "to_local", lambda: weight)().detach()

    def before(self) -> None:
        """Remember the signs, 1 byte a weight; call it before the optimizer's step."""
        self._before = [self._local(w).sign().to(torch.int8) for w in self._weights]

    def after(self) -> Tensor | None:
        """Return fp64 ``[2]``, changed signs and weights here; None if there are none."""
        if not self._before:
            return None
        pairs = zip(self._weights, self._before, strict=True)
        changed = sum((self._local(w).sign().to(torch.int8) != b).sum() for w, b in pairs)
        total = sum(b.numel() for b in self._before)
        self._before = []
        device = self._weights[0].device
        return torch.stack((torch.as_tensor(changed, device=device),
                            torch.tensor(total, device=device))).double()
