"""FBI-linears of the 7B shape on the CPU, batch 1: packed weights beside dense F.linear.

    python benchmarks/cpu_linear.py --out benchmarks/results/cpu_linear.json

Each call takes another copy of the layer, and the copies together are larger than any cache: as in
a model, weights come from memory. Calls of all kinds take turns. Where other work shares the
processor (see load_average), the fastest calls say more than the medians.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
import torch
import torch.nn.functional as F
from program import OutputFile, Program
from record import write_record

from golden.config import MODELS
from golden.folder import PackedLinear
from golden.linear import PreparedLinear
from golden.pack import pack_signs
from golden.signed_sum import paths, signed_sum
from model.packed import SignLinear

COLD_BYTES = 96 << 20
"""Weights of each kind that calls go through: three times the last-level cache here, 32 MB."""


def layer(n: int, k: int, seed: int) -> tuple[SignLinear, torch.Tensor]:
    """Return a random layer and its dense W~."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=random)
    scale, shift = (torch.randn(k, generator=random).mul(0.1).half() for _ in range(2))
    signs = pack_signs(weight)
    packed = SignLinear(PackedLinear(signs.numpy(), scale.numpy(), shift.numpy()))
    dense = torch.where(weight >= 0, 1.0, -1.0).mul_(scale.float()).add_(shift.float())
    return packed, dense


def copies(tensor: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.clone() for _ in range(-(-COLD_BYTES // (tensor.numel() * tensor.itemsize)))]


def measure(n: int, k: int, threads: int, rounds: int) -> dict:
    """Return medians, ratios and memory of one shape."""
    torch.set_num_threads(threads)
    packed, dense = layer(n, k, seed=n + k)
    x = torch.randn(1, k, generator=torch.Generator().manual_seed(1))
    exact = F.linear(x.double(), dense.double())
    signs = copies(packed.signs)
    wide = copies(dense)
    half = copies(dense.bfloat16())
    x_half = x.bfloat16()

    def packed_call(i: int) -> torch.Tensor:
        packed.signs = signs[i % len(signs)]
        return packed(x)

    calls = {
        "packed": packed_call,
        "dense_fp32": lambda i: F.linear(x, wide[i % len(wide)]),
        "dense_bf16": lambda i: F.linear(x_half, half[i % len(half)]),
    }
    for path in paths()[:-1]:  # the last is what `packed` takes
        calls[f"kernel_{path}"] = lambda i, path=path: signed_sum(
            signs[i % len(signs)].numpy(), x.numpy(), path=path, threads=threads
        )
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(-3, rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call(i)
            if i >= 0:
                times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    held = sum(b.numel() * b.itemsize for b in packed.buffers())
    scale = float(exact.abs().max())
    return {
        "n": n, "k": k, "threads": threads, "rounds": rounds,
        "median_ms": {name: round(1e3 * value, 4) for name, value in median.items()},
        "fastest_ms": {name: round(1e3 * min(values), 4) for name, values in times.items()},
        "quartiles_ms": {
            name: [round(1e3 * q, 4) for q in np.quantile(values, (0.25, 0.75)).tolist()]
            for name, values in times.items()
        },
        "times_faster_than_fp32": round(median["dense_fp32"] / median["packed"], 2),
        "times_faster_than_bf16": round(median["dense_bf16"] / median["packed"], 2),
        "times_faster_than_fp32_fastest": round(
            min(times["dense_fp32"]) / min(times["packed"]), 2
        ),
        "bytes": {"packed": held, "dense_fp32": 4 * n * k, "dense_bf16": 2 * n * k},
        "bits_per_weight_packed": round(8 * held / (n * k), 4),
        "largest_error_against_fp64": {
            "packed": float((packed(x) - exact).abs().max()) / scale,
            "dense_fp32": float((F.linear(x, dense) - exact).abs().max()) / scale,
        },
    }


def measure_golden(n: int, k: int, rounds: int) -> dict:
    """Return times of one golden FBI-linear, one token, A16: unpacked and packed."""
    random = np.random.default_rng(n + k)
    signs = random.integers(0, 256, (n, k // 8), dtype=np.uint8)
    scale, shift = (random.normal(0, 0.1, k).astype(np.float16) for _ in range(2))
    x = random.normal(0, 1, (1, k)).astype(np.float16)
    kinds = {
        "unpacked": PreparedLinear(signs, scale, shift),
        "packed": PreparedLinear(signs, scale, shift, keep_packed=True),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, linear in kinds.items():
            start = time.perf_counter()
            linear(x)
            times[name].append(time.perf_counter() - start)
    return {
        "n": n, "k": k, "act_bits": 16, "rounds": rounds,
        "median_ms": {name: round(1e3 * statistics.median(v), 3) for name, v in times.items()},
        "fastest_ms": {name: round(1e3 * min(v), 3) for name, v in times.items()},
    }


@click.command(cls=Program)
@click.option("--out", required=True, type=OutputFile())
@click.option("--rounds", default=60, show_default=True)
@torch.inference_mode()
def main(out: Path, rounds: int) -> None:
    config = MODELS["fbi-7b"]
    shapes = dict.fromkeys(config.linear_shape(name) for name in ("q_proj", "up_proj", "down_proj"))
    rows = []
    load = os.getloadavg()
    for threads in (1, 2):
        for n, k in shapes:
            row = measure(n, k, threads, rounds)
            print(n, k, threads, row["median_ms"], row["times_faster_than_fp32"], flush=True)
            rows.append(row)
    golden = measure_golden(4096, 4096, rounds)
    print("golden", golden["fastest_ms"], flush=True)
    record = {"path": paths()[-1], "batch": 1, "load_average": load, "layers": rows,
              "golden": golden}
    write_record(out, record, ("signacc", "torch"))


if __name__ == "__main__":
    main()
