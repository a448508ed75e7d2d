"""The flow on small designs: counts by arithmetic, nothing run twice, damage noticed."""

from __future__ import annotations

import json

import pytest

from golden.errors import InputError
from signacc.cosim.toolchain import ToolError
from signacc.fpga import flow
from signacc.fpga.flow import Design, Options, implement
from signacc.fpga.steps import MULTIPLIERS
from signacc.fpga.targets import named_target

from .yosys import need_nextpnr, need_yosys, yosys

COUNTER = """
module top(input clk, input [3:0] a, input go, output [3:0] y);
  reg [3:0] held = 0, second = 0;
  always @(posedge clk) begin
    if (go) held <= a;
    second <= held ^ a;
  end
  assign y = second;
endmodule
"""


@pytest.fixture
def runs(monkeypatch):
    """Count what is run."""
    names = []
    real = flow.run

    def run(jobs, **options):
        names.extend(job.name for job in jobs)
        return real(jobs, **options)

    monkeypatch.setattr(flow, "run", run)
    return names


# One of each family; sizes of a family differ in the device file alone.
PLACED = ("ecp5-25k", "ice40-up5k", "gowin-gw2a18", "gowin-gw5a25", "nexus-40")
DESIGN = Design(verilog=COUNTER, top="top")


@pytest.mark.rtl  # for its time
@pytest.mark.parametrize("name", sorted(MULTIPLIERS))
def test_an_engine_gets_the_multipliers_of_its_target(name, tiny, tmp_path):
    """Yosys' own command crashed here: of an engine, not of smaller parts."""
    need_yosys()
    target = named_target(name)
    result = implement(Design(verilog=tiny.text, top=tiny.top), target, Options(), tmp_path,
                       place=False)
    assert result.synthesis.count.unknown == ()
    assert 1 <= result.synthesis.count.dsp <= target.dsp.available
    assert result.synthesis.count.lut <= target.lut.available


def test_products_in_multipliers_are_products(tmp_path):
    """By SAT against the maker's model of the block, signed and not."""
    need_yosys()
    (tmp_path / "design.v").write_text("""
        module top(input [6:0] a, input [4:0] b, input signed [5:0] c, input signed [5:0] d,
                   output [11:0] y, output signed [11:0] z);
          assign y = a * b;
          assign z = c * d;
        endmodule
    """)
    log = yosys(
        tmp_path, "read_verilog design.v", "hierarchy -top top", "proc", "design -save given",
        *MULTIPLIERS["ice40-up5k"], "select -assert-count 2 t:SB_MAC16",
        "read_verilog -lib +/ice40/cells_sim.v", "read_verilog -overwrite +/ice40/cells_sim.v",
        "hierarchy -top top", "proc", "flatten", "opt_clean", "rename top gate",
        "design -stash gate", "design -load given", "design -copy-from gate -as gate gate",
        "miter -equiv -make_outputs -flatten top gate miter", "hierarchy -top miter",
        "async2sync", "sat -verify -prove trigger 0 miter",
    )
    assert "SUCCESS!" in log


def test_what_is_finished_is_not_run_again(tmp_path, runs):
    need_nextpnr("nextpnr-ecp5")
    target = named_target("ecp5-25k")
    first = implement(DESIGN, target, Options(seeds=(1, 2)), tmp_path, parallel=2)
    assert runs == ["synthesis of top", "synthesis of top_pnr", "place and route, seed 1",
                    "place and route, seed 2"]
    runs.clear()
    more = implement(DESIGN, target, Options(seeds=(1, 2, 3)), tmp_path)
    assert runs == ["place and route, seed 3"]
    assert more.placements[:2] == first.placements
    runs.clear()
    damaged = next(tmp_path.glob("seed-2-*.json"))
    damaged.write_text(damaged.read_text()[:20])
    again = implement(DESIGN, target, Options(seeds=(1, 2, 3)), tmp_path)
    assert runs == ["place and route, seed 2"]
    assert [p.fmax_mhz for p in again.placements] == [p.fmax_mhz for p in more.placements]
    runs.clear()
    implement(DESIGN, target, Options(seeds=(1,), freq=50), tmp_path)
    assert runs == ["place and route, seed 1"]  # another aim is another run
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_measured(tmp_path):
    need_nextpnr("nextpnr-ecp5")
    result = implement(DESIGN, named_target("ecp5-25k"), Options(seeds=(1,)), tmp_path)
    assert result.synthesis.count.ff == 8
    assert result.synthesis.count.lut == 4  # an XOR a bit; the enable is the flip-flop's own
    # 5 inputs, 4 outputs, one for the fold; its one XOR of four.
    assert (result.harness.ff, result.harness.lut) == (5 + 4 + 1, 1)
    (placement,) = result.placements
    assert placement.used["TRELLIS_FF"] == 8 + 10
    assert result.placed_lut in (4, 5)  # nextpnr may make a constant with a LUT
    assert placement.fmax_mhz > 100
    assert placement.critical_path[0].kind == "clk-to-q"
    assert placement.critical_path[-1].kind == "setup"
    assert sum(step.ns for step in placement.critical_path) == pytest.approx(
        1e3 / placement.fmax_mhz, rel=0.01
    )
    text = json.loads(json.dumps(result.to_json()))
    assert text["synthesis"]["mark"] == text["place_and_route"]["mark"] == "measured"
    assert text["place_and_route"]["fmax_mhz"]["median"] == placement.fmax_mhz


@pytest.mark.parametrize("name", PLACED)
def test_every_target_places(name, tmp_path):
    target = named_target(name)
    need_nextpnr(target.nextpnr)
    result = implement(DESIGN, target, Options(seeds=(1,)), tmp_path)
    assert result.synthesis.count.ff == 8
    assert result.synthesis.count.unknown == ()
    assert result.harness.unknown == ()
    assert result.fmax_mhz["min"] > 10
    assert result.placed_lut >= 4


def test_without_placing(tmp_path, runs):
    need_nextpnr("nextpnr-ecp5")
    result = implement(DESIGN, named_target("ecp5-25k"), Options(), tmp_path, place=False)
    assert runs == ["synthesis of top"]
    assert (result.placements, result.fmax_mhz, result.nextpnr) == ([], None, None)
    assert result.synthesis.count.ff == 8


COPIES = """
module half(input clk, input [7:0] a, b, output reg [7:0] y);
  %s reg [7:0] copy;
  always @(posedge clk) begin copy <= a; y <= copy ^ b; end
endmodule
module top(input clk, input [7:0] a, b, c, output [7:0] y, z);
  half first(clk, a, b, y);
  half second(clk, a, c, z);
endmodule
"""


@pytest.mark.parametrize(("attribute", "flip_flops"), [("", 24), ('(* keep = "true" *)', 32)])
@pytest.mark.parametrize("target", ["ecp5-25k", "xcup-k26"])
def test_copies_that_are_marked_stay_apart(target, attribute, flip_flops, tmp_path):
    need_yosys()
    design = Design(verilog=COPIES % attribute, top="top")
    result = implement(design, named_target(target), Options(), tmp_path, place=False)
    assert result.synthesis.count.ff == flip_flops


def test_what_does_not_fit_is_said_before_placing(tmp_path, runs):
    need_nextpnr("nextpnr-ice40")
    large = """
    module large(input clk, input [10:0] wa, ra, input [255:0] d, output reg [255:0] q);
      reg [255:0] memory [0:1023];
      always @(posedge clk) begin memory[wa] <= d; q <= memory[ra]; end
    endmodule
    """
    with pytest.raises(InputError, match=r"large does not fit ice40-hx8k: it needs 64 4 kb block "
                                         r"RAMs of 32: 2\.00 times too many"):
        implement(Design(verilog=large, top="large"), named_target("ice40-hx8k"),
                  Options(no_rw_check=True), tmp_path)
    assert runs == ["synthesis of large"]


def test_bad_verilog_names_the_log(tmp_path):
    need_yosys()
    with pytest.raises(ToolError, match=r"synthesis of top failed: .*ERROR.*\(log: .*\.log\)"):
        implement(Design(verilog="module top(;", top="top"), named_target("ecp5-25k"), Options(),
                  tmp_path)
    assert "ERROR" in (tmp_path / "yosys-failed.log").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["yosys-failed.log"]


def test_registered_multipliers_limit_the_clock(tmp_path):
    need_nextpnr("nextpnr-ecp5")
    text = """
    module top(input clk, input [7:0] a, b, output reg [15:0] y);
      reg [7:0] left, right;
      always @(posedge clk) begin left <= a; right <= b; y <= left * right; end
    endmodule
    """
    result = implement(Design(verilog=text, top="top"), named_target("ecp5-25k"),
                       Options(seeds=(1,)), tmp_path)
    assert result.synthesis.packed.registered_multipliers == 1
    (placement,) = result.placements
    assert placement.limited_by == "multiplier"
    assert placement.fmax_mhz == pytest.approx(1e3 / 3.86, abs=0.01)
