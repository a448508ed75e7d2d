import pytest

from hw.config import EngineConfig
from signacc.activity.gates import GateActivity, adders_verilog, count_gates
from signacc.activity.saif import Net
from signacc.cosim.build import BenchError

# y = ~a registered; bits 2 (a), 3 (the gate's output, under two names), 4 (the flip-flop's).
MODULE = {
    "cells": {
        "gate": {
            "type": "$_NOT_", "port_directions": {"A": "input", "Y": "output"},
            "connections": {"A": [2], "Y": [3]},
        },
        "keep": {
            "type": "$_DFF_P_", "port_directions": {"C": "input", "D": "input", "Q": "output"},
            "connections": {"C": [5], "D": [3], "Q": [4]},
        },
    },
    "netnames": {
        "a": {"bits": [2]}, "turned": {"bits": ["0", 3]}, "\\$1": {"bits": [3]},
        "y": {"bits": [4]}, "unseen": {"bits": [3]},
    },
}
NETS = {
    "a": Net({0: 6}), "turned": Net({0: 0, 1: 7}), "$1": Net({0: 7}), "y": Net({0: 5}),
}


def test_a_gate_counts_once_and_a_flip_flop_does_not():
    found = count_gates(MODULE, NETS, 14)
    assert found == GateActivity(gates=1, toggles=7, events=14)
    assert found.per_event == 0.5


def test_public_names_with_a_dollar_are_found():
    assert count_gates(MODULE, {"$1": Net({0: 7})}, 14).toggles == 7


def test_a_gate_that_was_not_traced_is_an_error():
    with pytest.raises(BenchError, match="1 of 1 gates were not traced"):
        count_gates(MODULE, {"a": Net({0: 6})}, 14)


def test_reference_adders_are_those_that_energy_counts():
    # 4 inputs of 8 bits: two additions of 9 bits, one of 10, one of 8 + 6 to the accumulator
    config = EngineConfig(name="r", k_par=4, n_par=4, act_bits=8, k_max=64, n_max=64)
    text, widths = adders_verilog(config, "adders")
    assert widths == [9, 9, 10, 14]
    assert "input [41:0] a, b, output [41:0] y" in text
    assert "assign y[17:9] = a[17:9] + b[17:9];" in text
    assert text.count("assign") == 4
