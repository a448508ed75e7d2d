"""The engine needs a reset, but no initial values: an ASIC has none.

The Verilog's initializers are taken out, every register and memory powers up at random, and random
traffic must still be right to the bit and to the cycle after a reset.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from generators import random_run
from test_engine import check_values

from hw.config import PRESETS
from hw.verilog import generate
from signacc.cosim.build import build
from signacc.cosim.run import execute_runs
from sim.engine import simulate
from sim.stalls import StallPattern

pytestmark = pytest.mark.rtl
CONFIG = PRESETS["tiny"]


def without_initial_values(text: str) -> tuple[str, int]:
    """Return the Verilog without initializers of registers and memories, and how many there were.

    The writer's own event registers (``$auto$...``) stay: they are not hardware.
    """
    text, registers = re.subn(
        r"^(\s*reg (?:signed )?(?:\[[^\]]*\] )?(?!\\\$auto)\S+\s*) = [^;]*;", r"\1;", text,
        flags=re.MULTILINE,
    )
    text, memories = re.subn(
        r"^  initial begin\n(?:    \S+\[\d+\] = [^;]*;\n)+  end\n", "", text, flags=re.MULTILINE
    )
    return text, registers + memories


@pytest.fixture(scope="module")
def bare():
    generated = generate(CONFIG, top="signacc_tiny_bare")
    text, count = without_initial_values(generated.text)
    assert count > 100
    assert "initial begin" not in text
    return build(text, generated.top)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_power_up(bare, seed):
    random = np.random.default_rng(seed)
    runs = [random_run(random, CONFIG) for _ in range(30)]
    plusargs = ["+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
    results = execute_runs(bare, CONFIG, runs, plusargs=plusargs)
    check_values(CONFIG, runs, results)
    for run, result in zip(runs, results, strict=True):
        stalls = StallPattern(run.stall_seed, run.stall_probability)
        assert simulate(CONFIG, run.shapes, stalls).cycles == result.cycles
