"""What a co-simulation run is asked to do and what it brings back, as files between processes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden import bf16


@dataclass(frozen=True)
class LayerJob:
    """One layer and the token vectors to send through it, back to back.

    Attributes
    ----------
    name
        For reports.
    signs
        uint8 ``[N, ceil(K/8)]``.
    scale_in, shift_in
        float16 ``[K]``.
    x
        ``[M, K]``: float16, or uint16 bit patterns of bfloat16 on engines of that format.
    mask
        Like `signs`, 0 = the weight is zero; None if none is. Only for ternary engines.
    scale_out
        float16 ``[N]`` or ``[N, groups]``; None on engines without scales on the output axis.
    group_size
        Inputs that share a scale of an output; 0: all of them.
    """

    name: str
    signs: np.ndarray
    scale_in: np.ndarray
    shift_in: np.ndarray
    x: np.ndarray
    mask: np.ndarray | None = None
    scale_out: np.ndarray | None = None
    group_size: int = 0

    @property
    def k(self) -> int:
        """Inputs."""
        return len(self.scale_in)

    @property
    def n(self) -> int:
        """Outputs."""
        return len(self.signs)

    @property
    def m(self) -> int:
        """Token vectors."""
        return len(self.x)

    def batches(self, m_par: int) -> list[int]:
        """Return how many vectors each command carries on an engine of `m_par`."""
        full, rest = divmod(self.m, m_par)
        return [m_par] * full + [rest] * (rest > 0)


@dataclass(frozen=True)
class Run:
    """Layers that are sent without a pause between them, starting on an idle engine.

    Attributes
    ----------
    layers
        In order; the vectors of one layer come together.
    stall_seed, stall_probability
        Of :class:`sim.stalls.StallPattern`; the probability may be by port.
    """

    layers: list[LayerJob]
    stall_seed: int = 0
    stall_probability: float | dict[str, float] = 0.0

    def shapes(self, m_par: int = 1) -> list[tuple[int, int, int, int]]:
        """Return (K, N, M, inputs of a group) of every command, on an engine of `m_par`."""
        return [
            (layer.k, layer.n, m, layer.group_size or layer.k)
            for layer in self.layers
            for m in layer.batches(m_par)
        ]


@dataclass(frozen=True)
class RunResult:
    """What the RTL did.

    Attributes
    ----------
    outputs
        ``[M, N]`` per layer, in the format of its inputs.
    cycles
        From the first cycle to the last result transfer, inclusive.
    last_results
        Cycle of every command's last result.
    """

    outputs: list[np.ndarray]
    cycles: int
    last_results: list[int]


@dataclass(frozen=True)
class Writing:
    """How golden writes on: see :func:`golden.generate.generate`."""

    count: int
    temperature: float
    top_p: float
    seed: int


def random_job(m: int, k: int, n: int, seed: int, act_format: str = "fp16") -> LayerJob:
    """Return a random layer ``m x k x n``: normal weights and inputs, FBI-LLM-like scales."""
    random = np.random.default_rng(seed)
    inputs = np.random.default_rng([seed, 1]).standard_normal((m, k))
    x = inputs.astype(np.float16) if act_format == "fp16" else bf16.from_float64(inputs)
    return LayerJob(
        "random",
        np.packbits(random.integers(0, 2, (n, k), dtype=np.uint8), axis=1, bitorder="little"),
        # Published scales of a real layer: 0.055 to 0.191, shifts -0.039 to 0.027.
        random.uniform(0.055, 0.191, k).astype(np.float16),
        random.uniform(-0.039, 0.027, k).astype(np.float16),
        x,
    )


_ARRAYS = ("signs", "scale_in", "shift_in", "x", "mask", "scale_out")


def save_runs(path: Path, config: dict[str, object], runs: list[Run]) -> None:
    """Write `runs` and the engine's configuration to an .npz file without pickles."""
    arrays: dict[str, np.ndarray] = {}
    index = []
    for r, run in enumerate(runs):
        for i, layer in enumerate(run.layers):
            for what in _ARRAYS:
                if getattr(layer, what) is not None:
                    arrays[f"{r}_{i}_{what}"] = getattr(layer, what)
        index.append(
            {
                "layers": [layer.name for layer in run.layers],
                "group_sizes": [layer.group_size for layer in run.layers],
                "stall_seed": run.stall_seed,
                "stall_probability": run.stall_probability,
            }
        )
    text = json.dumps({"config": config, "runs": index})
    np.savez(path, index=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)


def load_runs(path: Path) -> tuple[dict[str, object], list[Run]]:
    """Read what save_runs wrote."""
    with np.load(path, allow_pickle=False) as data:
        text = json.loads(data["index"].tobytes().decode())
        runs = []
        for r, entry in enumerate(text["runs"]):
            layers = [
                LayerJob(
                    name,
                    group_size=group_size,
                    **{
                        what: data[f"{r}_{i}_{what}"]
                        for what in _ARRAYS
                        if f"{r}_{i}_{what}" in data
                    },
                )
                for i, (name, group_size) in enumerate(
                    zip(entry["layers"], entry["group_sizes"], strict=True)
                )
            ]
            runs.append(Run(layers, entry["stall_seed"], entry["stall_probability"]))
        return text["config"], runs


def save_results(path: Path, results: list[RunResult]) -> None:
    """Write results to an .npz file."""
    arrays = {}
    for r, result in enumerate(results):
        arrays[f"{r}_cycles"] = np.array([result.cycles, *result.last_results], dtype=np.int64)
        for i, output in enumerate(result.outputs):
            arrays[f"{r}_{i}"] = output
    np.savez(path, **arrays)


def load_results(path: Path, runs: list[Run]) -> list[RunResult]:
    """Read what save_results wrote for `runs`."""
    results = []
    with np.load(path, allow_pickle=False) as data:
        for r, run in enumerate(runs):
            cycles = data[f"{r}_cycles"].tolist()
            outputs = [data[f"{r}_{i}"] for i in range(len(run.layers))]
            results.append(RunResult(outputs, cycles[0], cycles[1:]))
    return results
