"""Design files: what they may hold, and that every number says where it comes from."""

import json
import re
from pathlib import Path

import pytest

from sim.errors import InputError
from sim.generic import GenericEngine
from sim.validation import boards, design_from_file, load_designs, load_figures
from sim.validation.sources import MARKS

FOLDER = Path(__file__).parents[3] / "sim" / "validation"
DESIGNS = load_designs()
MODEL = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 100,
}
ENGINE = {"kind": "generic", "k_par": 8, "n_par": 4, "clock_mhz": 100, "weight_bits": 2}


def known(**more):
    return {"mark": "published", "source": "page 3", **more}


BASE = {
    "schema": "signacc-design-1",
    "name": "mine",
    "family": "me",
    "title": "a machine",
    "reference": "a paper",
    "system": {"board": "kv260", "engine": ENGINE, "vector_lanes": 8},
    "runs": {"decode": {"phase": "decode", "model": MODEL, "context": 3}},
    "parameters": {"system.engine": known(), "system.vector_lanes": known(), "runs": known()},
}


@pytest.fixture
def load(tmp_path):
    def write(without=(), **changes):
        path = tmp_path / "design.json"
        data = {key: value for key, value in (BASE | changes).items() if key not in without}
        path.write_text(json.dumps(data, indent=1))
        return design_from_file(path)

    return write


def test_at_least_seven_machines_of_at_least_five_groups():
    assert len(DESIGNS) >= 7
    assert {"li", "tellme", "tereffic", "ternfpga", "hyperdrive"} <= {d.family for d in DESIGNS}
    assert [design.name for design in DESIGNS] == [p.stem for p in sorted(FOLDER.glob("data/*"))]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_every_parameter_has_mark_and_source(design):
    assert isinstance(design.system.engine, GenericEngine)
    for parameter in design.parameters:
        assert parameter.mark in MARKS
        assert len(parameter.source) > 3


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_no_parameter_is_a_result(design):
    keys = {
        key
        for part in ("system", "runs")
        for key in re.findall(r'"([a-z_0-9-]+)":', json.dumps(design.section.data[part]))
    }
    assert not {key for key in keys if re.search("token|second|joule|power_w|published", key)} - {
        "tokens", "static_power_w",
    }
    if "board" in design.section.data["system"]:  # static power is the board's, never a design's
        assert "static_power_w" not in keys


def numbers(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.parametrize("figure", load_figures(), ids=lambda f: f"{f.design} {f.run} {f.quantity}")
def test_no_published_value_is_among_the_parameters(figure):
    (design,) = [each for each in DESIGNS if each.name == figure.design]
    for number in numbers(design.section.data):
        assert abs(number / figure.value - 1) > 1e-3


def test_boards_are_the_systems_of_their_name():
    for name in ("kv260", "u280"):
        system = json.loads((FOLDER.parent / "system" / "data" / f"{name}.json").read_text())
        for key in ("memory", "technology", "static_power_w", "static_power_source"):
            assert boards()[name][key] == system[key]


def test_the_smallest_file(load):
    design = load()
    (run,) = design.runs
    assert design.system.name == "mine"
    assert design.system.memory.name == "ddr4-2400-x64"
    assert (run.phase, run.positions, run.batch) == ("decode", 3, 1)
    assert (run.formats.kv_bits, run.formats.head) == (16, "fp16")
    assert list(design.corners()) == []


def test_corners_are_all_combinations(load):
    ranges = BASE["parameters"] | {
        "system.vector_lanes": {"mark": "assumed", "source": "none", "low": 4, "high": 16},
        "runs.decode.context": {"mark": "assumed", "source": "none", "low": 1, "high": 9},
    }
    design = load(parameters=ranges)
    found = [(d.system.vector_lanes, d.runs[0].positions) for d in design.corners()]
    assert sorted(found) == [(4, 1), (4, 9), (16, 1), (16, 9)]
    assert (design.system.vector_lanes, design.runs[0].positions) == (8, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": 3}, r"design.json, line \d+: keys must be among schema, .*, not speed"),
        ({"schema": "x"}, r"line 2: schema must be 'signacc-design-1', not 'x'"),
        ({"system": BASE["system"] | {"board": "mine"}}, r"line 8: system.board must be one of"),
        ({"system": BASE["system"] | {"name": "x"}}, r"system.name must not be given"),
        ({"system": BASE["system"] | {"engines": 0}}, r"must say where system.engines comes from"),
        (
            {
                "system": BASE["system"] | {"lanes": 3},
                "parameters": BASE["parameters"] | {"system": known()},
            },
            r"keys must be among .*, not system.lanes",
        ),
        ({"runs": {}}, r"runs must hold at least one run"),
        ({"runs": {"a": {"phase": "train"}}}, r"runs.a.phase must be one of decode, prefill"),
        ({"runs": {"a.b": BASE["runs"]["decode"]}}, r"a run must be without dots, not 'a.b'"),
        (
            {
                "system": BASE["system"] | {"engine": "tiny"},
                "runs": {"a": {"phase": "images", "convolutions": [
                    {"inputs": 3, "outputs": 1, "kernel": 3, "size": 7}]}},
                "parameters": {"system": known(), "runs": known()},
            },
            r"a run of images must be on a generic engine",
        ),
        ({"runs": {"a": {"phase": "decode", "model": MODEL}}}, r"runs.a.context must be given"),
        (
            {"runs": {"a": {"phase": "decode", "model": MODEL | {"hidden": 3}, "context": 1}}},
            r"line \d+: keys must be among .*, not runs.a.model.hidden",
        ),
        (
            {"runs": {"a": {"phase": "decode", "model": MODEL, "context": 1, "head": "fp4"}}},
            r"runs.a.head must be one of fp16, int8, engine, not 'fp4'",
        ),
        (
            {"runs": {"a": {"phase": "decode", "model": MODEL, "context": 1, "kv_bits": 3}}},
            r"line \d+: kv_bits must be 32, 16 or 8, not 3",
        ),
        ({"runs": {"a": {"phase": "images", "convolutions": []}}}, r"must be a list of layers"),
        (
            {"runs": {"a": {"phase": "images", "convolutions": [{"inputs": 3}]}}},
            r"convolutions\[0\] must give inputs, outputs, kernel, size",
        ),
        (
            {"runs": {"a": {"phase": "images", "convolutions": [
                {"inputs": 3, "outputs": 0, "kernel": 3, "size": 7}]}}},
            r"convolutions\[0\]: outputs must be an integer of at least 1, not 0",
        ),
        (
            {"parameters": {"system": known(), "runs.decode": {"mark": "sure", "source": "x"}}},
            r"a mark must be one of published, .*, not 'sure'",
        ),
        ({"parameters": {"system": known()}}, r"must say where runs.decode.model.hidden_size"),
        (
            {"parameters": BASE["parameters"] | {"system.speed": known()}},
            r"a parameter must be a path of the design, not system.speed",
        ),
        (
            {"parameters": BASE["parameters"] | {"system.vector_lanes": known(low=1, high=9)}},
            r"a range must stand at an assumed parameter, not system.vector_lanes",
        ),
        (
            {"parameters": BASE["parameters"] | {
                "system.vector_lanes": {"mark": "assumed", "source": "x", "low": 9, "high": 12}}},
            r"the range of system.vector_lanes must hold its value 8",
        ),
        (
            {"parameters": BASE["parameters"] | {
                "system.vector_lanes": {"mark": "assumed", "source": "x", "low": 1}}},
            r"parameters.system.vector_lanes.high must be given",
        ),
    ],
)
def test_bad_files_are_refused(load, changes, message):
    with pytest.raises(InputError, match=message):
        load(**changes)


@pytest.mark.parametrize("key", BASE)
def test_missing_keys_are_refused(load, key):
    with pytest.raises(InputError, match=f"{key} must be given"):
        load(without=(key,))
