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
from hw.config import PRESETS
from signacc.cosim.build import BenchError

pytestmark = pytest.mark.rtl
TINY = PRESETS["tiny"]
# No width is a power of two, weight beats do not fill their bytes, several results a beat, several
# token vectors.
ODD = replace(
    TINY, name="odd", k_par=3, n_par=6, m_par=3, act_par=3, out_par=2, k_max=50, n_max=40
)
CORES = {
    "streams-odd": (ODD, AxiConfig()),
    # As wide as a weight beat: the engine can take all that the bus brings.
    "memory-tiny": (TINY, AxiConfig(memory=True, axi_data_bits=32)),
    # 24-bit weight beats and 96-bit chunks from a 128-bit bus: none a multiple of another.
    "memory-odd": (
        ODD, AxiConfig(memory=True, axi_data_bits=128, max_burst=4, outstanding=2, coef_fifo=4)
    ),
}
AS_FAST_AS_THE_BUS = "latency_does_not_starve_the_engine"


def module_of(core: str) -> str:
    return "axi_memory_bench" if CORES[core][1].memory else "axi_bench"


def benches_of(core: str) -> list[str]:
    text = Path(__file__).with_name(f"{module_of(core)}.py").read_text()
    names = re.findall(r"^@cocotb\.test\(\)\nasync def (\w+)\(dut\) -> None:", text, re.MULTILINE)
    return [name for name in names if core != "memory-odd" or name != AS_FAST_AS_THE_BUS]


def test_all_benches_are_named():
    assert [len(benches_of(core)) for core in CORES] == [13, 13, 12]


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
