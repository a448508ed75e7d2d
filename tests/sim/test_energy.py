from dataclasses import replace
from types import SimpleNamespace

import pytest

from sim.energy import (
    ASIC7,
    ASIC45,
    FPGA16,
    FPGA_NODE_RATIO,
    TECHNOLOGIES,
    Events,
    beat_add_pj,
    beat_register_bits,
    energy_ratio,
    named_technology,
    on_chip_energy_j,
    sign_accumulate_pj,
    tree_levels,
)
from sim.errors import InputError


def array(k_par=4, n_par=2, act_bits=8, acc_bits=20, levels_per_stage=1, group=1):
    return SimpleNamespace(
        k_par=k_par,
        n_par=n_par,
        groups=k_par // group,
        weight_beat_bits=k_par * n_par,
        act_bits=act_bits,
        term_bits=act_bits + (group - 1).bit_length(),
        acc_bits=acc_bits,
        levels_per_stage=levels_per_stage,
    )


def test_addition_energy_is_the_line_through_the_published_points():
    assert ASIC45.int_add_pj(8).nominal == pytest.approx(0.03)
    assert ASIC45.int_add_pj(32).nominal == pytest.approx(0.1)
    assert ASIC45.int_add_pj(20).nominal == pytest.approx((0.03 + 0.1) / 2)
    assert ASIC45.int_add_pj(56).nominal == pytest.approx(0.1 + 0.07)
    with pytest.raises(InputError, match="an addition must be of at least 4 bits, not 3"):
        ASIC45.int_add_pj(3)


@pytest.mark.parametrize("technology", TECHNOLOGIES.values(), ids=lambda t: t.name)
def test_wider_additions_cost_more_at_every_bound(technology):
    energies = [technology.int_add_pj(bits) for bits in (4, 8, 12, 16, 24, 32, 100)]
    for bound in ("low", "nominal", "high"):
        values = [getattr(energy, bound) for energy in energies]
        assert values == sorted(values)
        assert values[0] > 0


def test_beat_by_hand():
    # 4 operands of 8 bits: two 9-bit additions, one of 10 bits, one into the 20-bit accumulator
    shape = array()
    assert tree_levels(shape) == [(2, 9), (1, 10)]
    per_bit = (0.1 - 0.03) / 24
    by_hand = 2 * (0.03 + per_bit) + (0.03 + 2 * per_bit) + (0.03 + 12 * per_bit)
    assert beat_add_pj(ASIC45, shape).nominal == pytest.approx(2 * by_hand)
    assert sign_accumulate_pj(ASIC45, shape).nominal == pytest.approx(by_hand / 4)
    # flip-flops: beat of 8 bits twice, word of 4 * 8; per output: 2 sums of 9, 1 of 10, 20
    assert beat_register_bits(shape) == 2 * 8 + 32 + 2 * (2 * 9 + 10 + 20)
    # two levels a stage: only the 10-bit sum is stored
    assert beat_register_bits(array(levels_per_stage=2)) == 2 * 8 + 32 + 2 * (10 + 20)


def test_shared_sums_leave_an_adder_per_group():
    # 8 inputs in groups of 4: two operands of 10 bits, one addition of 11
    assert tree_levels(array(k_par=8, group=4)) == [(1, 11)]
    # beat of 16 bits twice, word of 8 * 8; per output one sum of 11 bits, an accumulator of 20
    assert beat_register_bits(array(k_par=8, group=4)) == 2 * 16 + 64 + 2 * (11 + 20)


@pytest.mark.parametrize("k_par", [1, 2, 3, 5, 7, 32, 49])
def test_a_tree_has_one_adder_less_than_operands(k_par):
    assert sum(adders for adders, _ in tree_levels(array(k_par=k_par))) == k_par - 1
    assert beat_register_bits(array(k_par=k_par)) > 0


def test_sixteen_bit_activations_cost_more_than_eight():
    narrow = array(k_par=32, n_par=32, act_bits=8, acc_bits=22)
    wide = array(k_par=32, n_par=32, act_bits=16, acc_bits=30)
    for technology in TECHNOLOGIES.values():
        ratio = (
            sign_accumulate_pj(technology, wide).nominal
            / sign_accumulate_pj(technology, narrow).nominal
        )
        assert 1 < ratio < 2.5


def test_events_by_hand():
    events = Events(
        weight_beats=10,
        wide_adds=3,
        wide_bits=32,
        front_end_muls=5,
        macs=7,
        vector_ops=2,
        sram_read_bits=100,
        sram_write_bits=50,
    )
    shape = array()
    parts = on_chip_energy_j(ASIC45, shape, events)
    assert set(parts) == {"array", "front_end_and_drain", "vector_unit", "sram"}
    pico = {part: energy.nominal * 1e12 for part, energy in parts.items()}
    assert pico["array"] == pytest.approx(
        10 * (beat_add_pj(ASIC45, shape).nominal + 0.009 * beat_register_bits(shape))
    )
    assert pico["front_end_and_drain"] == pytest.approx(5 * 1.1 + 3 * 0.1)
    assert pico["vector_unit"] == pytest.approx(9 * (1.1 + 0.4))
    assert pico["sram"] == pytest.approx(150 * 0.156)
    assert events.to_dict()["macs"] == 7


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


def test_an_fpga_costs_more_than_standard_cells_of_a_later_node():
    for name, constant in FPGA16.constants().items():
        assert constant.value.nominal > ASIC7.constants()[name].value.nominal


def test_published_binary_weight_chip_lies_in_the_range():
    # YodaNN: 61.2 TOp/s/W, 65 nm, 0.6 V, 12-bit activations, 2 operations per sign-accumulate.
    # Capacitance goes with the node, energy with V^2: brought to 45 nm and 0.9 V.
    published_pj = 2 / 61.2 * (45 / 65) * (0.9 / 0.6) ** 2
    shape = array(k_par=49, n_par=32, act_bits=12, acc_bits=24, levels_per_stage=9)
    registers = ASIC45.register_bit.value * (beat_register_bits(shape) / (49 * 32))
    ours = sign_accumulate_pj(ASIC45, shape) + registers
    assert ours.low <= published_pj <= ours.high


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
    with pytest.raises(InputError, match="a technology is one of 45nm, 7nm, fpga16, not '3nm'"):
        named_technology("3nm")


def test_a_technology_is_a_value():
    assert replace(ASIC45, name="other").int_add_8 is ASIC45.int_add_8
