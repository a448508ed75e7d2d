"""Builds a core and runs benches on it: a function that a process of its own can import.

The core needs a reset, but no initial values: they are taken out, and everything powers up at
random.

Not named test_*: pytest must not collect it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bare import random_power_up, without_initial_values

from hw.axi.config import AxiConfig
from hw.axi.verilog import generate_axi
from hw.config import EngineConfig
from signacc.cosim.build import build, run_bench


def run_core(
    config: EngineConfig, axi: AxiConfig, module: str, tests: Sequence[str], work: Path
) -> None:
    """Run `tests` of a bench module on the core; raises BenchError if one does not pass."""
    generated = generate_axi(config, axi)
    text, count = without_initial_values(generated.text)
    assert count > 100
    assert "initial begin" not in text
    run_bench(
        build(text, generated.top),
        module,
        tests=tests,
        work=work,
        environment={
            "SIGNACC_AXI_ENGINE": json.dumps(config.to_dict()),
            "SIGNACC_AXI_BUSES": json.dumps(axi.to_dict()),
        },
        plusargs=random_power_up(1),
    )
