# amaranth: UnusedElaboratable=no
"""Boards: PLL settings by the formula of the data sheet, pins of every port, the serial line."""

import re
from dataclasses import replace

import pytest

from hw import uart
from hw.boards import ulx3s
from hw.boards.pll import OSCILLATOR_MHZ, PHASE_DETECTOR_MHZ, find_pll
from hw.config import PRESETS, ConfigError
from hw.verilog import convert, generate

TINY = PRESETS["tiny"]


@pytest.mark.parametrize("wanted", [3.125, 25, 40, 50, 66, 80, 100, 133, 166.7, 200, 312.5, 400])
def test_every_setting_is_legal_and_near(wanted):
    pll = find_pll(25, wanted)
    detector = 25 / pll.input_divider
    assert pll.output_mhz == pytest.approx(detector * pll.feedback_divider)
    assert PHASE_DETECTOR_MHZ[0] <= detector <= PHASE_DETECTOR_MHZ[1]
    assert OSCILLATOR_MHZ[0] <= pll.oscillator_mhz <= OSCILLATOR_MHZ[1]
    assert all(1 <= d <= 128 for d in (pll.input_divider, pll.feedback_divider,
                                       pll.output_divider))
    assert 0.98 * wanted <= pll.output_mhz <= wanted * (1 + 1e-9)


def test_known_setting():
    pll = find_pll(25, 100)
    assert (pll.input_divider, pll.feedback_divider, pll.output_divider) == (1, 4, 6)
    assert pll.parameters()["CLKOP_CPHASE"] == 5


@pytest.mark.parametrize(
    ("clocks", "message"),
    [
        ((4, 100), "the PLL's input clock must be from 8 to 400 MHz, not 4"),
        ((25, 500), "the PLL's output clock must be from 3.125 to 400 MHz, not 500"),
    ],
)
def test_out_of_range(clocks, message):
    with pytest.raises(ConfigError) as error:
        find_pll(*clocks)
    assert str(error.value) == message


def test_every_port_of_the_board_has_a_pin():
    text = convert(ulx3s.Ulx3s(TINY), "board")
    body = re.search(r"^module board\(.*?^endmodule$", text, re.M | re.S)[0]
    ports = re.findall(r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+);", body, re.M)
    bits = {
        f"{name}[{i}]" if top else name for top, name in ports for i in range(int(top or 0) + 1)
    }
    located = re.findall(r'^LOCATE COMP "(.+?)" SITE "(\w+)";$', ulx3s.lpf(), re.M)
    assert {name for name, _ in located} == bits
    assert len({site for _, site in located}) == len(located) == 12
    assert set(re.findall(r'^IOBUF PORT "(.+?)"', ulx3s.lpf(), re.M)) == bits
    assert 'FREQUENCY PORT "clk_25mhz" 25 MHZ;' in ulx3s.lpf()


@pytest.mark.parametrize("baud", [0, -1, True, 115200.0, 50_000_000, 11_000_000])
def test_a_baud_rate_that_cannot_be(baud):
    with pytest.raises(ConfigError, match="baud must be "):
        ulx3s.Ulx3s(TINY, clock_mhz=50, baud=baud)


@pytest.mark.parametrize("divisor", [3, 0, -4, 4.0, True, None])
def test_a_divisor_that_cannot_be(divisor):
    with pytest.raises(ConfigError, match="divisor must be an integer of at least 4"):
        uart.UartEngine(TINY, divisor=divisor)


@pytest.mark.parametrize(
    "changes",
    [{}, {"scale_out": "groups"}, {"weights": "memory", "weight_words": 9, "m_par": 2}],
)
def test_widths_are_those_of_the_sidecar(changes):
    config = replace(TINY, **changes)
    ports = {p["name"]: p["width"] for p in generate(config).sidecar["ports"]}
    widths = uart.widths(config)
    assert widths == {
        name: ports[f"{name}__payload"] for name in (*uart.PORTS, "result")
        if f"{name}__payload" in ports
    }
    assert [uart.item_bytes(width) for width in (1, 8, 9, 16, 17)] == [1, 1, 2, 2, 3]
