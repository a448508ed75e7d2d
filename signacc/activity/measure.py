"""Runs a layer on the traced RTL of an engine, on several kinds of data, and counts toggles."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from golden.linear import fbi_linear
from hw.config import EngineConfig
from hw.verilog import generate
from signacc.cosim.bench import result_chunks
from signacc.cosim.build import BenchError, Build, build
from signacc.cosim.job import LayerJob, Run
from signacc.cosim.run import execute_runs
from sim.engine import simulate
from sim.stalls import NO_STALLS

from .parts import PartActivity, by_part
from .saif import read_saif

DATA = ("real", "random-activations", "random", "uniform")
"""Kinds of data, see :func:`on_data`."""

_FULL = 0.9995  # the largest binary16 below 1


def on_data(job: LayerJob, kind: str, seed: int) -> LayerJob:
    """Return a layer of the shape of `job` with other data.

    Parameters
    ----------
    kind
        ``real``: as it is. ``random-activations``: x standard normal, weights and scales as they
        are. ``random``: besides, signs of fair coins and scales of FBI-LLM's range. ``uniform``:
        besides, x and scales such that every bit of the quantized activations is a fair coin.
    seed
        Of the random data, together with the layer's name.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind not in DATA:
        raise ValueError(f"data must be one of {', '.join(DATA)}, not {kind!r}")
    if kind == "real":
        return job
    random = np.random.default_rng([seed, DATA.index(kind), zlib.crc32(job.name.encode())])
    x = random.standard_normal((job.m, job.k)).astype(np.float16)
    if kind == "random-activations":
        return replace(job, x=x)
    signs = random.integers(0, 256, job.signs.shape, dtype=np.uint8)
    if kind == "random":
        # Published scales of a real layer: 0.055 to 0.191, shifts -0.039 to 0.027.
        return replace(
            job, x=x, signs=signs,
            scale_in=random.uniform(0.055, 0.191, job.k).astype(np.float16),
            shift_in=random.uniform(-0.039, 0.027, job.k).astype(np.float16),
        )
    # The largest product is just below 1, so the quantized ones use their whole range; scales with
    # bits of their own fill the places below the 11 that x has.
    return replace(
        job, x=np.clip(random.uniform(-1, 1, (job.m, job.k)), -_FULL, _FULL).astype(np.float16),
        signs=signs, scale_in=random.uniform(0.95, _FULL, job.k).astype(np.float16),
        shift_in=random.uniform(-1, 1, job.k).astype(np.float16),
    )


def traced_engine(config: EngineConfig, *, on_build: Callable[[], None] | None = None) -> Build:
    """Build the engine so that it counts toggles of every net that has a name in `hw`.

    Raises ToolError as :func:`signacc.cosim.build.build`.
    """
    generated = generate(config)
    # Names with an underscore in front are not traced: those of expressions, half of all nets.
    text = re.sub(r"\\\$([0-9]+) ", r"_expression_\1 ", generated.text)
    return build(text, generated.top, saif=True, on_build=on_build)


def count_events(config: EngineConfig, job: LayerJob) -> dict[str, int]:
    """Return how often each kind of event happens when `job` goes through the engine."""
    shapes = Run([job]).shapes(config.m_par)
    beats = simulate(config, shapes, NO_STALLS).beats
    words = -(-job.k // config.k_par)
    return {
        "beat": beats,
        "chunk": job.m * -(-job.k // config.act_par),
        "write": job.m * words * len(config.entries),
        "result": result_chunks(config, shapes),
    }


def layer_activity(
    built: Build, config: EngineConfig, jobs: Sequence[LayerJob]
) -> list[dict[str, PartActivity]]:
    """Return the activity by part of each of `jobs`, each in a run of its own without stalls.

    The observed time is from reset to the last result: the filling of the pipeline is inside.

    Raises
    ------
    BenchError
        If the bench fails, or a result differs from golden's: activity of a wrong run is none.
    """
    found = []
    for job in jobs:
        with tempfile.TemporaryDirectory(prefix="signacc-activity-") as folder:
            saif = Path(folder) / "run.saif"
            (result,) = execute_runs(built, config, [Run([job])], saif=saif)
            expected = fbi_linear(
                job.x, job.signs, job.scale_in, job.shift_in, act_bits=config.act_bits
            )
            if (result.outputs[0].view(np.uint16) != expected.view(np.uint16)).any():
                raise BenchError(f"{job.name}: results of the traced engine differ from golden's")
            found.append(by_part(read_saif(saif), built.top, count_events(config, job)))
    return found


def summed(runs: Sequence[Mapping[str, PartActivity]]) -> dict[str, PartActivity]:
    """Return all runs of one design as one, by part."""
    first, *rest = runs
    return {
        name: sum((run[name] for run in rest), start=activity) for name, activity in first.items()
    }
