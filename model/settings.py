"""What decides a training run, apart from data and shape."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from golden.errors import InputError

LOSSES = {"ad": (1.0, 0.0), "mixed": (0.5, 0.5), "ce": (0.0, 1.0)}
"""Shares of distillation and of cross-entropy: AD, and the two ablations of arXiv 2407.07093."""

SCALE_AXES = ("column", "row", "single", "both")
"""Where scale and shift lie; ``column`` (the input axis) is FBI-LLM. See `model.fbi.FbiLinear`."""

INITIALS = ("scratch", "teacher")
MOST = {"steps": 99_999_999, "batch": 1 << 20}
"""Names of checkpoints have eight digits; a batch's rows are picked in memory."""
SCHEDULES = ("cosine", "wsd")
PARALLEL = ("auto", "ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What decides a run, apart from data and shape.

    Attributes
    ----------
    steps, batch, context : optimizer steps; rows a step over all devices; student tokens a row
    loss : ``ad``, ``mixed`` (half distillation, half cross-entropy) or ``ce``
    binary : FBI-LLM if true, the full-precision twin if false
    scale_axis : of the binary weights, one of `SCALE_AXES`
    initial : ``scratch``, or ``teacher``: continue from the teacher's own weights
    lr, lr_min, warmup, schedule, decay : peak and last learning rate; linear warm-up steps; cosine
        (as published), or warm-up, stable, then linear over the last `decay` share of the steps
    betas, weight_decay, clip : AdamW, decay on all parameters, and the gradient norm it is
        clipped to
    seed : of the initial weights and of the data order
    micro : rows that a device takes in one pass; 0 takes its whole share of the batch
    recompute : keep a layer's input alone, and compute the layer again in the backward pass
    deterministic : kernels whose result does not change from run to run; on a GPU the student's
        attention is slower for it
    log_every, checkpoint_every : steps between lines of ``metrics.csv``, and between checkpoints

    Raises
    ------
    InputError
        If a value breaks its rule.
    """

    steps: int
    batch: int = 256
    context: int = 512
    loss: str = "ad"
    binary: bool = True
    scale_axis: str = "column"
    initial: str = "scratch"
    lr: float = 3e-4
    lr_min: float = 3e-5
    warmup: int = 200
    schedule: str = "cosine"
    decay: float = 0.2
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    micro: int = 0
    recompute: bool = False
    deterministic: bool = True
    log_every: int = 10
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "context", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name, limit in MOST.items():
            if getattr(self, name) > limit:
                raise InputError(f"{name} must be at most {limit}, not {getattr(self, name)}")
        if self.micro < 0:
            raise InputError(f"micro must be at least 0, not {self.micro}")
        for name, known in (
            ("loss", tuple(LOSSES)),
            ("scale_axis", SCALE_AXES),
            ("initial", INITIALS),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        numbers = all(isinstance(beta, int | float) for beta in self.betas)
        if len(self.betas) != 2 or not numbers or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                f"betas must be two numbers from 0 to below 1, not {list(self.betas)!r}"
            )
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, not {self.seed}")
        if not 0 < self.lr_min <= self.lr < math.inf:
            raise InputError(f"0 < lr_min <= lr must hold, not lr {self.lr}, lr_min {self.lr_min}")
        if not 0 <= self.warmup <= self.steps:
            raise InputError(f"warmup must be 0 to {self.steps} steps, not {self.warmup}")
        if not 0 < self.decay <= 1:
            raise InputError(f"decay must be above 0 and at most 1, not {self.decay}")
        if not 0 < self.clip < math.inf:
            raise InputError(f"clip must be above 0, not {self.clip}")

    def rate(self, step: int) -> float:
        """Return the learning rate of 0-based `step`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "wsd":
            left = (self.steps - step) / max(1, self.steps - self.decay_from)
            return self.lr_min + (self.lr - self.lr_min) * min(left, 1.0)
        done = (step - self.warmup) / max(1, self.steps - 1 - self.warmup)
        return self.lr_min + 0.5 * (self.lr - self.lr_min) * (1 + math.cos(math.pi * min(done, 1)))

    @property
    def decay_from(self) -> int:
        """First step below the peak rate under ``wsd``."""
        return max(self.warmup, self.steps - math.ceil(self.steps * self.decay))

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of distillation and cross-entropy in the loss."""
        return LOSSES[self.loss]

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, data: Any, where: str) -> TrainSettings:
        """Read what `to_dict` gave; InputError that names `where` if `data` is of another kind."""
        try:
            return cls(**{**data, "betas": tuple(data["betas"])})
        except (TypeError, KeyError) as error:
            raise InputError(f"{where} must hold settings of training: {error!r}") from None

    def check_continues(self, saved: dict[str, object], step: int, where: str) -> None:
        """Refuse to continue a run at `step` that was made with other settings.

        What only says how often something is written may differ, and how the work is cut up for a
        device, which changes rounding alone; so may `steps` under ``wsd`` as long as neither run
        has begun to decay by `step`.
        """
        free = {"log_every", "checkpoint_every", "micro", "recompute", "deterministic"}
        if self.schedule == "wsd" and saved.get("schedule") == "wsd":
            old = TrainSettings(**{f.name: saved[f.name] for f in fields(self) if f.name in saved})
            if step <= min(self.decay_from, old.decay_from):
                free.add("steps")
        for name, ours in self.to_dict().items():
            if name not in free and saved.get(name) != ours:
                raise InputError(f"{where} was made with {name} {saved.get(name)}, not {ours}")
