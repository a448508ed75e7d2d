"""The devices: names, speed grades, pins."""

import re
from pathlib import Path

import pytest

from golden.errors import InputError
from signacc.fpga.targets import TARGETS, named_target


def test_every_target_is_known_by_its_name():
    assert all(named_target(name).name == name for name in TARGETS)


def test_an_unknown_target():
    with pytest.raises(InputError, match=r"a target is one of ecp5-25k, .*, not 'ecp6'"):
        named_target("ecp6")


def test_speed_grades():
    ecp5 = named_target("ecp5-85k")
    assert ecp5.speed(None) == "6"
    assert ecp5.speed("8") == "8"
    with pytest.raises(InputError, match="speed grades of ecp5-85k: 6, 7, 8; not '9'"):
        ecp5.speed("9")
    with pytest.raises(InputError, match="speed grades of ice40-hx8k: none to choose; not '1'"):
        named_target("ice40-hx8k").speed("1")


def test_pins_where_the_tool_insists():
    assert named_target("ecp5-85k").pin_file is None
    assert 'IO_LOC "clk" H11;\n' in named_target("gowin-gw2a18").pin_file
    assert named_target("nexus-40").pin_file.startswith("ldc_set_location -site {E17} ")


def test_the_page_has_every_target():
    """Its table, and what a target lacks of place and route."""
    page = (Path(__file__).parents[3] / "docs/fpga.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(?:ecp5|ice40|gowin|nexus|xcup)-.*$", page, re.MULTILINE)
    assert len(rows) == len(TARGETS)
    for row, target in zip(rows, TARGETS.values(), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[0] == f"`{target.name}`"
        assert cells[2:] == [
            f"{target.lut.available:,} {target.lut.label}", f"{target.bram.available:,}",
            f"{target.dsp.available:,}", target.nextpnr or "none: synthesis only",
        ]


def test_ultrascale_is_synthesis_only():
    assert {t.name for t in TARGETS.values() if t.nextpnr is None} == {"xcup-k26", "xcup-u280"}
