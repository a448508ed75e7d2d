"""Runs the AXI benches on the generated Verilog."""

from __future__ import annotations

import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from axi_runner import run_core

from hw.axi.config import AxiConfig
from hw.config import PRESETS, EngineConfig
from signacc.cosim.build import BenchError

pytestmark = pytest.mark.rtl
TINY = PRESETS["tiny"]
# No width is a power of two, weight beats do not fill their bytes, several results a beat, several
# token vectors.
ODD = replace(
    TINY, name="odd", k_par=3, n_par=6, m_par=3, act_par=3, out_par=2, k_max=50, n_max=40
)
# Look-up tables of ternary weights, a scale for each output.
ROW = EngineConfig(
    name="row", k_par=6, n_par=4, m_par=2, structure="tables", group=3, ternary=True,
    scale_out="row", act_bits=8, k_max=50, n_max=40, act_par=2, out_par=2,
)
# Weights in the engine, shared sums, scales by groups; 9 words, 14 tiles, 18-bit beats.
RESIDENT = EngineConfig(
    name="resident", k_par=6, n_par=3, m_par=2, structure="shared", group=2, scale_out="groups",
    weights="memory", weight_words=150, act_bits=10, k_max=50, n_max=40, act_par=3, out_par=1,
)
# The smallest maxima that are legal: one word of inputs, one tile of outputs, of one each; then
# one more of both, with room for two layers in the core.
ONE = EngineConfig(name="one", k_par=1, n_par=1, act_bits=4, k_max=1, n_max=1)
WORD = replace(
    TINY, name="word", scale_out="groups", k_max=TINY.k_par, n_max=TINY.n_par
)
WORD_AND_ONE = replace(RESIDENT, name="word_and_one", k_max=7, n_max=4, weight_words=8)
CORES = {
    "streams-odd": (ODD, AxiConfig()),
    # As wide as a weight beat: the engine can take all that the bus brings.
    "memory-tiny": (TINY, AxiConfig(memory=True, axi_data_bits=32)),
    # 24-bit weight beats and 96-bit chunks from a 128-bit bus: none a multiple of another.
    "memory-odd": (
        ODD, AxiConfig(memory=True, axi_data_bits=128, max_burst=4, outstanding=2, coef_fifo=4)
    ),
    # A beat a burst, one burst on its way, queues of one entry; bfloat16.
    "memory-least": (
        replace(TINY, name="least", act_format="bf16", k_max=60, n_max=40),
        AxiConfig(
            memory=True, axi_data_bits=1024, max_burst=1, outstanding=1, weight_fifo=1, coef_fifo=1
        ),
    ),
    "streams-row": (ROW, AxiConfig()),
    "streams-resident": (RESIDENT, AxiConfig()),
    "memory-row": (ROW, AxiConfig(memory=True, axi_data_bits=64)),
    "memory-resident": (
        RESIDENT, AxiConfig(memory=True, axi_data_bits=32, max_burst=8, outstanding=3)
    ),
    "streams-one": (ONE, AxiConfig()),
    "streams-word-and-one": (WORD_AND_ONE, AxiConfig()),
    "memory-word": (
        WORD,
        AxiConfig(
            memory=True, axi_data_bits=1024, max_burst=1, outstanding=1, weight_fifo=1, coef_fifo=1
        ),
    ),
    "memory-word-and-one": (
        WORD_AND_ONE, AxiConfig(memory=True, axi_data_bits=64, max_burst=8)
    ),
}
# Benches that are not for every engine.
ONLY_FOR = {
    # Where the engine can take all that the bus brings.
    "latency_does_not_starve_the_engine": lambda core: core == "memory-tiny",
    "weight_frames_of_wrong_length": lambda core: not CORES[core][0].resident,
    "scale_frames_of_wrong_length": lambda core: CORES[core][0].scales,
    "loads_of_wrong_length": lambda core: CORES[core][0].resident,
    "loads_stopped_at_many_moments": lambda core: CORES[core][0].resident,
    "many_layers_in_the_core": lambda core: CORES[core][0].resident,
    "loads_between_layers": lambda core: CORES[core][0].resident,
}


def module_of(core: str) -> str:
    return "axi_memory_bench" if CORES[core][1].memory else "axi_bench"


def benches_of(core: str) -> list[str]:
    text = Path(__file__).with_name(f"{module_of(core)}.py").read_text()
    names = re.findall(r"^@cocotb\.test\(\)\nasync def (\w+)\(dut\) -> None:", text, re.MULTILINE)
    return [name for name in names if ONLY_FOR.get(name, lambda core: True)(core)]


def test_all_benches_are_named():
    assert [len(benches_of(core)) for core in CORES] == [
        16, 15, 14, 14, 17, 19, 14, 15, 16, 19, 14, 15
    ]
    assert set().union(*map(benches_of, CORES)) >= set(ONLY_FOR)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Build and run all cores, two at a time; a test waits for its own."""
    # Not forked: a copy of a process with threads may hang.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield {
            core: pool.submit(
                run_core, config, axi, module_of(core), benches_of(core),
                tmp_path_factory.mktemp(core),
            )
            for core, (config, axi) in CORES.items()
        }


@pytest.mark.parametrize("core", CORES)
def test_core(core, running):
    running[core].result()


def test_a_bench_that_fails_is_seen(tmp_path):
    """No bench of this name: nothing ran, so nothing passed."""
    with pytest.raises(BenchError, match="bench axi_bench"):
        run_core(*CORES["streams-odd"], "axi_bench", ["no_such_bench"], tmp_path)
