"""Toggles of a small design, counted by Verilator and by hand; real against random data."""

from dataclasses import replace

import numpy as np
import pytest

from golden.folder import load_packed
from golden.generate import load_tokenizer, prompt_tokens
from hw.config import ConfigError, EngineConfig
from hw.row import Row
from hw.verilog import convert
from signacc.activity.measure import on_data
from signacc.activity.row import replay, row_stimulus
from signacc.cosim.build import build
from signacc.cosim.capture import capture
from signacc.cosim.job import Writing, random_job
from signacc.models import model_folder

CONFIG = EngineConfig(
    name="row", k_par=8, n_par=16, act_bits=8, k_max=1408, n_max=64, act_par=4, out_par=4
)
PROMPT = "The house by the river"
COUNTER = """
module counter(input clk, rst);
  reg [5:0] count = 0;
  always @(posedge clk) count <= rst ? 6'd0 : count + 6'd1;
endmodule
"""


@pytest.fixture(scope="module")
def built():
    """Return a row with a counter beside it."""
    text = convert(Row(CONFIG), "row")
    where = text.rindex("endmodule")
    return build(COUNTER + text[:where] + "  counter beside(.clk(clk), .rst(rst));\nendmodule\n",
                 "row", saif=True)


@pytest.fixture(scope="module")
def real():
    """Return the inputs of a linear of the shipped model, its first outputs."""
    packed = load_packed(model_folder())
    tokens = prompt_tokens(load_tokenizer(model_folder()), packed.config, PROMPT)
    job = capture(packed, tokens, Writing(1, 0.0, 1.0, 1), layers=[11], positions=4, act_bits=8)
    (layer,) = [entry for entry in job.jobs if entry.name == "11.down_proj"]
    return replace(layer, signs=layer.signs[: CONFIG.n_max])


def flips(patterns, bits):
    """Return the toggles by bit of a net that is 0 and then has these patterns in turn."""
    values = np.concatenate(([0], np.asarray(patterns, dtype=np.int64)))
    return {bit: int((np.diff(values >> bit & 1) != 0).sum()) for bit in range(bits)}


@pytest.mark.rtl
def test_toggles_are_those_counted_by_hand(built, real):
    stimulus = row_stimulus(CONFIG, real)
    saif, seen = replay(built, stimulus.inputs, ["sum"])
    sums = np.array(seen["sum"][CONFIG.tree_stages :], np.int64)
    assert (sums == stimulus.partial % (1 << CONFIG.acc_bits)).all()

    # The counter runs after two edges in reset, for one cycle of every input: bit i changes every
    # 2**i cycles.
    edges = saif.nets["row"]["clk"].total // 2 - 1
    counted = saif.nets["row/beside"]["count"].toggles
    assert all(counted[i] in (edges >> i, (edges - 1) >> i, (edges - 2) >> i) for i in range(6))
    assert counted[0] >= stimulus.beats

    # What stands in the accumulator: each sum, but 0 after an output's last. From integers alone.
    held = np.where(stimulus.ends, 0, stimulus.partial) % (1 << CONFIG.acc_bits)
    assert saif.nets["row"]["accumulator"].toggles == flips(held, CONFIG.acc_bits)
    weights = flips(stimulus.inputs["weights"], CONFIG.k_par)
    assert saif.nets["row"]["weights"].toggles == weights


@pytest.mark.rtl
def test_real_data_and_random_data_differ(built, real):
    # A down projection: few large activations set the scale, so the others are small, and a sum
    # changes in fewer of its bits.
    toggles = {}
    for kind in ("real", "random"):
        stimulus = row_stimulus(CONFIG, on_data(real, kind, seed=3))
        nets = replay(built, stimulus.inputs, [])[0].nets["row"]
        toggles[kind] = (nets["after"].total + nets["after_b"].total) / stimulus.beats
    assert toggles["real"] < 0.97 * toggles["random"], toggles


def test_rows_of_other_structures_are_refused():
    shared = EngineConfig(
        name="s", k_par=8, n_par=16, act_bits=8, k_max=512, n_max=64, structure="shared", group=2
    )
    message = r"a row alone is measured with structure direct .*, not shared"
    with pytest.raises(ConfigError, match=message):
        row_stimulus(shared, random_job(1, 64, 16, 1))
