"""Instances have the ports, the parameters and the clocks of what they stand for."""

import pytest
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.place import placed
from hw.verilog import convert


class Adds(wiring.Component):
    def __init__(self, width: int):
        super().__init__({"a": In(width), "y": Out(width + 1)})


class Counts(Adds):
    combinational = True

    def __init__(self, width: int):
        self.parameters = {"WIDTH": width}
        super().__init__(width)


def test_an_instance():
    text = convert(placed(Adds, "adds_module")(5), "top")
    assert text.count("adds_module") == 1
    for port in (".a(a)", ".y(y)", ".clk(clk)", ".rst(rst)"):
        assert port in text
    assert "[4:0] a" in text
    assert "[5:0] y" in text


@pytest.mark.parametrize("width", [3, 7])
def test_parameters_and_no_clock(width):
    text = convert(placed(Counts, "counts")(width), "top")
    assert f".WIDTH(32'd{width})" in text
    assert ".clk" not in text
    assert ".rst" not in text


def test_it_is_still_the_component():
    assert issubclass(placed(Adds, "adds_module"), Adds)
