from dataclasses import replace
from types import SimpleNamespace

import pytest

from hw.config import EngineConfig
from sim.energy import (
    ASIC45,
    TECHNOLOGIES,
    Activity,
    Events,
    beat_add_pj,
    beat_register_bits,
    calibrated,
    on_chip_energy_j,
    sign_accumulate_pj,
    tree_levels,
)
from sim.errors import InputError
from sim.interval import Interval


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
    assert beat_register_bits(shape) == (2 * 8, 32 + 2 * (2 * 9 + 10 + 20))
    # two levels a stage: only the 10-bit sum is stored
    assert beat_register_bits(array(levels_per_stage=2)) == (2 * 8, 32 + 2 * (10 + 20))


def test_shared_sums_leave_an_adder_per_group():
    # 8 inputs in groups of 4: two operands of 10 bits, one addition of 11
    assert tree_levels(array(k_par=8, group=4)) == [(1, 11)]
    # beat of 16 bits twice, word of 8 * 8; per output one sum of 11 bits, an accumulator of 20
    assert beat_register_bits(array(k_par=8, group=4)) == (2 * 16, 64 + 2 * (11 + 20))


@pytest.mark.parametrize("k_par", [1, 2, 3, 5, 7, 32, 49])
def test_a_tree_has_one_adder_less_than_operands(k_par):
    assert sum(adders for adders, _ in tree_levels(array(k_par=k_par))) == k_par - 1
    assert min(beat_register_bits(array(k_par=k_par))) > 0


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
        vector_beats=30,  # three token vectors share every beat
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
        30 * beat_add_pj(ASIC45, shape).nominal + 0.009 * (10 * 2 * 8 + 30 * (32 + 2 * 48))
    )
    assert pico["front_end_and_drain"] == pytest.approx(5 * 1.1 + 3 * 0.1)
    assert pico["vector_unit"] == pytest.approx(9 * (1.1 + 0.4))
    assert pico["sram"] == pytest.approx(150 * 0.156)
    assert events.to_dict()["macs"] == 7


def test_events_add_up():
    one = Events(weight_beats=1, wide_adds=2, wide_bits=90, macs=3)
    both = one + Events(macs=4).times(2)
    assert both == Events(weight_beats=1, wide_adds=2, wide_bits=90, macs=11)
    assert Events() + one == one
    with pytest.raises(ValueError, match="one width, not 90 and 91"):
        one + Events(wide_adds=1, wide_bits=91)


def test_activity_multiplies_its_class_alone():
    events = Events(weight_beats=10, vector_beats=10, macs=7, sram_read_bits=100)
    half = Activity(factors={"adders": Interval.exactly(0.5)}, source="test")
    before = on_chip_energy_j(ASIC45, array(), events)
    after = on_chip_energy_j(ASIC45, array(), events, half)
    saved = before["array"].nominal - after["array"].nominal
    tree = beat_add_pj(ASIC45, array()).nominal - 2 * ASIC45.int_add_pj(20).nominal
    assert saved == pytest.approx(5e-12 * tree)
    assert {k: v for k, v in after.items() if k != "array"} == {
        k: v for k, v in before.items() if k != "array"
    }


@pytest.mark.parametrize(
    ("net_class", "part", "picojoules"),
    [
        ("accumulators", "array", 10 * 2 * 0.065),  # 20 bits: half way between 8 and 32
        ("array_registers", "array", 0.009 * (10 * 2 * 8 + 10 * (32 + 2 * 48))),
        ("front_end", "front_end_and_drain", 5 * 1.1),
        ("wide_adders", "front_end_and_drain", 3 * 0.1),
        ("vector_unit", "vector_unit", 7 * 1.5),
        ("on_chip_memory", "sram", 100 * 0.156),
    ],
)
def test_every_class_scales_its_events(net_class, part, picojoules):
    events = Events(
        weight_beats=10, vector_beats=10, wide_adds=3, front_end_muls=5, macs=7, sram_read_bits=100
    )
    third = Activity(factors={net_class: Interval.exactly(1 / 3)}, source="test")
    before = on_chip_energy_j(ASIC45, array(), events)
    after = on_chip_energy_j(ASIC45, array(), events, third)
    for name, energy in before.items():
        saved = picojoules * 2e-12 / 3 if name == part else 0
        assert energy.nominal - after[name].nominal == pytest.approx(saved, abs=1e-18)


@pytest.mark.parametrize("data", ["real", "random", "none"])
def test_published_binary_weight_chip_lies_in_the_range(data):
    # YodaNN: 61.2 TOp/s/W, 65 nm, 0.6 V, 12-bit activations, 2 operations per sign-accumulate.
    # Capacitance goes with the node, energy with V^2: brought to 45 nm and 0.9 V.
    published_pj = 2 / 61.2 * (45 / 65) * (0.9 / 0.6) ** 2
    shape = EngineConfig(
        name="yodann", k_par=49, n_par=32, act_bits=12, k_max=4096, n_max=4096, levels_per_stage=9
    )
    activity = calibrated(shape, data)
    registers = ASIC45.register_bit.value * (sum(beat_register_bits(shape)) / (49 * 32))
    ours = sign_accumulate_pj(ASIC45, shape, activity)
    ours = ours + registers * activity.factor("array_registers")
    assert ours.low <= published_pj <= ours.high


def constant_of(picojoules):
    return replace(ASIC45.register_bit, value=Interval.exactly(picojoules))


def test_operations_are_priced_by_their_own_constants():
    """Where the shipped technologies have two constants alike, these have not."""
    technology = replace(
        ASIC45, fp16_add=constant_of(2.0), fp16_mul=constant_of(3.0),
        sram_read_bit=constant_of(5.0), sram_write_bit=constant_of(7.0),
    )  # fmt: skip
    events = Events(array_float_adds=10, array_float_muls=100, sram_read_bits=10,
                    sram_write_bits=100)  # fmt: skip
    parts = on_chip_energy_j(technology, array(), events)
    assert parts["array"].nominal == pytest.approx((10 * 2 + 100 * 3) * 1e-12)
    assert parts["sram"].nominal == pytest.approx((10 * 5 + 100 * 7) * 1e-12)
