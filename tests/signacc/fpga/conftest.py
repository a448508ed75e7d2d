"""What several tests of the FPGA flows need."""

from __future__ import annotations

import pytest

from hw.config import PRESETS
from hw.verilog import generate


@pytest.fixture(scope="session")
def tiny():
    """Return the generated engine of the preset tiny."""
    return generate(PRESETS["tiny"])
