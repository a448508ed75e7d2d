"""Which of PyTorch's kernels of attention gives the same gradients each time, and what each costs.

    python benchmarks/attention_repeat.py --model fbi-130m --model fbi-135m --out attention.json

Operands are random, of a model's heads in a training's micro-batch. `kernel` is the one allowed
(`any`: PyTorch chooses) and `asked` what cannot repeat is while the backward pass runs: nothing,
a warning, an error. `node` is what the choice fell on; `repeats` says of the gradients of q, k and
v whether `--times` backward passes of one forward pass agree to the bit. A kernel that cannot do it
says so (`error`).
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from program import OutputFile, Program
from record import write_record
from torch.nn.attention import SDPBackend, sdpa_kernel
from train_step import Timer

from model.parallel import World
from model.train_command import read_shape

ASKED = {"nothing": (False, False), "a warning": (True, True), "an error": (True, False)}
KERNELS = {
    "any": None,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


def measure(kernel: str, asked: str, operands: list[torch.Tensor], upstream: torch.Tensor,
            timer: Timer, times: int) -> dict[str, Any]:  # fmt: skip
    """Return one kernel's times in milliseconds, and whether its gradients repeat."""
    q, k, v = operands
    chosen = KERNELS[kernel]

    def forward() -> torch.Tensor:
        with nullcontext() if chosen is None else sdpa_kernel(chosen):
            return F.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
            )

    def backward() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, operands, upstream, retain_graph=True)

    on, warn = ASKED[asked]
    # the choice is made in the forward pass: there an error would pass over cuDNN's
    torch.use_deterministic_algorithms(on, warn_only=True if chosen is None else warn)
    y = forward()
    forward_ms = 1e3 * timer(forward)
    torch.use_deterministic_algorithms(on, warn_only=warn)
    first, *others = (backward() for _ in range(times))
    same = {
        name: all(torch.equal(first[i], other[i]) for other in others)
        for i, name in enumerate("qkv")
    }
    return {
        "node": type(y.grad_fn).__name__, "forward_ms": round(forward_ms, 4),
        "backward_ms": round(1e3 * timer(backward), 4), "repeats": same,
    }  # fmt: skip


@click.command(cls=Program)
@click.option("--model", "models", multiple=True, default=("fbi-130m", "fbi-135m"),
              show_default=True, help="Repeat for several.")
@click.option("--micro", type=click.IntRange(1), default=64, show_default=True)
@click.option("--context", type=click.IntRange(1), default=1024, show_default=True)
@click.option("--times", type=click.IntRange(2), default=6, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True,
              help="Of which the median is taken.")
@click.option("--out", required=True, type=OutputFile())
def main(models: tuple[str, ...], micro: int, context: int, times: int, repeats: int,
         out: Path) -> None:  # fmt: skip
    world = World.join()
    timer = Timer(world.device, repeats)
    dtype = torch.bfloat16 if world.cuda else torch.float32
    torch.utils.deterministic.fill_uninitialized_memory = False
    rows = []
    for name in models:
        shape = read_shape(name, vocab=None, layers=None, context=context)
        heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
        torch.manual_seed(0)
        q, k, v = (  # as a decoder layer has them: positions outside, heads inside
            torch.randn(micro, context, n, shape.head_dim, device=world.device, dtype=dtype)
            .transpose(1, 2).requires_grad_() for n in (heads, kv_heads, kv_heads)
        )  # fmt: skip
        upstream = torch.randn_like(q)
        for kernel, asked in (("any", "a warning"), *((k_, "nothing") for k_ in KERNELS),
                              *((k_, "an error") for k_ in KERNELS)):  # fmt: skip
            row = {"model": name, "heads": heads, "kv_heads": kv_heads,
                   "head_dim": shape.head_dim, "kernel": kernel, "asked": asked}  # fmt: skip
            try:
                row |= measure(kernel, asked, [q, k, v], upstream, timer, times)
            except RuntimeError as error:
                row["error"] = str(error).splitlines()[0]
            finally:
                torch.use_deterministic_algorithms(False)
            rows.append(row)
            click.echo(row)
    results = {
        "device": torch.cuda.get_device_name() if world.cuda else "cpu",
        "cudnn": torch.backends.cudnn.version() if world.cuda else None,
        "micro": micro, "context": context, "times": times, "kernels": rows,
    }  # fmt: skip
    write_record(out, results, ("torch", "numpy"))


if __name__ == "__main__":
    main()
