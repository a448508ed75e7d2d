"""Time of the loss between the products of both heads, on a GPU, by how the kernel is launched.

    python benchmarks/loss_kernel.py --out loss.json

Logits are random, and each run takes what the one before wrote over them: the time does not depend
on their values. `least` is the time to read both rows of logits once and to write the gradient
once, at the rate of a copy of the student's logits, measured in the same run; `twice` reads both
rows twice, as the kernel does where the cache keeps nothing. With `--compiled`, what PyTorch
compiles too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from program import OutputFile, Program
from record import write_record
from train_step import first_pieces

from golden.errors import InputError
from model.first_piece import FirstPiece
from model.loss import _loss_chunk, chunk_length

LAUNCHES = (
    {"LANES": 512, "WARPS": 16, "REGISTERS": 64, "PROGRAMS": 2},
    {"LANES": 512, "WARPS": 16, "REGISTERS": 128, "PROGRAMS": 1},
    {"LANES": 256, "WARPS": 8, "REGISTERS": 64, "PROGRAMS": 4},
    {"LANES": 256, "WARPS": 8, "REGISTERS": 80, "PROGRAMS": 3},
    {"LANES": 1024, "WARPS": 32, "REGISTERS": 64, "PROGRAMS": 1},
)
"""The first is that of `model.loss_kernel`; all fill the registers of a multiprocessor."""


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median milliseconds of `work` on the device, after one run that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


@click.command(cls=Program)
@click.option("--vocab", default=32000, show_default=True)
@click.option("--teacher-vocab", default=49152, show_default=True)
@click.option("--positions", default=65536, show_default=True, help="Of a micro-batch.")
@click.option("--compiled", is_flag=True)
@click.option("--repeats", default=10, show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(vocab: int, teacher_vocab: int, positions: int, compiled: bool, repeats: int,
         out: Path) -> None:  # fmt: skip
    if not torch.cuda.is_available():
        raise InputError("a CUDA GPU is needed; there is none")
    from model import loss_kernel  # needs Triton, which is there where CUDA is

    device = torch.device("cuda")
    generator = torch.Generator(device).manual_seed(0)
    torch.manual_seed(0)
    rows = chunk_length(positions, vocab)
    pool = FirstPiece(first_pieces(vocab, teacher_vocab), vocab).to(device)
    student, teacher = (
        torch.empty(rows, n, device=device, dtype=torch.bfloat16).normal_(generator=generator)
        for n in (vocab, teacher_vocab)
    )
    label = torch.randint(vocab, (rows,), generator=generator, device=device)
    source = torch.arange(rows, device=device)
    copy = 2 * student.nbytes / median_ms(student.clone, repeats)
    least = 2 * student.nbytes + teacher.nbytes
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "rows": rows,
        "copy_gb_per_s": round(copy / 1e6, 1),
        "least_ms": round(least / copy, 3),
        "twice_ms": round((least + student.nbytes + teacher.nbytes) / copy, 3),
        "kernel": [],
    }

    def kernel() -> None:
        loss_kernel.loss_and_gradient(student, teacher, label, source, pool, (1.0, 0.0))

    for launch in LAUNCHES:
        for name, value in launch.items():
            setattr(loss_kernel, name, value)
        ms = median_ms(kernel, repeats)
        results["kernel"].append(
            {**launch, "ms": round(ms, 3), "of_least": round(least / copy / ms, 3)}
        )
    if compiled:
        # the products of heads of width 16 are a small part of this time
        hidden, head, own = (
            torch.randn(n, 16, device=device, dtype=torch.bfloat16)
            for n in (rows, teacher_vocab, vocab)
        )
        chunk = torch.compile(_loss_chunk)
        results["compiled_ms"] = round(
            median_ms(
                lambda: chunk(hidden, own, label, source, hidden, head, pool, (1.0, 0.0)), repeats
            ), 3,
        )  # fmt: skip
    write_record(out, results, ("torch",))
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
