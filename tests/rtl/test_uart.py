"""Runs uart_bench.py on an engine behind its serial line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hw.config import PRESETS
from hw.uart import UartEngine
from hw.verilog import convert
from signacc.cosim.build import build, run_bench

pytestmark = pytest.mark.rtl
TESTS = re.findall(
    r"^async def (\w+)\(dut\) -> None:", Path(__file__).with_name("uart_bench.py").read_text(),
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def linked():
    text = convert(UartEngine(PRESETS["tiny"], divisor=4), "uart_tiny")
    return build(text, "uart_tiny")


def test_all_benches_are_named():
    assert len(TESTS) == 4


@pytest.mark.parametrize("name", TESTS)
def test_uart(name, linked, tmp_path):
    run_bench(linked, "uart_bench", tests=[name], work=tmp_path)
