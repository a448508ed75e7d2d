"""LUTs of arrays: measured, by a stated rule, or refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hw.config import PRESETS, EngineConfig
from sim.errors import InputError
from sim.explore.area import array_area, rows_of_record

ROOT = Path(__file__).parents[3]
RECORD = json.loads((ROOT / "benchmarks/results/pnr.json").read_text())
CASES = [
    case for case in RECORD["results"]["cases"]
    if case["part"] == "array" and case["target"]["name"] in ("ecp5-85k", "xcup-k26")
]


def test_table_is_that_of_the_measurement():
    table = json.loads((ROOT / "sim/explore/data/area.json").read_text())
    assert table["rows"] == rows_of_record(RECORD)
    assert len(table["rows"]) == len(CASES) > 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_measured_array_has_its_own_figure(case):
    engine = EngineConfig.from_dict(case["config"])
    area = array_area(engine, "ecp5" if case["target"]["name"] == "ecp5-85k" else "fpga16")
    routed = case.get("place_and_route")
    assert area.mark == "measured"
    assert area.lut == (routed["lut"] if routed else case["synthesis"]["lut"])


def test_tables_made_in_another_way_are_not_the_measured_array():
    measured = next(c for c in CASES if c["name"] == "tables4_32x32_a16-array@xcup-k26")
    engine = EngineConfig.from_dict(measured["config"])
    assert array_area(replace(engine, act_par=4), "fpga16").mark == "modelled"


@pytest.mark.parametrize("change", [{"k_par": 64}, {"m_par": 2}, {"n_par": 64}])
def test_twice_the_lanes_take_twice_the_luts_and_are_marked(change):
    measured = next(c for c in CASES if c["name"] == "tables4_32x32_a16-array@xcup-k26")
    area = array_area(replace(EngineConfig.from_dict(measured["config"]), **change), "fpga16")
    assert (area.mark, area.lut) == ("modelled", 2 * measured["synthesis"]["lut"])
    assert f"{measured['synthesis']['lut'] / 1024:.2f} LUT" in area.rule


def test_wider_accumulators_are_not_the_measured_array():
    assert array_area(PRESETS["kv260"], "fpga16").mark == "modelled"


@pytest.mark.parametrize(
    ("change", "technology", "message"),
    [
        ({"act_bits": 12}, "fpga16", "tables, group 4, 12 bits"),
        ({"group": 2}, "fpga16", "tables, group 2, 16 bits"),
        ({}, "ecp5", "tables, group 4, 16 bits on ecp5-85k"),
        ({"ternary": True, "group": 2}, "fpga16", "ternary tables"),
        ({}, "7nm", "among fpga16, ecp5, not of '7nm'"),
    ],
)
def test_what_was_not_measured_is_refused(change, technology, message):
    with pytest.raises(InputError, match=message):
        array_area(replace(PRESETS["kv260"], **change), technology)
