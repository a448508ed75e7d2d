"""Random engines, layers and stalls for the RTL and cross tests, all from one seeded generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from golden import bf16
from golden.linear import fbi_linear
from golden.pack import pack_signs
from hw.config import STRUCTURES, EngineConfig
from signacc.cosim.job import LayerJob, Run
from sim.stalls import PORTS


def divisors(value: int) -> list[int]:
    return [d for d in range(1, value + 1) if value % d == 0]


def random_config(random: np.random.Generator, name: str) -> EngineConfig:
    """An engine of any structure, with or without ternary weights, for one to three vectors."""
    structure = str(random.choice(STRUCTURES))
    ternary = structure != "triple" and bool(random.random() < 0.4)
    if structure in ("direct", "triple"):
        group = 1
        k_par = int(random.choice([1, 2, 3, 4, 6, 8, 12, 16]))
    else:
        # Few ternary inputs have many sums: 5, 14, 41 for 2, 3, 4.
        group = int(random.choice([2, 3] if ternary else [2, 3, 4, 5, 6]))
        k_par = group * int(random.integers(1, 12 // group + 1))
    n_par = int(random.choice([1, 2, 3, 4, 6, 8]))
    return EngineConfig(
        name=name,
        k_par=k_par,
        n_par=n_par,
        m_par=int(random.integers(1, 4)),
        structure=structure,
        group=group,
        ternary=ternary,
        act_bits=int(random.integers(4, 25)),
        k_max=int(random.integers(max(k_par, 20), 130)),
        n_max=int(random.integers(max(n_par, 20), 80)),
        act_par=int(random.choice(divisors(k_par))),
        out_par=int(random.choice(divisors(n_par))),
        levels_per_stage=int(random.integers(1, 5)),
    )


def random_bf16(random: np.random.Generator, shape, kind: str) -> np.ndarray:
    """bfloat16 patterns of one of KINDS."""
    if kind == "normal":
        return bf16.from_float64(random.standard_normal(shape))
    if kind == "corner":
        corners = [0x0000, 0x8000, 0x0001, 0x8001, 0x007F, 0x0080, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F]
        return random.choice(corners, shape).astype(np.uint16)
    if kind == "sparse":
        patterns = [0x0000, 0x8000, 0x0001, 0x8001]
        return random.choice(patterns, shape, p=[0.9, 0.05, 0.03, 0.02]).astype(np.uint16)
    bits = random.integers(0, 65536, shape).astype(np.uint16)
    if kind == "tiny":
        bits &= 0x807F | 0x0080
    elif kind == "finite":
        bits = np.where(bits & 0x7F80 == 0x7F80, bits & 0xBFFF, bits).astype(np.uint16)
    else:
        assert kind == "any"
    return bits


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


def random_mask(random: np.random.Generator, n: int, k: int) -> np.ndarray | None:
    """Which weights are there: all (None), none, few, half or nearly all of them."""
    share = random.choice([-1.0, 0.0, 0.1, 0.5, 0.5, 0.95])
    if share < 0:
        return None
    return np.packbits(random.random((n, k)) < share, axis=1, bitorder="little")


def random_layer(
    random: np.random.Generator, m: int, k: int, n: int, *, ternary: bool = False,
    act_format: str = "fp16",
) -> LayerJob:
    """A layer for m vectors; a weight that a mask takes away keeps a random sign."""
    kinds = random.choice(KINDS, 3, p=[0.35, 0.25, 0.1, 0.15, 0.1, 0.05])
    return LayerJob(
        name=f"{m}x{k}x{n} {'/'.join(kinds)}",
        signs=pack_signs(random.standard_normal((n, k))),
        scale_in=random_fp16(random, k, kinds[0]),
        shift_in=random_fp16(random, k, kinds[1]),
        x=(random_fp16 if act_format == "fp16" else random_bf16)(random, (m, k), kinds[2]),
        mask=random_mask(random, n, k) if ternary else None,
    )


def with_scales(
    random: np.random.Generator, config: EngineConfig, layer: LayerJob
) -> LayerJob:
    """Add the output-axis scales that `config` asks for: of all inputs, or of groups of words."""
    size = 0
    if config.scale_out == "groups" and random.random() < 0.7:
        size = config.k_par * int(random.integers(1, 5))
    groups = -(-layer.k // size) if size else 1
    kind = str(random.choice(KINDS, p=[0.35, 0.25, 0.1, 0.1, 0.1, 0.1]))
    scales = random_fp16(random, (layer.n, groups), kind)
    return replace(
        layer, scale_out=scales if size else scales[:, 0].copy(), group_size=size
    )


def golden_output(config: EngineConfig, layer: LayerJob) -> np.ndarray:
    """What golden says that the engine must give, ``[M, N]`` in the format of the inputs."""
    return fbi_linear(
        layer.x, layer.signs, layer.scale_in, layer.shift_in,
        act_bits=config.act_bits, mask=layer.mask, act_format=config.act_format,
        scale_out=layer.scale_out, group_size=layer.group_size or None,
    )  # fmt: skip


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


def random_stalls(
    random: np.random.Generator, ports: Sequence[str] = PORTS
) -> float | dict[str, float]:
    """Stalls of no port, all ports alike, one of `ports` alone, or each on its own."""
    choice = random.integers(0, 4)
    if choice == 0:
        return 0.0
    if choice == 1:
        return float(random.choice([0.05, 0.3, 0.6, 0.85]))
    if choice == 2:  # one port only
        return {str(random.choice(ports)): float(random.choice([0.3, 0.7, 0.95]))}
    return {port: float(random.choice([0.0, 0.2, 0.5, 0.9])) for port in ports}


def random_run(random: np.random.Generator, config: EngineConfig) -> Run:
    """One to four layers back to back, each with vectors for one to three commands."""
    layers = [
        random_layer(
            random,
            int(random.integers(1, 2 * config.m_par + 2)),
            random_size(random, config.k_max, config.k_par),
            random_size(random, config.n_max, config.n_par),
            ternary=config.ternary,
            act_format=config.act_format,
        )
        for _ in range(int(random.integers(1, 5)))
    ]
    if config.scales:
        layers = [with_scales(random, config, layer) for layer in layers]
    # Engines without output-axis scales, or with weights of their own, have no port for them.
    present = {"scale": config.scales, "weight": not config.resident}
    ports = [port for port in PORTS if present.get(port, True)]
    return Run(layers, int(random.integers(0, 2**31)), random_stalls(random, ports))
