"""The frame: every port is connected, and synthesis leaves all of it."""

import re

import pytest

from golden.errors import InputError
from signacc.fpga.harness import Port, make_harness

CLOCK = Port("clk", "input", 1)
PORTS = [CLOCK, Port("a", "input", 5), Port("rst", "input", 1), Port("y", "output", 18)]


def test_flip_flops_by_arithmetic():
    # 6 inputs, 18 outputs, then 5, 2 and 1 of the fold.
    assert make_harness("top", PORTS).flip_flops == 6 + 18 + 5 + 2 + 1
    assert make_harness("top", [CLOCK, Port("a", "input", 1), Port("y", "output", 1)]
                        ).flip_flops == 2


def test_every_bit_is_connected_once():
    text = make_harness("top", PORTS).text
    assert ".clk(clk)" in text
    slices = re.findall(r"\.(\w+)\((taps|results)\[(\d+):(\d+)\]\)", text)
    assert slices == [("a", "taps", "4", "0"), ("rst", "taps", "5", "5"),
                      ("y", "results", "17", "0")]
    assert "  reg [5:0] taps;" in text
    # Each of the 18 output bits is in one term of the first fold.
    terms = re.findall(r"\^fold_0\[(\d+):(\d+)\]", text)
    bits = [bit for high, low in terms for bit in range(int(low), int(high) + 1)]
    assert sorted(bits) == list(range(18))


def test_odd_names_are_escaped():
    text = make_harness("top", [CLOCK, Port("a.b", "input", 1), Port("y", "output", 1)]).text
    assert ".\\a.b (taps[0:0])" in text


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (PORTS[1:], "top must have a one-bit input 'clk' as its clock"),
        ([Port("clk", "input", 2), *PORTS[1:]], "must have a one-bit input 'clk'"),
        ([CLOCK, Port("y", "output", 1)], "must have inputs besides its clock, and outputs"),
        ([CLOCK, Port("a", "input", 1)], "must have inputs besides its clock, and outputs"),
        ([*PORTS, Port("pad", "inout", 1)], "must be inputs or outputs, not like pad"),
    ],
)
def test_ports_that_cannot_be_framed(ports, message):
    with pytest.raises(InputError, match=message):
        make_harness("top", ports)
