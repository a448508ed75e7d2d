"""Random engines, layers and stalls for the RTL and cross tests, all from one seeded generator."""

from __future__ import annotations

import numpy as np

from golden.pack import pack_signs
from hw.config import EngineConfig
from signacc.cosim.job import LayerJob, Run
from sim.stalls import PORTS


def divisors(value: int) -> list[int]:
    return [d for d in range(1, value + 1) if value % d == 0]


def random_config(random: np.random.Generator, name: str) -> EngineConfig:
    k_par = int(random.choice([1, 2, 3, 4, 6, 8, 12, 16]))
    n_par = int(random.choice([1, 2, 3, 4, 6, 8]))
    return EngineConfig(
        name=name,
        k_par=k_par,
        n_par=n_par,
        act_bits=int(random.integers(4, 25)),
        k_max=int(random.integers(max(k_par, 20), 130)),
        n_max=int(random.integers(max(n_par, 20), 80)),
        act_par=int(random.choice(divisors(k_par))),
        out_par=int(random.choice(divisors(n_par))),
        levels_per_stage=int(random.integers(1, 5)),
    )


def random_fp16(random: np.random.Generator, shape, kind: str) -> np.ndarray:
    """Values of one kind: normal, any finite bit pattern, tiny, corners, sparse, or any pattern."""
    if kind == "normal":
        return random.standard_normal(shape).astype(np.float16)
    if kind == "corner":
        corners = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF]
        return random.choice(corners, shape).astype(np.uint16).view(np.float16)
    if kind == "sparse":  # zeros beside the smallest numbers: a zero must not set the exponent
        patterns = [0x0000, 0x8000, 0x0001, 0x8001]
        chosen = random.choice(patterns, shape, p=[0.9, 0.05, 0.03, 0.02])
        return chosen.astype(np.uint16).view(np.float16)
    bits = random.integers(0, 65536, shape).astype(np.uint16)
    if kind == "tiny":
        bits &= 0x83FF | 0x0400
    elif kind == "finite":
        bits = np.where(bits & 0x7C00 == 0x7C00, bits & 0xBFFF, bits).astype(np.uint16)
    else:
        assert kind == "any"
    return bits.view(np.float16)


KINDS = ("normal", "finite", "tiny", "corner", "sparse", "any")


def random_layer(random: np.random.Generator, m: int, k: int, n: int) -> LayerJob:
    kinds = random.choice(KINDS, 3, p=[0.35, 0.25, 0.1, 0.15, 0.1, 0.05])
    return LayerJob(
        name=f"{m}x{k}x{n} {'/'.join(kinds)}",
        signs=pack_signs(random.standard_normal((n, k))),
        scale_in=random_fp16(random, k, kinds[0]),
        shift_in=random_fp16(random, k, kinds[1]),
        x=random_fp16(random, (m, k), kinds[2]),
    )


def random_size(random: np.random.Generator, limit: int, parallel: int) -> int:
    """A size with its corners: 1, the limit, around multiples of the parallelism."""
    choice = random.integers(0, 6)
    if choice == 0:
        return 1
    if choice == 1:
        return limit
    if choice == 2:
        around = parallel * int(random.integers(1, 4)) + int(random.integers(-1, 2))
        return min(limit, max(1, around))
    return int(random.integers(1, limit + 1))


def random_stalls(random: np.random.Generator) -> float | dict[str, float]:
    choice = random.integers(0, 4)
    if choice == 0:
        return 0.0
    if choice == 1:
        return float(random.choice([0.05, 0.3, 0.6, 0.85]))
    if choice == 2:  # one port only
        return {str(random.choice(PORTS)): float(random.choice([0.3, 0.7, 0.95]))}
    return {port: float(random.choice([0.0, 0.2, 0.5, 0.9])) for port in PORTS}


def random_run(random: np.random.Generator, config: EngineConfig) -> Run:
    """One to four layers back to back, each with one to three vectors."""
    layers = [
        random_layer(
            random,
            int(random.integers(1, 4)),
            random_size(random, config.k_max, config.k_par),
            random_size(random, config.n_max, config.n_par),
        )
        for _ in range(int(random.integers(1, 5)))
    ]
    return Run(layers, int(random.integers(0, 2**31)), random_stalls(random))
