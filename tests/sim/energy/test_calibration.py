import json
from dataclasses import replace
from pathlib import Path

import pytest

from hw.config import PRESETS, EngineConfig
from sim.energy import (
    ACTIVITIES,
    ASIC45,
    NET_CLASSES,
    UNCALIBRATED,
    beat_add_pj,
    calibrated,
)
from sim.energy.calibration import rows_of_record
from sim.errors import InputError
from sim.interval import Interval

ROOT = Path(__file__).parents[3]
RECORD = json.loads((ROOT / "benchmarks/results/activity.json").read_text())
ENGINES = {
    name: EngineConfig.from_dict(entry["config"])
    for name, entry in RECORD["results"]["engines"].items()
}
TABLE = json.loads((ROOT / "sim/energy/data/activity.json").read_text())


def toggles(name, kind, part):
    return RECORD["results"]["engines"][name]["data"][kind]["toggles_per_bit"][part]


def test_the_table_is_that_of_the_record():
    assert TABLE["rows"] == rows_of_record(RECORD)
    assert RECORD["command"].split(" --")[0] in TABLE["source"]


@pytest.mark.parametrize("name", ENGINES)
def test_real_and_random_data_differ_and_real_is_the_default(name):
    engine = ENGINES[name]
    real, random = (calibrated(engine, data) for data in ("real", "random"))
    assert calibrated(engine) == real
    assert real.data == "real"
    assert real.factor("adders").nominal == pytest.approx(toggles(name, "real", "adders") / 0.5)
    assert random.factor("adders").nominal == pytest.approx(toggles(name, "random", "adders") / 0.5)
    assert real.factor("adders").nominal != random.factor("adders").nominal
    assert real.marks["adders"] == "measured"
    # the range is that of both
    for net_class in NET_CLASSES:
        ours, theirs = real.factor(net_class), random.factor(net_class)
        assert (ours.low, ours.high) == (theirs.low, theirs.high), net_class
        assert ours.low <= min(ours.nominal, theirs.nominal)
        assert ours.high >= max(ours.nominal, theirs.nominal)


def test_factors_by_hand():
    name = "direct_a8"
    engine = ENGINES[name]
    factor = calibrated(engine).factor
    # half of a flip-flop's energy is its clock's, from none to all of it
    registers = toggles(name, "real", "array_registers") / 0.5
    assert factor("array_registers").nominal == pytest.approx(0.5 + 0.5 * registers)
    assert factor("array_registers").low <= min(1, registers)
    assert factor("array_registers").high >= 1
    # floats: against the same multipliers on random numbers
    random = toggles(name, "random", "front_end_multipliers")
    assert factor("front_end").nominal == pytest.approx(
        toggles(name, "real", "front_end_multipliers") / random
    )
    assert calibrated(engine, "random").factor("front_end").nominal == pytest.approx(1)
    assert factor("on_chip_memory") == factor("vector_unit") == Interval.exactly(1)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_factors(name):
    activity = calibrated(PRESETS[name])
    assert set(activity.marks.values()) == {"modelled"}  # none has 16 x 16 lanes
    for net_class in NET_CLASSES:
        assert 0 < activity.factor(net_class).nominal < 1.5


def test_other_widths_take_the_nearest():
    engine = ENGINES["direct_a8"]
    near = calibrated(replace(engine, act_bits=6))
    assert near.factors == calibrated(engine).factors
    assert set(near.marks.values()) == {"modelled"}
    assert set(calibrated(replace(engine, ternary=True)).marks.values()) == {"assumed"}


@pytest.mark.parametrize("structure", ["direct", "triple", "shared", "tables"])
@pytest.mark.parametrize("data", ["real", "random"])
def test_every_bound_is_in_order(structure, data):
    group = {"direct": 1, "triple": 1, "shared": 2, "tables": 4}[structure]
    for act_bits in (4, 8, 11, 12, 13, 16, 24):
        engine = EngineConfig(
            name="any", k_par=8, n_par=8, act_bits=act_bits, k_max=64, n_max=64,
            structure=structure, group=group,
        )
        energy = beat_add_pj(ASIC45, engine, calibrated(engine, data))
        assert 0 < energy.low < energy.nominal < energy.high


def test_energy_is_in_proportion():
    engine = ENGINES["direct_a8"]
    activity = calibrated(engine)
    plain = beat_add_pj(ASIC45, engine)
    scaled = beat_add_pj(ASIC45, engine, activity)
    accumulator = ASIC45.int_add_pj(engine.acc_bits) * engine.n_par
    for bound in ("low", "nominal", "high"):
        part = getattr(accumulator, bound)
        by_hand = (getattr(plain, bound) - part) * getattr(activity.factor("adders"), bound)
        by_hand += part * getattr(activity.factor("accumulators"), bound)
        assert getattr(scaled, bound) == pytest.approx(by_hand)


def test_no_activity_leaves_the_constants():
    assert calibrated(ENGINES["direct_a8"], "none") is UNCALIBRATED
    assert ACTIVITIES == ("real", "random", "none")
    with pytest.raises(InputError, match="activity must be one of real, random, none, not 'warm'"):
        calibrated(ENGINES["direct_a8"], "warm")
