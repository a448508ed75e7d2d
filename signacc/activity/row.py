"""Inputs of a single row of the array, cycle by cycle, and what its sums must be."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.linear import quantize
from hw import streams
from hw.config import ConfigError, EngineConfig
from signacc.cosim.build import Build, run_bench
from signacc.cosim.job import LayerJob

from .saif import Saif, read_saif


@dataclass(frozen=True)
class Stimulus:
    """What a row of :class:`hw.row.Row` is given, and gives.

    Attributes
    ----------
    inputs
        Value of every port in every cycle.
    beats
        Cycles with a weight beat; those after them let the pipeline run empty.
    partial
        int64 ``[beats]``: the exact sum of the output that each beat belongs to, that beat
        included.
    ends
        bool ``[beats]``: the beat is its output's last.
    """

    inputs: dict[str, list[int]]
    beats: int
    partial: np.ndarray
    ends: np.ndarray


def row_stimulus(config: EngineConfig, job: LayerJob) -> Stimulus:
    """Return what the array's first row sees while `job` goes through the engine without stalls.

    Outputs 0, n_par, 2·n_par, … of every vector, each word after the one before.

    Raises
    ------
    ConfigError
        If the structure is not ``direct``, or weights may be zero.
    """
    if config.structure != "direct" or config.ternary:
        raise ConfigError(
            "a row alone is measured with structure direct and binary weights, not "
            f"{config.structure}{' and ternary' if config.ternary else ''}"
        )
    words = -(-job.k // config.k_par)
    q = np.zeros((job.m, words * config.k_par), np.int64)
    q[:, : job.k] = quantize(job.x, job.scale_in, config.act_bits).q
    codes = [
        beat % (1 << config.k_par)
        for beat in streams.payload_integers(streams.weight_beats(config, job.signs, job.k))
    ]
    tiles = len(codes) // words
    mask = (1 << config.act_bits) - 1
    options = [
        [sum((int(v) & mask) << i * config.act_bits for i, v in enumerate(word)) for word in vector]
        for vector in q.reshape(job.m, words, config.k_par)
    ]
    beats = job.m * tiles * words
    empty = [0] * config.tree_stages
    signs = np.zeros((tiles, words * config.k_par), np.int64)
    bits = np.unpackbits(job.signs[:: config.n_par], axis=1, count=job.k, bitorder="little")
    signs[:, : job.k] = 2 * bits.astype(np.int64) - 1
    terms = (q[:, None] * signs).reshape(job.m, tiles, words, config.k_par).sum(axis=3)
    return Stimulus(
        {
            "options": [word for vector in options for word in vector * tiles] + empty,
            "weights": codes * job.m + empty,
            "valid": [1] * beats + empty,
            "last": ([0] * (words - 1) + [1]) * (tiles * job.m) + empty,
        },
        beats,
        terms.cumsum(axis=2).ravel(),
        np.arange(1, beats + 1) % words == 0,
    )


def replay(
    built: Build, inputs: dict[str, list[int]], outputs: list[str]
) -> tuple[Saif, dict[str, list[int]]]:
    """Set inputs cycle by cycle; return the toggles and what flops see of `outputs`.

    Two cycles of reset come first; inputs are 0 in them.

    Raises
    ------
    BenchError
        If the bench fails.
    """
    with tempfile.TemporaryDirectory(prefix="signacc-replay-") as name:
        folder = Path(name)
        job = {"cycles": len(next(iter(inputs.values()))), "inputs": inputs, "outputs": outputs}
        (folder / "replay.json").write_text(json.dumps(job), encoding="utf-8")
        saif, seen = folder / "run.saif", folder / "seen.json"
        run_bench(
            built, "signacc.activity.replay", tests=["replay"], work=folder / "work", saif=saif,
            environment={
                "SIGNACC_REPLAY": str(folder / "replay.json"), "SIGNACC_REPLAY_RESULTS": str(seen),
            },
        )
        return read_saif(saif), json.loads(seen.read_text(encoding="utf-8"))
