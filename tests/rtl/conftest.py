"""Built engines for the RTL tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hw.config import PRESETS, EngineConfig
from signacc.cosim.run import build_engine

# Bench modules are imported by name, here and in the simulator's Python.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny():
    return build_engine(PRESETS["tiny"])


@pytest.fixture(scope="session")
def tables_config():
    """A small engine in what `tiny` is not: look-up tables, two vectors for a command."""
    return EngineConfig(
        name="tables", k_par=8, n_par=4, m_par=2, structure="tables", group=4, act_bits=8,
        k_max=100, n_max=60, act_par=2, out_par=1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tables(tables_config):
    return build_engine(tables_config)
