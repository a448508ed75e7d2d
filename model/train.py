"""Training of an FBI-LLM, or of its full-precision twin: the loop.

The order of the data depends on the seed and the step alone, and the loss is a mean over the
positions of the whole batch: neither the number of devices nor of micro-batches changes what is
learned from which tokens. A twin started with the same settings reads the same tokens, and a
resumed run continues as if it had not stopped, to the bit on as many devices of the same kind if it
is `deterministic` (docs/training.md: what repeats).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import InputError
from golden.files import make_folder, remove_empty

from .batches import Batch, read_batches
from .carry import bring
from .checkpoint import (
    COMPACT,
    check_continues,
    checkpoints,
    load_checkpoint,
    read_state,
    resumptions,
    save_checkpoint,
)
from .data import Mixture
from .errors import TrainingError
from .export import export_packed
from .fbi import FbiLlm
from .initial import teacher_weights
from .metrics import FlipFlop, Metrics, flops_per_token, matmul_rate
from .parallel import Replica, World, compile_decoder, repeat_to_the_bit
from .run_lock import RunLock
from .settings import TrainSettings
from .targets import Targets
from .teacher import Teacher
from .tokenizer import END_OF_TEXT, Vocabulary, cut_files


def _check(
    settings: TrainSettings, config: ModelConfig, teacher: Teacher | None, world: World
) -> int:
    """Return the rows of a micro-batch; raises InputError if settings do not fit."""
    if settings.batch % world.size:
        raise InputError(f"batch must be a multiple of {world.size} devices, not {settings.batch}")
    share = settings.batch // world.size
    micro = settings.micro or share
    if share % micro:
        raise InputError(f"micro must divide a device's {share} rows of a batch, not {micro}")
    if settings.context > config.max_position_embeddings:
        raise InputError(
            f"context must be at most {config.max_position_embeddings}, not {settings.context}"
        )
    if teacher is not None and settings.context + 1 > len(teacher.cos):
        raise InputError(f"context must be below {len(teacher.cos)}, not {settings.context}")
    return micro


class Run:
    """A training run in its folder.

    Parameters
    ----------
    settings, config : what to train
    mixture : rows of teacher tokens
    vocabulary : of those tokens
    teacher : fp32, on the CPU; None if the loss has no distillation share
    out : run folder; ``metrics.csv``, ``checkpoints/``, and in the end ``packed/`` go there
    parallel : ``auto``, ``ddp`` or ``fsdp``
    resume : continue from the newest checkpoint if there is one
    carry : folder whose compact state is restored first, if there is one that is newer; with
        `resume`

    Raises
    ------
    InputError
        If settings, data, model and checkpoint do not fit each other.
    """

    def __init__(
        self,
        settings: TrainSettings,
        config: ModelConfig,
        mixture: Mixture,
        vocabulary: Vocabulary,
        teacher: Teacher | None,
        out: Path,
        *,
        parallel: str = "auto",
        resume: bool = False,
        carry: Path | None = None,
    ) -> None:
        self.world = world = World.join()
        self.micro = _check(settings, config, teacher, world)
        self.settings, self.config, self.mixture = settings, config, mixture
        self.out = Path(out)
        if settings.deterministic:
            repeat_to_the_bit()
        if settings.initial == "teacher" and teacher is None:
            raise InputError("to continue from the teacher, give the teacher")
        given = None
        if settings.initial == "teacher" and teacher is not None:
            given = teacher_weights(teacher, config)
        shares = settings.shares
        if teacher is not None and shares[0]:
            teacher = teacher.to(world.device, torch.bfloat16 if world.cuda else torch.float32)
            compile_decoder(teacher, world.device)
        self.targets = Targets(
            vocabulary,
            size=config.vocab_size,
            context=settings.context,
            shares=shares,
            device=world.device,
            teacher=teacher if shares[0] else None,
        )
        self.files = cut_files(vocabulary, config.vocab_size)
        self._lock = self._held()
        try:
            self._begin(given, parallel, resume=resume, carry=carry)
        except BaseException:  # the caller may keep the error, and with it this object
            self._let_go()
            raise

    def _begin(
        self, given: dict[str, Tensor] | None, parallel: str, *, resume: bool, carry: Path | None
    ) -> None:
        """Make model and optimizer, in the state of the checkpoint that the run goes on from."""
        settings, config, world = self.settings, self.config, self.world
        if resume and carry is not None:
            bring(carry, self.out, settings, config, world)
        saved = checkpoints(self.out)[-1:] if resume else []
        self.step = 0
        self.resumed: list[dict[str, Any]] = []
        if saved:
            self.step = self._read(saved[0])
        self.replica = Replica(settings, config, world, parallel=parallel, given=given)
        self.optimizer = torch.optim.AdamW(
            self.replica.student.parameters(),
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        if saved:
            load_checkpoint(saved[0], self.replica.student, self.optimizer, world)
        length = self.mixture.length
        teacher_share = length / settings.context if settings.shares[0] else 0.0
        teacher = self.targets.teacher
        self.flops = flops_per_token(config, teacher.config if teacher else None, teacher_share)
        self.flip_flop = FlipFlop(self.replica.student)
        self.metrics: Metrics | None = None
        if world.rank == 0:
            self.metrics = Metrics(self.out, self.step)

    def _read(self, path: Path) -> int:
        """Return the step of a checkpoint that this run may continue from."""
        state = read_state(path)
        check_continues(state, self.settings, self.config, str(path))
        self.resumed = resumptions(state, self.mixture.to_dict())
        return int(state["step"])

    def _held(self) -> RunLock | None:
        """Hold the run folder, on the first process; InputError on every one if it is held."""
        lock, problem, self._made = None, None, list[Path]()
        if self.world.rank == 0:
            try:
                self._made = make_folder(self.out)
                lock = RunLock(self.out)
            except (InputError, OSError) as error:
                problem = error
        # all go on or none: a process that failed alone would leave the others waiting
        if self.world.sum(torch.tensor(float(problem is not None), device=self.world.device)):
            raise problem or InputError(f"the first process could not hold {self.out}")
        return lock

    def _let_go(self) -> None:
        """Let go of a run folder that nothing came of, without a trace if there was none before."""
        if self._lock is not None:
            self._lock.close()
        remove_empty(self._made)

    def _kept(self) -> str:
        whole = checkpoints(self.out)
        return f"{whole[-1]} is kept" if whole else "there is no checkpoint yet"

    def one_step(self, batch: Batch, *, watch: bool) -> Tensor:
        """Take one optimizer step; return summed loss, norm, changed signs, weights: fp64 ``[4]``.

        Summed over the processes they are the step's. Nothing waits for the device.
        """
        settings, world = self.settings, self.world
        rows = batch.rows.to(world.device, non_blocking=True).long()
        parts = rows.split(self.micro)
        loss = torch.zeros((), device=world.device, dtype=torch.float64)
        for number, part in enumerate(parts):
            example = self.targets(part)
            loss += self.replica.backward(
                example, world.size / batch.positions, last=number == len(parts) - 1
            )
        norm = self.replica.clip(settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(self.step)
        if watch:
            self.flip_flop.before()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        flips = self.flip_flop.after()
        if flips is None:
            flips = torch.zeros(2, device=world.device, dtype=torch.float64)
        self.step += 1
        return torch.stack((loss / batch.positions, norm.double() / world.size, *flips))

    def _send(self, values: Tensor, late: bool, keep: bool) -> Callable[[], list[float]]:
        """Sum a step's figures over the processes; return what reads them when they are there.

        Nothing waits here: the device still works on the step. Whether time is over (1) and a
        checkpoint is wanted (2) is the first process's word, the last figure, so that all do it at
        the same step.
        """
        word = float(late + 2 * keep) if self.world.rank == 0 else 0.0
        summed = self.world.sum(torch.cat((values, values.new_full((1,), word))))
        if not self.world.cuda:
            return summed.tolist
        host = torch.empty(summed.shape, dtype=summed.dtype, pin_memory=True)
        host.copy_(summed, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()

        def read() -> list[float]:
            arrived.synchronize()
            return host.tolist()

        return read

    def _settle(
        self, step: int, read: Callable[[], list[float]]
    ) -> tuple[list[float], bool, bool]:
        """Return a step's figures, whether to stop, and whether a checkpoint is wanted.

        Raises TrainingError if loss or norm is not finite.
        """
        *figures, word = read()
        if not all(math.isfinite(v) for v in figures[:2]):
            raise TrainingError(
                f"step {step}: loss {figures[0]}, gradient norm {figures[1]}; {self._kept()}"
            )
        return figures, bool(int(word) & 1), bool(int(word) & 2)

    def train(
        self,
        *,
        minutes: float | None = None,
        stop_after: int | None = None,
        keep_minutes: float | None = None,
        kept: Callable[[Path, int], object] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> FbiLlm:
        """Train to the last step, or until the time is over; leave a checkpoint and the export.

        Parameters
        ----------
        minutes : stop at the end of a step after that time, counted from this call
        stop_after : stop after that many steps in all, for tests and short trials
        keep_minutes : write a checkpoint that often, too
        kept : called with each checkpoint and its step but the last one, on the first process
        say : called with each line of progress, on the first process

        Raises
        ------
        TrainingError
            If loss, gradient norm or a parameter is not finite; the last checkpoint is kept.
        CheckpointError
            If a checkpoint cannot be written; the one before is kept.
        """
        try:
            return self._train(minutes, stop_after, keep_minutes, kept, say)
        finally:
            if self._lock is not None:
                self._lock.close()

    def _train(
        self, minutes: float | None, stop_after: int | None, keep_minutes: float | None,
        kept: Callable[[Path, int], object] | None, say: Callable[[str], None] | None,
    ) -> FbiLlm:  # fmt: skip
        settings, world = self.settings, self.world
        last = min(settings.steps, stop_after or settings.steps)
        begun = since = written = time.perf_counter()
        seconds = self.metrics.seconds if self.metrics else 0.0
        peak = world.size * matmul_rate(world.device)
        if self.resumed and self.metrics and say:
            now = self.resumed[-1]
            exact = now["by"] != COMPACT and now["same_data"]
            say(json.dumps({"resumed": now["step"], "by": now["by"],
                            "same_data": now["same_data"], "to_the_bit": exact}))  # fmt: skip
        logged = self.step
        pending: tuple[int, Callable[[], list[float]]] | None = None
        saved = self.step
        batches = read_batches(self.mixture, settings, world, self.targets, self.step, last)
        for batch in batches:
            watch = (self.step + 1) % settings.log_every == 0 or self.step + 1 == last
            values = self.one_step(batch, watch=watch)
            now = time.perf_counter()
            late = minutes is not None and now - begun > 60 * minutes
            keep = keep_minutes is not None and now - written > 60 * keep_minutes
            # the step before is over, or soon will be, and this one is queued: the device goes on
            # while its figures are read
            stop, wanted = self._settle(*pending)[1:] if pending else (False, False)
            pending = (self.step, self._send(values, late, keep))
            due = self.step % settings.checkpoint_every == 0 or self.step == last or wanted
            if watch or due or stop:
                figures, over, wanted = self._settle(*pending)
                pending, stop, due = None, stop or over, due or wanted
                now = time.perf_counter()
                seconds += now - since
                rate = (self.step - logged) * settings.batch * settings.context / (now - since)
                if self.metrics:
                    row = self._row(figures, rate, peak, seconds)
                    self.metrics.add(row)
                    if say:
                        say(json.dumps(row))
                since, logged = now, self.step
            if due or stop:
                path = self.save()
                saved = self.step
                since = written = time.perf_counter()
                if kept is not None and world.rank == 0 and not (stop or saved == last):
                    kept(path, saved)
            if stop:
                break
        batches.close()
        if saved != self.step:
            self.save()
        self.export()
        return self.replica.student

    def _row(
        self, figures: list[float], rate: float, peak: float, seconds: float
    ) -> dict[str, Any]:
        loss, norm, changed, weights = figures
        settings = self.settings
        return {
            "step": self.step,
            "tokens": self.step * settings.batch * settings.context,
            "loss": round(loss, 5),
            "lr": float(f"{settings.rate(self.step - 1):.4g}"),
            "grad_norm": float(f"{norm:.4g}"),
            "flip_flop": float(f"{changed / weights:.4g}") if weights else None,
            "tokens_per_s": round(rate, 1),
            "mfu": float(f"{rate * self.flops / peak:.4g}"),
            "seconds": round(seconds, 2),
        }

    def save(self) -> Path:
        """Write a checkpoint; raises TrainingError if a parameter is not finite."""
        bad = torch.zeros((), device=self.world.device)
        for parameter in self.replica.student.parameters():
            local = getattr(parameter, "to_local", lambda p=parameter: p)().detach()
            bad += (~local.isfinite()).any()
        if self.world.sum(bad):
            raise TrainingError(f"step {self.step}: a parameter is not finite; {self._kept()}")
        state = {
            "step": self.step,
            "settings": self.settings.to_dict(),
            "config": self.config.to_dict(),
            "devices": self.world.size,
            "engine": self.replica.engine,
            "data": self.mixture.to_dict(),
            "resumed": self.resumed,
        }
        return save_checkpoint(self.out, self.replica.student, self.optimizer, state, self.world)

    def export(self) -> Path | None:
        """Write ``packed/`` of an FBI-LLM; None for a twin and for other scale axes."""
        settings = self.settings
        if not settings.binary or settings.scale_axis != "column":
            return None
        state = self.replica.full_state()
        if self.world.rank:
            return None
        extra: dict[str, object] = {"trained_steps": self.step}
        extra["trained_context"] = settings.context
        carried = [one["step"] for one in self.resumed if one["by"] == COMPACT]
        if carried:
            extra["carried_at_steps"] = carried
        return export_packed(
            state, self.config, self.out / "packed", extra_files=self.files, extra_config=extra
        )


def with_end_of_text(config: ModelConfig, vocabulary: Vocabulary) -> ModelConfig:
    """Return `config` with the token that begins and ends every text of the shards."""
    if END_OF_TEXT not in vocabulary.tokens[: config.vocab_size]:
        raise InputError(f"the student's vocabulary must hold {END_OF_TEXT}; it does not")
    end = vocabulary.tokens.index(END_OF_TEXT)
    return replace(config, bos_token_id=end, eos_token_id=end)
