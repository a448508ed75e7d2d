# amaranth: UnusedElaboratable=no
"""The generated file: AXI's names, plain Verilog, a sidecar with the register map."""

import json
import re
from dataclasses import replace

import pytest

from hw.axi.config import AxiConfig
from hw.axi.engine import AxiEngine
from hw.axi.registers import describe
from hw.axi.verilog import generate_axi
from hw.config import PRESETS, ConfigError
from hw.verilog import generate

TINY = PRESETS["tiny"]
MEMORY = AxiConfig(memory=True, axi_data_bits=64)
LITE = {
    "s_axi_awaddr": ("in", 8), "s_axi_awprot": ("in", 3), "s_axi_awvalid": ("in", 1),
    "s_axi_awready": ("out", 1), "s_axi_wdata": ("in", 32), "s_axi_wstrb": ("in", 4),
    "s_axi_wvalid": ("in", 1), "s_axi_wready": ("out", 1), "s_axi_bresp": ("out", 2),
    "s_axi_bvalid": ("out", 1), "s_axi_bready": ("in", 1), "s_axi_araddr": ("in", 8),
    "s_axi_arprot": ("in", 3), "s_axi_arvalid": ("in", 1), "s_axi_arready": ("out", 1),
    "s_axi_rdata": ("out", 32), "s_axi_rresp": ("out", 2), "s_axi_rvalid": ("out", 1),
    "s_axi_rready": ("in", 1),
}
READ = {
    "m_axi_arid": ("out", 1), "m_axi_araddr": ("out", 64), "m_axi_arlen": ("out", 8),
    "m_axi_arsize": ("out", 3), "m_axi_arburst": ("out", 2), "m_axi_arcache": ("out", 4),
    "m_axi_arprot": ("out", 3), "m_axi_arvalid": ("out", 1), "m_axi_arready": ("in", 1),
    "m_axi_rid": ("in", 1), "m_axi_rdata": ("in", 64), "m_axi_rresp": ("in", 2),
    "m_axi_rlast": ("in", 1), "m_axi_rvalid": ("in", 1), "m_axi_rready": ("out", 1),
}


def stream(name, bits, direction):
    back = {"in": "out", "out": "in"}[direction]
    return {
        f"{name}_tdata": (direction, bits), f"{name}_tlast": (direction, 1),
        f"{name}_tvalid": (direction, 1), f"{name}_tready": (back, 1),
    }


ALWAYS = {
    "aclk": ("in", 1), "aresetn": ("in", 1), "irq": ("out", 1), **LITE,
    **stream("s_axis_act", 2 * 16, "in"), **stream("m_axis_result", 16, "out"),
    "m_axis_result_tkeep": ("out", 2),
}
STREAMS = stream("s_axis_coef", 2 * 32, "in") | stream("s_axis_weight", 8 * 4, "in")


@pytest.fixture(scope="module", params=["streams", "memory"])
def made(request):
    axi = AxiConfig() if request.param == "streams" else MEMORY
    return axi, generate_axi(TINY, axi)


def declared(text: str, name: str) -> dict[str, tuple[str, int]]:
    (body,) = re.findall(rf"^module {name}\(.*?^endmodule$", text, flags=re.M | re.S)
    pattern = r"^\s*(input|output)\s+(?:wire |reg )?\s*(?:\[(\d+):0\]\s+)?(\w+)\s*;"
    return {
        name: (direction[:-3], int(top or 0) + 1)
        for direction, top, name in re.findall(pattern, body, flags=re.M)
    }


def test_ports(made):
    axi, generated = made
    want = ALWAYS | (READ if axi.memory else STREAMS)
    sidecar = {p["name"]: (p["direction"], p["width"]) for p in generated.sidecar["ports"]}
    assert sidecar == want
    text = declared(generated.text, generated.top)
    # A port that nothing drives or reads may be left out of the text only if it is an input.
    assert {name: text[name] for name in text} == {name: want[name] for name in text}
    assert {name for name in want if name not in text} <= {
        "s_axi_awprot", "s_axi_arprot", "m_axi_rid"
    }


def test_data_widths_are_whole_bytes():
    config = replace(TINY, name="odd", k_par=3, n_par=6, act_par=3, out_par=2)
    ports = {p["name"]: p["width"] for p in generate_axi(config).sidecar["ports"]}
    assert config.weight_beat_bits == 18
    assert ports["s_axis_weight_tdata"] == 24
    assert ports["s_axis_act_tdata"] == 48
    assert ports["m_axis_result_tdata"] == 32
    assert ports["m_axis_result_tkeep"] == 4


def test_ports_of_scales_and_of_weights_that_stay():
    config = replace(
        TINY, name="more", scale_out="row", out_par=2, weights="memory", weight_words=99
    )
    ports = {
        p["name"]: (p["direction"], p["width"]) for p in generate_axi(config).sidecar["ports"]
    }
    scale = stream("s_axis_scale", 2 * 16, "in")
    assert scale.items() <= ports.items()
    assert STREAMS.items() <= ports.items()  # weights come for a load
    ports = {p["name"] for p in generate_axi(config, MEMORY).sidecar["ports"]}
    assert not ports & (scale.keys() | STREAMS.keys())


def test_the_sidecar(made):
    axi, generated = made
    sidecar = json.loads(json.dumps(generated.sidecar))
    core = generate(TINY).sidecar
    for key in ("config", "lanes", "latency_cycles", "tools"):
        assert sidecar[key] == json.loads(json.dumps(core[key]))
    assert sidecar["top"] == generated.top == "signacc_tiny_axi"
    assert AxiConfig(**sidecar["axi"]) == axi
    assert sidecar["registers"] == describe(TINY, axi)
    assert "\n" not in generated.text.split("\n", 1)[0]


def test_plain_verilog(made):
    _, generated = made
    for word in ("(* src", "(* generator", "always_ff", "always_comb", "logic ", "$random"):
        assert word not in generated.text
    # An escaped name like \word[0] would be taken for a bit of `word` by some tools.
    assert not re.findall(r"\\[^\s;,()]*\[\d+\]", generated.text)


def test_the_same_text_twice():
    assert generate_axi(TINY, MEMORY).text == generate_axi(TINY, MEMORY).text


def test_another_name_for_the_top():
    assert generate_axi(TINY, top="my_core").top == "my_core"
    with pytest.raises(ConfigError, match=r"^the top module's name must be a Verilog identifier"):
        generate_axi(TINY, top="module")


def test_what_is_asked_for():
    with pytest.raises(ConfigError, match=r"^config must be an EngineConfig, not dict$"):
        AxiEngine({}, AxiConfig())
    with pytest.raises(ConfigError, match=r"^axi must be an AxiConfig, not dict$"):
        AxiEngine(TINY, {})


def test_no_signal_has_no_bits():
    """A range like [-1:0] is two bits to Verilog, which nothing drives as it should be."""
    least = replace(MEMORY, max_burst=1, outstanding=1, weight_fifo=1, coef_fifo=1)
    assert not re.findall(r"^.*\[-\d+:.*$", generate_axi(TINY, least).text, flags=re.M)
