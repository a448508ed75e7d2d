"""Golden, RTL and simulator held against each other on random configurations, shapes and stalls.

Every case is a sequence of layers on one engine under one stall pattern: its values must equal
golden's to the bit, and the cycle of every vector's last result must equal the simulator's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generators import golden_output, random_config, random_run

from hw.config import STRUCTURES, EngineConfig
from signacc.cosim.run import build_engine, execute_runs
from sim.engine import simulate
from sim.stalls import StallPattern

pytestmark = pytest.mark.rtl
SEED = 4792
CONFIGURATIONS = 10
CASES = 25
# With --full: so many random engines more, and so many cases on every engine.
MORE_CONFIGURATIONS = 16
MORE_CASES = 30


_SMALL = EngineConfig(
    name="small", k_par=2, n_par=4, act_bits=8, k_max=40, n_max=30, act_par=1, out_par=1
)
CORNERS = [
    EngineConfig(name="smallest", k_par=1, n_par=1, act_bits=4, k_max=1, n_max=1),
    EngineConfig(
        name="one_tile", k_par=16, n_par=8, act_bits=24, k_max=16, n_max=8, act_par=16, out_par=8
    ),
    # Every word waits for the partial sums of the word before.
    replace(_SMALL, name="tables_one_tile", structure="tables", group=2, n_max=4),
    # The largest tables: making one takes longer than using it.
    replace(_SMALL, name="tables_largest", structure="tables", group=6, k_par=12, m_par=2, n_par=2),
    replace(
        _SMALL, name="ternary_tables", structure="tables", group=3, ternary=True, k_par=6, m_par=2
    ),
    # Tables that one adder per group fills.
    replace(_SMALL, name="serial_tables", structure="tables", group=2, k_par=6, m_par=2),
    replace(_SMALL, name="serial_ternary", structure="tables", group=2, ternary=True, k_par=6),
    # A row of many adders, and one of the accumulator's alone.
    replace(
        _SMALL, name="triples", structure="triple", k_par=23, k_max=99, n_par=9, m_par=2,
        levels_per_stage=1,
    ),
    replace(_SMALL, name="one_triple", structure="triple", k_par=1, act_bits=4),
    replace(
        _SMALL, name="triple_groups", structure="triple", k_par=4, scale_out="groups", m_par=2,
        out_par=4,
    ),
    replace(_SMALL, name="resident", weights="memory", weight_words=640, m_par=2),
    replace(
        _SMALL, name="resident_tables", structure="tables", group=2, weights="memory",
        weight_words=640,
    ),
    replace(_SMALL, name="row_scales", structure="tables", group=2, scale_out="row", m_par=2),
    replace(_SMALL, name="bf16", act_format="bf16", k_par=4, act_par=2, m_par=2),
    replace(
        _SMALL, name="bf16_tables_row", act_format="bf16", act_bits=16, structure="tables", group=2,
        scale_out="row",
    ),
    # Multipliers and block memory around the array.
    replace(_SMALL, name="blocks", around="blocks", act_par=4, k_par=4, m_par=2),
    replace(
        _SMALL, name="blocks_tables", structure="tables", group=4, k_par=12, around="blocks",
        k_max=100,
    ),
    # Chunks of one group follow each other as fast as they can: all outputs leave at once.
    replace(_SMALL, name="group_scales", scale_out="groups", ternary=True, m_par=2, out_par=4),
]


def configuration(index: int) -> EngineConfig:
    """Random engines, the corners, and the random engines of --full."""
    if CONFIGURATIONS <= index < CONFIGURATIONS + len(CORNERS):
        return CORNERS[index - CONFIGURATIONS]
    return random_config(np.random.default_rng([SEED, index]), f"cross{index}")


def pytest_generate_tests(metafunc):
    if "index" in metafunc.fixturenames:
        more = MORE_CONFIGURATIONS if metafunc.config.getoption("--full") else 0
        metafunc.parametrize("index", range(CONFIGURATIONS + len(CORNERS) + more))


def test_views_agree(index, pytestconfig):
    config = configuration(index)
    print(f"seed [{SEED}, {index}]: {config}")
    random = np.random.default_rng([SEED, index, 1])
    cases = MORE_CASES if pytestconfig.getoption("--full") else CASES
    runs = [random_run(random, config) for _ in range(cases)]
    results = execute_runs(build_engine(config), config, runs)
    for case, (run, result) in enumerate(zip(runs, results, strict=True)):
        about = f"case {case}: {[layer.name for layer in run.layers]}, {run.stall_probability}"
        for layer, output in zip(run.layers, result.outputs, strict=True):
            expected = golden_output(config, layer)
            np.testing.assert_array_equal(
                output.view(np.uint16), expected.view(np.uint16), err_msg=about
            )
        timing = simulate(
            config, run.shapes(config.m_par), StallPattern(run.stall_seed, run.stall_probability)
        )
        assert [v.last_result for v in timing.vectors] == result.last_results, about
        assert timing.cycles == result.cycles, about


def test_configurations_differ():
    configs = [configuration(index) for index in range(CONFIGURATIONS)]
    assert len({(c.k_par, c.n_par, c.act_par, c.out_par, c.act_bits) for c in configs}) >= 9
    assert CONFIGURATIONS * CASES >= 100
    # Every structure, with and without ternary weights, and for more than one vector.
    kinds = {(c.structure, c.ternary) for c in configs}
    every = {(structure, ternary) for structure in STRUCTURES for ternary in (False, True)}
    assert kinds == every - {("triple", True)}
    assert {c.structure for c in configs if c.m_par > 1} == set(STRUCTURES)
    assert {c.m_par for c in configs} == {1, 2, 3}
    assert len({c.group for c in configs}) >= 4


def test_the_full_run_is_of_the_size_that_is_claimed():
    engines = CONFIGURATIONS + len(CORNERS) + MORE_CONFIGURATIONS
    assert engines >= 24
    assert engines * MORE_CASES >= 1000
    few = CONFIGURATIONS + len(CORNERS)
    text = (Path(__file__).parents[2] / "docs/verification.md").read_text(encoding="utf-8")
    assert (
        f"on {engines} engines and {engines * MORE_CASES:,} random sequences of\nlayers "
        f"({few} and {few * CASES} in `make test`)"
    ) in text


def test_commands_carry_less_than_they_could():
    """Some layers have more vectors than a command, and some commands fewer than m_par."""
    for index in range(CONFIGURATIONS):
        config = configuration(index)
        random = np.random.default_rng([SEED, index, 1])
        runs = [random_run(random, config) for _ in range(CASES)]
        sizes = {shape[2] for run in runs for shape in run.shapes(config.m_par)}
        assert sizes == set(range(1, config.m_par + 1))
        assert max(layer.m for run in runs for layer in run.layers) > config.m_par
