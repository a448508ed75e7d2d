"""What is kept of a sanitizer's output."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SAID = """========= COMPUTE-SANITIZER
a line of the program
========= Error: Race reported between Write access at decode_step+0x15b10
=========     and Read access at decode_step+0x15fc0 [144 hazards]
=========
=========     Host Frame: cuLaunchKernelEx [0x1]
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""


@pytest.fixture
def gpu_sanitize(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_sanitize")


def test_every_report_of_a_tool_is_kept_and_printed(gpu_sanitize):
    found = gpu_sanitize.findings_of(SAID)
    assert found == [
        "Error: Race reported between Write access at decode_step+0x15b10",
        "and Read access at decode_step+0x15fc0 [144 hazards]",
        "RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)",
    ]
    text = gpu_sanitize.table({"racecheck": []}, {"racecheck": "s"}, {"racecheck": found})
    assert all(line in text for line in found)
    assert len(gpu_sanitize.findings_of(SAID * 100)) == gpu_sanitize.MOST
