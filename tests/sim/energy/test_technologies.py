from dataclasses import replace

import pytest

from sim.energy import (
    ASIC7,
    ASIC28,
    ASIC45,
    FPGA16,
    FPGA28,
    FPGA_ECP5,
    FPGA_NODE_RATIO,
    TECHNOLOGIES,
    energy_ratio,
    named_technology,
)
from sim.errors import InputError


def test_scaling_to_16_nm_by_hand():
    # E = a V^2 + b V + c; 45 nm at 0.9 V: 0.8443; 16 nm at 0.85 V: 0.1385
    assert energy_ratio(45, 0.9) == 1
    forty_five = 1.103 * 0.81 - 0.362 * 0.9 + 0.2767
    sixteen = 0.2958 * 0.7225 - 0.1241 * 0.85 + 0.03024
    assert energy_ratio(16, 0.85) == pytest.approx(sixteen / forty_five)
    assert FPGA_NODE_RATIO.nominal == pytest.approx(0.164, abs=1e-3)
    assert FPGA16.int_add_32.value.nominal == pytest.approx(0.1 * 0.164 * 13, rel=1e-2)
    with pytest.raises(InputError, match="a node must be one of 45, 32, 20, 16, 7 nm, not 3"):
        energy_ratio(3, 0.7)


def test_a_28_nm_fpga_by_hand():
    # 32 nm at 0.9 V: 0.9559 * 0.81 - 0.7823 * 0.9 + 0.471 = 0.5412; 20 nm at 0.8 V: 0.1532
    late, early = 0.1532 / 0.8443, 0.5412 / 0.8443
    constant = FPGA28.int_add_32.value
    assert constant.low == pytest.approx(0.05 * late * 12, rel=1e-3)
    assert constant.nominal == pytest.approx(0.1 * (late * early) ** 0.5 * 13, rel=1e-3)
    assert FPGA28.fp16_mul.value.low == pytest.approx(0.55 * late, rel=1e-3)  # as good as cells
    for name, other in FPGA16.constants().items():
        assert FPGA28.constants()[name].value.nominal > other.value.nominal


def test_an_fpga_costs_more_than_standard_cells_of_a_later_node():
    for name, constant in FPGA16.constants().items():
        assert constant.value.nominal > ASIC7.constants()[name].value.nominal


@pytest.mark.parametrize("technology", TECHNOLOGIES.values(), ids=lambda t: t.name)
def test_every_constant_has_range_source_and_mark(technology):
    assert named_technology(technology.name) is technology
    constants = technology.constants()
    assert len(constants) == 7
    for constant in constants.values():
        assert constant.mark in ("published", "unverified", "scaled", "assumed")
        assert ("unverified" in constant.source) <= (constant.mark != "published")
        assert constant.source
        assert constant.value.low < constant.value.nominal < constant.value.high
        if "unverified" in constant.source:
            assert constant.value.high >= 2 * constant.value.nominal
        assert set(constant.to_dict()) == {"low", "nominal", "high", "unit", "mark", "source"}


def test_unknown_technology():
    with pytest.raises(InputError, match="one of 45nm, 28nm, 7nm, fpga16, fpga28, ecp5, not '3nm'"):
        named_technology("3nm")


def test_a_technology_is_a_value():
    assert replace(ASIC45, name="other").int_add_8 is ASIC45.int_add_8


def test_28_nm_costs_less_than_45_and_more_than_7_can():
    # fp16_add: the 7 nm figure (its own source, unverified) is above the scaled 28 nm one
    for name in ("int_add_8", "int_add_32", "fp16_mul", "fp16_add", "register_bit"):
        seven, mine, older = (getattr(t, name).value for t in (ASIC7, ASIC28, ASIC45))
        assert seven.low < mine.nominal < older.nominal, name
    # 20 nm at 0.8 V: 0.373*0.64 - 0.1582*0.8 + 0.04104 = 0.1532 of 0.8443
    assert ASIC28.int_add_8.value.low == pytest.approx(0.015 * 0.1532 / 0.8443, rel=1e-3)
    # 32 nm at 0.9 V: 0.9559*0.81 - 0.7823*0.9 + 0.471 = 0.5412 of 0.8443
    assert ASIC28.int_add_8.value.high == pytest.approx(0.063 * 0.5412 / 0.8443, rel=1e-3)


def test_ecp5_by_hand():
    # 1.1 V against 0.9 V at 45 nm: (1.103*1.21 - 0.362*1.1 + 0.2767) / 0.8443 = 1.4368; times 13
    assert FPGA_ECP5.int_add_8.value.nominal == pytest.approx(0.03 * 1.4368 * 13, rel=1e-3)
