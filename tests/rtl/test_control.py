"""Runs control_bench.py on the generated Verilog."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hw.config import PRESETS
from signacc.cosim.build import run_bench

pytestmark = pytest.mark.rtl
TESTS = re.findall(
    r"^async def (\w+)\(dut\) -> None:", Path(__file__).with_name("control_bench.py").read_text(),
    re.MULTILINE,
)


def test_all_benches_are_named():
    assert len(TESTS) == 6


@pytest.mark.parametrize("name", TESTS)
def test_control(name, tiny, tmp_path):
    environment = {"CONTROL_CONFIG": json.dumps(PRESETS["tiny"].to_dict())}
    run_bench(tiny, "control_bench", tests=[name], work=tmp_path, environment=environment)


@pytest.mark.parametrize("name", TESTS)
def test_control_of_tables(name, tables, tables_config, tmp_path):
    environment = {"CONTROL_CONFIG": json.dumps(tables_config.to_dict())}
    run_bench(tables, "control_bench", tests=[name], work=tmp_path, environment=environment)
