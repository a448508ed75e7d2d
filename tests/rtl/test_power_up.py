"""The engine needs a reset, but no initial values: an ASIC has none.

The Verilog's initializers are taken out, every register and memory powers up at random, and random
traffic must still be right to the bit and to the cycle after a reset.
"""

from __future__ import annotations

import numpy as np
import pytest
from bare import random_power_up, without_initial_values
from generators import random_run
from test_engine import check_values

from hw.config import PRESETS, EngineConfig
from hw.verilog import generate
from signacc.cosim.build import build
from signacc.cosim.run import execute_runs
from sim.engine import simulate
from sim.stalls import StallPattern

pytestmark = pytest.mark.rtl


@pytest.fixture(scope="module", params=["tiny", "tables", "blocks"])
def bare(request):
    """A configuration and its engine without initial values."""
    if request.param == "tiny":
        config = PRESETS["tiny"]
    elif request.param == "tables":
        config = request.getfixturevalue("tables_config")
    else:
        config = EngineConfig(
            name="blocks", k_par=12, n_par=4, act_bits=8, structure="tables", group=4, k_max=100,
            n_max=60, around="blocks",
        )
    generated = generate(config, top=f"signacc_{config.name}_bare")
    text, count = without_initial_values(generated.text)
    assert count > 100
    assert "initial begin" not in text
    return config, build(text, generated.top)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_power_up(bare, seed):
    config, built = bare
    random = np.random.default_rng(seed)
    runs = [random_run(random, config) for _ in range(30)]
    results = execute_runs(built, config, runs, plusargs=random_power_up(seed))
    check_values(config, runs, results)
    for run, result in zip(runs, results, strict=True):
        stalls = StallPattern(run.stall_seed, run.stall_probability)
        assert simulate(config, run.shapes(config.m_par), stalls).cycles == result.cycles
