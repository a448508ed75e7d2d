"""Time of a training step and of its parts, on the device that is there, teacher included.

    python benchmarks/train_step.py --model fbi-135m --micro 64 --context 1024 --out step.json
    torchrun --nproc-per-node 4 benchmarks/train_step.py … --out step-4.json

Weights and tokens are random: speed does not depend on what a model has learned. The teacher has
SmolLM2-135M's shape. `step_s` is a step among steps in a row, as in training, where nothing waits
for the device; `step_alone_s` has the device idle before and after. `mfu` is
(6·P_student + 2·P_teacher) FLOPs a token over the device's rate of a large bf16 product (fp32 on a
CPU) on random numbers. Product and steps take turns in `rounds`, since a GPU's clock changes with
the heat of what came before; the figures of one are medians over them. Parts are timed one after
the other with the device idle between them, so they add up to a little more than the step.
`--profile` adds the kernels of one more step, and on a GPU where it was idle in two steps in a row
(`gaps`), under PyTorch's profiler, which makes the host slower.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from program import OutputFile, Program
from record import write_record
from step_profile import gaps, read_trace
from torch.profiler import ProfilerActivity, profile

from model import loss as loss_module
from model.first_piece import FirstPiece
from model.loss import Wanted, chunked_loss
from model.metrics import flops_per_token, matmul_rate
from model.parallel import Replica, World, compile_decoder, repeat_to_the_bit, run_program
from model.settings import PARALLEL, TrainSettings
from model.targets import Example
from model.teacher import Teacher, TeacherConfig
from model.train_command import read_shape

ROUNDS = 5

SMOLLM2 = TeacherConfig(
    layers=30, hidden=576, heads=9, kv_heads=3, ffn=1536, vocab=49152, rope_theta=1e5, eps=1e-5
)


class Timer:
    """Medians of times of work on a device, in seconds."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def __call__(self, work: Callable[[], object], warm: int = 3) -> float:
        for _ in range(warm):
            work()
        times = []
        for _ in range(self.repeats):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def in_a_row(self, work: Callable[[], object], count: int = 0) -> float:
        """Return seconds of each of `count` [`repeats`], waiting after the last alone."""
        count = count or self.repeats
        self.wait()
        start = time.perf_counter()
        for _ in range(count):
            work()
        self.wait()
        return (time.perf_counter() - start) / count


def profiled(work: Callable[[], object], timer: Timer, most: int = 40) -> dict[str, Any]:
    """Return seconds in kernels (operators on a CPU), and the `most` that take longest."""
    cuda = timer.device.type == "cuda"
    kind = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with profile(activities=[kind]) as record:
        work()
        timer.wait()
    taken = [
        ((e.self_device_time_total if cuda else e.self_cpu_time_total) / 1e6, e.count, e.key)
        for e in record.key_averages()
        if not getattr(e, "is_user_annotation", False) and not e.key.startswith("Optimizer.")
    ]
    taken.sort(reverse=True)
    longest = [{"s": round(s, 6), "calls": n, "name": name[:160]} for s, n, name in taken[:most]]
    return {"together_s": round(sum(s for s, _, _ in taken), 6), "longest": longest}


def first_pieces(vocab: int, teacher_vocab: int) -> torch.Tensor:
    """Return ids that teacher tokens begin with, int64, spread about as SmolLM2's cut has them.

    Of the cut of 32,000, 6,306 ids begin several tokens: a few a hundred, most of them two.
    """
    places = torch.rand(teacher_vocab - vocab).square() * (vocab // 5)
    return torch.cat((torch.arange(vocab), torch.randperm(vocab)[places.long()]))


def make_teacher(world: World, layers: int, context: int) -> Teacher:
    """Return a teacher of SmolLM2's shape with random weights, compiled on a GPU."""
    torch.manual_seed(1)
    with torch.device(world.device):
        teacher = Teacher(replace(SMOLLM2, layers=layers), positions=context)
        for parameter in teacher.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    teacher = teacher.to(torch.bfloat16 if world.cuda else torch.float32)
    compile_decoder(teacher, world.device)
    return teacher.eval().requires_grad_(False)


class Step:
    """One optimizer step on one micro-batch of random tokens, and its parts."""

    def __init__(self, replica: Replica, teacher: Teacher, vocab: int, micro: int, context: int,
                 shares: tuple[float, float]) -> None:  # fmt: skip
        self.replica, self.teacher, self.shares = replica, teacher, shares
        self.context, self.micro = context, micro
        device = replica.world.device
        generator = torch.Generator().manual_seed(2)
        size = (micro, context)
        self.rows = torch.randint(SMOLLM2.vocab, size, generator=generator).to(device)
        self.tokens = torch.randint(vocab, size, generator=generator).to(device)
        torch.manual_seed(2)
        pool = FirstPiece(first_pieces(vocab, SMOLLM2.vocab), vocab)
        self.head = teacher.embedding[pool.order.to(device)].contiguous()
        self.pool = pool.to(device)
        self.label = torch.roll(self.tokens, -1, 1).flatten()
        self.source = torch.arange(self.label.numel(), device=device)
        self.optimizer = torch.optim.AdamW(replica.student.parameters(), lr=1e-4, fused=True)

    def read_teacher(self) -> torch.Tensor | None:
        with torch.no_grad():
            return self.teacher(self.rows).flatten(0, 1) if self.shares[0] else None

    def example(self) -> Example:
        hidden = self.read_teacher()
        present = hidden is not None
        return Example(self.tokens, Wanted(
            self.label, self.source, hidden, self.head if present else None,
            self.pool if present else None, self.shares,
        ))  # fmt: skip

    def update(self) -> None:
        self.replica.clip(1.0)
        self.optimizer.step()

    def whole(self) -> None:
        self.replica.backward(self.example(), 1.0 / self.label.numel(), last=True)
        self.update()
        self.optimizer.zero_grad(set_to_none=True)

    def parts(self, timer: Timer) -> dict[str, float]:
        """Return seconds of each part, without what joins processes."""
        student, device = self.replica.student, self.replica.world.device
        example = self.example()
        cast = torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else None

        def features() -> torch.Tensor:
            with cast or nullcontext():
                return student.features(self.tokens).flatten(0, 1)

        def forward() -> None:
            with torch.no_grad():
                features()

        hidden = features().detach().requires_grad_()
        upstream = torch.randn_like(hidden) / hidden.numel()

        def both() -> None:
            features().backward(upstream)

        def loss() -> None:
            chunked_loss(hidden, student.lm_head.weight, example.wanted).backward()

        times = {
            "teacher": timer(self.read_teacher),
            "student forward": timer(forward),
            "student forward and backward": timer(both),
            "loss with both heads, forward and backward": timer(loss),
            "clip and AdamW": timer(self.update),
        }
        self.optimizer.zero_grad(set_to_none=True)
        return {name: round(value, 6) for name, value in times.items()}


@click.command(cls=Program)
@click.option("--model", "name", default="fbi-135m", show_default=True)
@click.option("--vocab", type=int, help="Vocabulary in place of the shape's.")
@click.option("--layers", type=int, help="Layers in place of the shape's.")
@click.option("--teacher-layers", default=30, show_default=True)
@click.option("--twin", is_flag=True)
@click.option("--loss", default="ad", show_default=True)
@click.option("--micro", default=64, show_default=True, help="Rows a device takes in a pass.")
@click.option("--context", default=1024, show_default=True)
@click.option("--recompute", is_flag=True)
@click.option("--fast", is_flag=True, help="Kernels that need not repeat to the bit.")
@click.option("--compiled-loss", is_flag=True, help="What PyTorch compiles, not the loss's kernel.")
@click.option("--parallel", type=click.Choice(PARALLEL), default="auto", show_default=True)
@click.option("--profile", "profiles", is_flag=True, help="Of one step, by kernel.")
@click.option("--repeats", default=10, show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(name: str, vocab: int | None, layers: int | None, teacher_layers: int,
         twin: bool, loss: str, micro: int, context: int, recompute: bool, fast: bool,
         compiled_loss: bool, parallel: str, profiles: bool, repeats: int,
         out: Path) -> None:  # fmt: skip
    world = World.join()
    if not fast:
        repeat_to_the_bit()
    loss_module.KERNEL = not compiled_loss
    settings = TrainSettings(steps=1, warmup=0, batch=micro * world.size, context=context,
                             binary=not twin, loss=loss, recompute=recompute)  # fmt: skip
    config = read_shape(name, vocab=vocab, layers=layers, context=context)
    replica = Replica(settings, config, world, parallel=parallel)
    teacher = make_teacher(world, teacher_layers, context)
    step = Step(replica, teacher, config.vocab_size, micro, context, settings.shares)
    timer = Timer(world.device, repeats)
    flops = flops_per_token(config, teacher.config if settings.shares[0] else None)
    alone = timer(step.whole)
    rounds = []
    for _ in range(ROUNDS):
        rate = matmul_rate(world.device)
        seconds = timer.in_a_row(step.whole)
        mfu = micro * context / seconds * flops / rate
        rounds.append({"matmul_tflops": round(rate / 1e12, 3), "step_s": round(seconds, 6),
                       "mfu": round(mfu, 4)})  # fmt: skip
    rate, seconds, mfu = (statistics.median(r[key] for r in rounds) for key in rounds[0])
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if world.cuda else "cpu",
        "torch": torch.__version__,
        "devices": world.size,
        "engine": replica.engine,
        "parameters": replica.parameters,
        "flops_per_token": flops,
        "matmul_tflops": rate,
        "step_s": seconds,
        "step_alone_s": round(alone, 6),
        "tokens_per_s": round(micro * context * world.size / seconds, 1),
        "mfu": mfu,
        "rounds": rounds,
    }
    if world.cuda:
        results["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    if replica.engine == "single":
        results["parts_s"] = step.parts(timer)
    if profiles:
        results["kernels"] = profiled(step.whole, timer)
        if world.cuda:
            results["gaps"] = gaps(read_trace(lambda: timer.in_a_row(step.whole, 2)), 2)
    if world.rank == 0:
        write_record(out, results, ("torch", "numpy"))
        click.echo(out.read_text())


if __name__ == "__main__":
    run_program(main)
