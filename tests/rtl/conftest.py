"""Built engines for the RTL tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hw.config import PRESETS
from signacc.cosim.run import build_engine

# Bench modules are imported by name, here and in the simulator's Python.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny():
    return build_engine(PRESETS["tiny"])
