"""The engine's values, to the bit, on presets: random data and random stalls on all ports."""

from __future__ import annotations

import numpy as np
import pytest
from generators import golden_output, random_layer, random_run

from hw.config import PRESETS
from signacc.cosim.job import Run
from signacc.cosim.run import build_engine, execute_runs
from sim.engine import simulate
from sim.stalls import StallPattern

pytestmark = pytest.mark.rtl


def check_values(config, runs, results) -> int:
    compared = 0
    for run, result in zip(runs, results, strict=True):
        for layer, output in zip(run.layers, result.outputs, strict=True):
            expected = golden_output(config, layer)
            np.testing.assert_array_equal(
                output.view(np.uint16), expected.view(np.uint16), err_msg=layer.name
            )
            compared += output.size
    return compared


def test_random_traffic_on_tiny(tiny):
    seed = 20261121
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    config = PRESETS["tiny"]
    runs = [random_run(random, config) for _ in range(150)]
    assert check_values(config, runs, execute_runs(tiny, config, runs)) > 10_000


def test_random_traffic_on_tables(tables, tables_config):
    seed = 20261122
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    runs = [random_run(random, tables_config) for _ in range(80)]
    results = execute_runs(tables, tables_config, runs)
    assert check_values(tables_config, runs, results) > 10_000
    commands = {m for run in runs for *_, m, _ in run.shapes(tables_config.m_par)}
    assert commands == {1, 2}  # whole commands and remainders


@pytest.mark.parametrize("preset", ["kv260", "kv260_a8", "kv260_a8_lean"])
def test_thousand_lanes(preset):
    """1,024 lanes: shapes of the shipped model, some that divide nothing, stalls."""
    seed = 7
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    config = PRESETS[preset]
    shapes = [(1, 512, 512), (2, 1408, 512), (1, 512, 1408), (2, 1, 1), (1, 33, 31), (2, 700, 65)]
    runs = [
        Run([random_layer(random, *shape)], i, 0.0 if i % 2 else 0.25)
        for i, shape in enumerate(shapes)
    ]
    results = execute_runs(build_engine(config), config, runs)
    assert check_values(config, runs, results) == sum(m * n for m, _, n in shapes)
    for run, result in zip(runs, results, strict=True):
        stalls = StallPattern(run.stall_seed, run.stall_probability)
        assert simulate(config, run.shapes(config.m_par), stalls).cycles == result.cycles


def test_mismatch_would_be_seen(tiny):
    """The comparison can fail: one flipped weight changes what golden expects."""
    random = np.random.default_rng(3)
    config = PRESETS["tiny"]
    layer = random_layer(random, 1, 24, 4)
    layer.x[:] = random.standard_normal((1, 24)).astype(np.float16)
    layer.scale_in[:] = np.float16(1)
    layer.shift_in[:] = np.float16(0.5)
    results = execute_runs(tiny, config, [Run([layer])])
    layer.signs[2, 1] ^= 0x10
    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 4"):
        check_values(config, [Run([layer])], results)
