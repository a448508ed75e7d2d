"""Golden, RTL and simulator held against each other on random configurations, shapes and stalls.

Every case is a sequence of layers on one engine under one stall pattern: its values must equal
golden's to the bit, and the cycle of every vector's last result must equal the simulator's.
"""

from __future__ import annotations

import numpy as np
import pytest
from generators import random_config, random_run

from golden.linear import fbi_linear
from hw.config import EngineConfig
from signacc.cosim.run import build_engine, execute_runs
from sim.engine import simulate
from sim.stalls import StallPattern

pytestmark = pytest.mark.rtl
SEED = 4711
CONFIGURATIONS = 10
CASES = 25


CORNERS = [
    EngineConfig(name="smallest", k_par=1, n_par=1, act_bits=4, k_max=1, n_max=1),
    EngineConfig(
        name="one_tile", k_par=16, n_par=8, act_bits=24, k_max=16, n_max=8, act_par=16, out_par=8
    ),
]


def configuration(index: int) -> EngineConfig:
    if index >= CONFIGURATIONS:
        return CORNERS[index - CONFIGURATIONS]
    return random_config(np.random.default_rng([SEED, index]), f"cross{index}")


@pytest.mark.parametrize("index", range(CONFIGURATIONS + len(CORNERS)))
def test_views_agree(index):
    config = configuration(index)
    print(f"seed [{SEED}, {index}]: {config}")
    random = np.random.default_rng([SEED, index, 1])
    runs = [random_run(random, config) for _ in range(CASES)]
    results = execute_runs(build_engine(config), config, runs)
    for case, (run, result) in enumerate(zip(runs, results, strict=True)):
        about = f"case {case}: {[layer.name for layer in run.layers]}, {run.stall_probability}"
        for layer, output in zip(run.layers, result.outputs, strict=True):
            expected = fbi_linear(
                layer.x, layer.signs, layer.scale_in, layer.shift_in, act_bits=config.act_bits
            )
            np.testing.assert_array_equal(
                output.view(np.uint16), expected.view(np.uint16), err_msg=about
            )
        timing = simulate(
            config, run.shapes, StallPattern(run.stall_seed, run.stall_probability)
        )
        assert [v.last_result for v in timing.vectors] == result.last_results, about
        assert timing.cycles == result.cycles, about


def test_configurations_differ():
    configs = [configuration(index) for index in range(CONFIGURATIONS)]
    assert len({(c.k_par, c.n_par, c.act_par, c.out_par, c.act_bits) for c in configs}) >= 9
    assert CONFIGURATIONS * CASES >= 100
