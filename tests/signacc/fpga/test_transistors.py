"""Transistors a lane of docs/architecture.md, by the passes that it names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hw.config import PRESETS
from hw.verilog import generate_array
from signacc.fpga.tools import find_yosys

from .yosys import need_yosys, yosys

PAGE = Path(__file__).parents[3] / "docs/architecture.md"
PASSES = ("synth", "dfflegalize -cell $_DFF_P_ 01", "abc -g cmos", "opt_clean", "stat -tech cmos")


def transistors_a_lane(folder: Path, structure: str, group: int) -> float:
    """Return Yosys' estimate for the array of asic7 with 32 x 64 lanes, over its lanes."""
    config = replace(
        PRESETS["asic7"], name="array", n_par=64, m_par=1, structure=structure, group=group
    )
    array = generate_array(config)
    (folder / "array.v").write_text(array.text)
    synth, legal, gates, clean, count = PASSES
    yosys(
        folder, "read_verilog array.v", f"{synth} -top {array.top}", legal, gates, clean,
        f"tee -q -o count.txt {count}",
    )
    found = re.findall(
        r"number of transistors:\s+(\d+)(\+?)", (folder / "count.txt").read_text()
    )[-1]
    assert found[1] == "", "a plus: cells that are not counted"
    return int(found[0]) / config.lanes


@pytest.mark.parametrize(("structure", "group", "words"), [
    ("direct", 1, "direct"), ("triple", 1, "triple"), ("shared", 2, "shared pairs"),
    ("shared", 4, "shared fours"),
])  # fmt: skip
def test_architecture_quotes_the_transistors(tmp_path, structure, group, words):
    need_yosys()
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    (version,) = re.findall(r"Transistors a lane as Yosys (\d+\.\d+) estimates", text)
    if not find_yosys().version.startswith(f"Yosys {version}"):
        pytest.skip(f"the page's figures are of Yosys {version}, this is {find_yosys().version}")
    assert f"({', '.join(f'`{one}`' for one in PASSES)};" in text
    assert f"{words} {transistors_a_lane(tmp_path, structure, group):,.0f}" in text
