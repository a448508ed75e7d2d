"""Bitstreams: a small design on the pins of a board."""

from __future__ import annotations

import pytest

from golden.errors import InputError
from hw.boards.ulx3s import lpf
from signacc.fpga.bitstream import make_bitstream
from signacc.fpga.flow import Design, Options
from signacc.fpga.targets import named_target

from .yosys import need_nextpnr

BLINK = """
module blink(input clk_25mhz, input ftdi_txd, output ftdi_rxd, wifi_gpio0, output [7:0] led);
  reg [23:0] count = 0;
  always @(posedge clk_25mhz) count <= count + 1;
  assign led = count[23:16];
  assign ftdi_rxd = ftdi_txd;
  assign wifi_gpio0 = 1;
endmodule
"""
DESIGN = Design(verilog=BLINK, top="blink", clock="clk_25mhz", lpf=lpf())
TARGET = named_target("ecp5-85k")


def test_a_bitstream(tmp_path):
    need_nextpnr("nextpnr-ecp5")
    output = tmp_path / "blink.bit"
    result = make_bitstream(DESIGN, TARGET, Options(freq=25), tmp_path / "work", output)
    data = output.read_bytes()
    assert b"LFE5U-85F" in data[:200]  # the header's comment names the device
    assert b"\xff\xff\xbd\xb3" in data[:300]  # preamble
    assert result.placements[0].met
    assert result.harness is None
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["blink.bit"]


def test_no_bitstream_if_a_clock_is_missed(tmp_path):
    need_nextpnr("nextpnr-ecp5")
    fast = DESIGN.lpf.replace("25 MHZ", "900 MHZ")
    design = Design(verilog=BLINK, top="blink", clock="clk_25mhz", lpf=fast)
    output = tmp_path / "blink.bit"
    with pytest.raises(InputError, match=r"blink reaches .* MHz on ecp5-85k at best and misses a "
                                         r"clock: no bitstream is written"):
        make_bitstream(design, TARGET, Options(freq=25), tmp_path / "work", output)
    assert not output.exists()


@pytest.mark.parametrize(
    ("target", "pins", "message"),
    [
        ("ice40-hx8k", lpf(), "bitstreams are made for ECP5 devices, not for ice40-hx8k"),
        ("ecp5-85k", None, "blink needs an LPF file: pins of its ports"),
    ],
)
def test_what_has_no_bitstream(target, pins, message, tmp_path):
    design = Design(verilog=BLINK, top="blink", clock="clk_25mhz", lpf=pins)
    with pytest.raises(InputError) as error:
        make_bitstream(design, named_target(target), Options(), tmp_path, tmp_path / "x.bit")
    assert str(error.value) == message
