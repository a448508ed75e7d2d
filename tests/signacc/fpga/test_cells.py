"""Counting rules, by arithmetic."""

import pytest

from golden.errors import InputError
from signacc.fpga.cells import RULES, check_fit, count
from signacc.fpga.targets import TARGETS, named_target


def test_ecp5():
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "PFUMX": 5, "TRELLIS_FF": 7,
             "DP16KD": 1, "MULT18X18D": 4}
    counted = count(cells, "ecp5")
    assert (counted.lut, counted.carry, counted.lutram) == (10 + 6 + 8, 6, 8)
    assert counted.ramw == 4
    assert (counted.ff, counted.bram, counted.dsp) == (7, 1, 4)
    assert counted.unknown == ()


def test_ultrascale():
    cells = {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "LUT5": 1, "LUT6": 1, "RAM32M": 1,
             "RAM32M16": 1, "RAM64M": 1, "RAM64M8": 1, "RAM32X1D": 1, "SRL16E": 1, "SRLC32E": 1,
             "CARRY8": 9, "MUXF7": 9, "FDRE": 3, "FDSE": 1, "RAMB36E2": 2, "RAMB18E2": 1}
    counted = count(cells, "xcup")
    assert counted.lutram == 4 + 8 + 4 + 8 + 2 + 1 + 1
    assert counted.lut == 6 + counted.lutram
    assert (counted.ff, counted.bram) == (4, 2.5)


def test_a_cell_without_a_rule_is_named():
    counted = count({"LUT4": 1, "NOVEL": 5}, "ecp5")
    assert counted.unknown == ("NOVEL",)
    assert counted.lut == 1


def test_every_family_says_how_it_counts():
    assert {target.family for target in TARGETS.values()} == RULES.keys()


def test_what_fits_passes():
    check_fit(count({"LUT4": 83640}, "ecp5"), named_target("ecp5-85k"), "top")


def test_each_excess_is_named():
    cells = {"LUT4": 131072, "DP16KD": 416, "MULT18X18D": 156}
    with pytest.raises(InputError) as error:
        check_fit(count(cells, "ecp5"), named_target("ecp5-85k"), "top")
    assert str(error.value) == (
        "top does not fit ecp5-85k: it needs 131,072 LUT4 of 83,640: 1.57 times too many; "
        "416 18 kb block RAMs of 208: 2.00 times too many"
    )


def test_what_the_device_has_none_of():
    with pytest.raises(InputError, match="2 16x16 multipliers of 0: it has none"):
        check_fit(count({"SB_MAC16": 2}, "ice40"), named_target("ice40-hx8k"), "top")


def test_write_ports_of_ram_take_room_too():
    full = {"LUT4": 83640 - 4, "TRELLIS_DPR16X4": 1}
    with pytest.raises(InputError, match=r"83,642 LUT4 of 83,640: 1\.00 times too many"):
        check_fit(count(full, "ecp5"), named_target("ecp5-85k"), "top")
