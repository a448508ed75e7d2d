"""What a layer needs beside its signs on an engine of any kind, and what golden says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from golden.linear import fbi_linear
from hw.config import ConfigError, EngineConfig

from .job import LayerJob, random_job

PRESENT = 2 / 3
"""Share of a random ternary layer's weights that are not zero: each of -1, 0 and +1 alike."""


def check_layer(engine: EngineConfig, k: int, n: int) -> None:
    """Raise ConfigError unless `engine` can hold a layer of `k` inputs and `n` outputs.

    That is its buffers, and with weights from memory all weights of the layer at once.
    """
    beats = engine.beats(k, n)
    if engine.resident and beats > engine.weight_words:
        raise ConfigError(
            f"a layer of {k} inputs and {n} outputs must fit the {engine.weight_words} weight "
            f"words of {engine.name}, not take {beats}"
        )


def random_layer(engine: EngineConfig, m: int, k: int, n: int, seed: int) -> LayerJob:
    """Return a random layer ``m x k x n`` with all that `engine` can take.

    That is a mask for ternary weights, a scale of each output from -2 to 2, and with scales by
    groups a random number of words in a group.

    Raises
    ------
    ConfigError
        If the layer does not fit the engine.
    """
    check_layer(engine, k, n)
    job = random_job(m, k, n, seed, engine.act_format)
    random = np.random.default_rng([seed, 2])
    if engine.ternary:
        present = random.random((n, k)) < PRESENT
        job = replace(job, mask=np.packbits(present, axis=1, bitorder="little"))
    if not engine.scales:
        return job
    words = -(-k // engine.k_par)
    group = int(random.integers(1, words + 1)) if engine.scale_out == "groups" else words
    groups = -(-words // group)
    scales = random.uniform(-2, 2, (n, groups)).astype(np.float16)
    if groups == 1:
        return replace(job, scale_out=scales[:, 0].copy())
    return replace(job, scale_out=scales, group_size=group * engine.k_par)


def with_unit_scales(engine: EngineConfig, job: LayerJob) -> LayerJob:
    """Return a layer without scales on the output axis as `engine` takes it.

    An engine that has such scales gets 1 for each; a sum times 1 is exact, so the results are the
    same to the bit.
    """
    if not engine.scales:
        return job
    return replace(job, scale_out=np.ones(job.n, dtype=np.float16))


def golden_result(engine: EngineConfig, job: LayerJob) -> np.ndarray:
    """Return what golden says that `engine` gives, ``[M, N]`` in the format of the job's x."""
    return fbi_linear(
        job.x, job.signs, job.scale_in, job.shift_in, mask=job.mask, scale_out=job.scale_out,
        group_size=job.group_size or None, act_bits=engine.act_bits, act_format=engine.act_format,
    )  # fmt: skip
