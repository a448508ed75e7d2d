"""The rewrites keep what the netlist computes: checked by SAT, with Yosys' own cell models."""

from __future__ import annotations

import copy
import json

import pytest

from signacc.cosim.toolchain import ToolError
from signacc.fpga.pack import Packed, pack_ecp5

from .yosys import need_yosys, netlist, yosys

# Memory and multiplier are any function of their inputs: what they compute does not matter, only
# when it comes out and of what.
BLOCKS = """
module DP16KD(
  input CLKA, CEA, OCEA, RSTA, WEA, CSA0, CSA1, CSA2, CLKB, CEB, OCEB, RSTB, WEB, CSB0, CSB1, CSB2,
  %(ports)s
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "AUTO";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  %(init)s
  localparam PDP = DATA_WIDTH_A == 36;
  wire [13:0] ada = {%(ada)s}, adb = {%(adb)s};
  wire [17:0] dia = {%(dia)s}, dib = {%(dib)s};
  wire enable_a = PDP ? CEB : CEA;
  wire output_a = PDP ? OCEB : OCEA;
  reg [17:0] read_a = 0, read_b = 0, out_a = 0, out_b = 0;
  always @(posedge CLKA) begin
    if (enable_a) read_a <= (PDP ? {adb, 4'd5} : {ada, 4'd0}) ^ dia ^ {18{WEA}};
    if (output_a) out_a <= read_a;
  end
  always @(posedge CLKB) begin
    if (CEB) read_b <= {adb, 4'd3} ^ dib;
    if (OCEB) out_b <= read_b;
  end
  assign {%(doa)s} = REGMODE_A == "OUTREG" ? out_a : read_a;
  assign {%(dob)s} = REGMODE_B == "OUTREG" ? out_b : read_b;
endmodule
module MULT18X18D(
  input CLK0, CE0, CE1, CE2, CE3, RST0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, %(mports)s
);
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_OUTPUT_CLK = "NONE";
  parameter REG_INPUTA_CE = "CE0", REG_INPUTB_CE = "CE0", REG_OUTPUT_CE = "CE0";
  parameter REG_INPUTA_RST = "RST0", REG_INPUTB_RST = "RST0", REG_OUTPUT_RST = "RST0";
  function pick(input [23:0] name);
    pick = name == "CE0" ? CE0 : name == "CE1" ? CE1 : name == "CE2" ? CE2 : CE3;
  endfunction
  wire [17:0] a = {%(a)s}, b = {%(b)s};
  reg [17:0] held_a = 0, held_b = 0;
  reg [35:0] held = 0;
  wire [17:0] left = REG_INPUTA_CLK == "CLK0" ? held_a : a;
  wire [17:0] right = REG_INPUTB_CLK == "CLK0" ? held_b : b;
  wire [35:0] product = {left & right, left ^ right};
  always @(posedge CLK0) begin
    if (pick(REG_INPUTA_CE)) held_a <= a;
    if (pick(REG_INPUTB_CE)) held_b <= b;
    if (pick(REG_OUTPUT_CE)) held <= product;
  end
  assign {%(p)s} = REG_OUTPUT_CLK == "CLK0" ? held : product;
endmodule
"""


def bus(name: str, width: int) -> str:
    return ", ".join(f"{name}{i}" for i in reversed(range(width)))


def blocks() -> str:
    return BLOCKS % {
        "ports": ", ".join(
            f"{direction} {bus(name, width)}"
            for direction, name, width in (
                ("input", "ADA", 14), ("input", "ADB", 14), ("input", "DIA", 18),
                ("input", "DIB", 18), ("output", "DOA", 18), ("output", "DOB", 18),
            )
        ),
        "init": "".join(f"parameter INITVAL_{i:02X} = 320'd0;" for i in range(64)),
        "mports": ", ".join(
            f"{direction} {bus(name, width)}"
            for direction, name, width in (
                ("input", "A", 18), ("input", "B", 18), ("input", "C", 18), ("output", "P", 36),
            )
        ),
        **{name: bus(name.upper(), width) for name, width in (
            ("ada", 14), ("adb", 14), ("dia", 18), ("dib", 18), ("doa", 18), ("dob", 18),
            ("a", 18), ("b", 18), ("p", 36),
        )},
    }


def differ(folder, first: dict, second: dict) -> bool:
    """Return whether two netlists of module top ever differ within 6 cycles from power-up.

    Unconnected inputs are taken as 0 in one run and as 1 in another.
    """
    (folder / "blocks.v").write_text(blocks())
    for name, whole in (("first", first), ("second", second)):
        module = copy.deepcopy(whole["modules"]["top"])
        for cell in module["cells"].values():  # an output that goes nowhere
            for port, direction in cell["port_directions"].items():
                if direction == "output" and cell["connections"][port] == ["x"]:
                    del cell["connections"][port]
        renamed = {**whole, "modules": {name: module}}
        (folder / f"{name}.json").write_text(json.dumps(renamed))
    for value in ("-zero", "-one"):
        try:
            yosys(
                folder,
                "read_verilog -DNO_INCLUDES +/lattice/common_sim.vh +/lattice/ccu2c_sim.vh",
                "read_verilog blocks.v", "read_json first.json", "read_json second.json",
                f"setundef {value} -undriven first second",
                f"setundef {value} first second",
                "miter -equiv -make_outputs first second miter",
                "hierarchy -top miter", "proc", "flatten", "opt_clean", "async2sync",
                "sat -verify -set-init-zero -prove trigger 0 -tempinduct-baseonly -tempinduct "
                "-maxsteps 6 miter",
            )
        except ToolError as error:
            if "proof did fail" in (folder / "yosys.log").read_text():
                return True
            raise error
    return False


def packed(folder, text: str) -> tuple[dict, dict, Packed]:
    need_yosys()
    before = netlist(folder, text, "top", "synth_ecp5 -no-rw-check -top top")
    after = copy.deepcopy(before)
    return before, after, pack_ecp5(after["modules"]["top"])


def cells(whole: dict, kind: str) -> list[dict]:
    return [c for c in whole["modules"]["top"]["cells"].values() if c["type"] == kind]


ADDERS = """
module top(input clk, input [6:0] a, b, input c, output reg [7:0] y, z, output reg [9:0] w);
  wire [8:0] sum = {a, 1'b1} + {b, c};
  always @(posedge clk) begin
    y <= sum[8:1];
    z <= a - b;
    w <= w + {a, b[1:0]};
  end
endmodule
"""


def test_carry_chains(tmp_path):
    before, after, done = packed(tmp_path, ADDERS)
    assert done.carry_starts == 3
    assert done.carry_ends >= 1
    assert all(cell["connections"]["CIN"] != ["0"] for cell in cells(after, "CCU2C"))
    assert not differ(tmp_path, before, after)


def test_the_check_sees_a_wrong_rewrite(tmp_path):
    before, after, _ = packed(tmp_path, ADDERS)
    start = next(c for c in cells(after, "CCU2C") if c["connections"]["CIN"] == ["x"])
    start["parameters"]["INIT0"] = f"{int(start['parameters']['INIT0'], 2) ^ 0b0010:016b}"
    assert differ(tmp_path, before, after)


CHOICES = """
module top(input clk, input [6:0] a, b, c, input [3:0] f, output reg [7:0] flip, pick, gate, keep,
           output reg [6:0] also);
  wire [6:0] shared = b ^ {7{f[0]}};
  always @(posedge clk) begin
    flip <= {a[6], a} - {1'b1 ^ (b[6] ^ f[0]), ~shared};
    pick <= a + (f[1] ? b : c);
    gate <= a + (c & {7{f[2]}});
    keep <= c + (b ^ {7{f[3]}});
    also <= shared;
  end
endmodule
"""


def test_a_choice_goes_into_the_carry_position(tmp_path):
    before, after, done = packed(tmp_path, CHOICES)
    # Add or subtract: one LUT a bit goes in, and so it does for a choice of two and for a mask.
    assert done.carry_operands >= 4 * 6
    lost = len(cells(before, "LUT4")) - len(cells(after, "LUT4"))
    assert lost >= 3 * 6
    assert not differ(tmp_path, before, after)


def test_the_check_sees_a_wrong_choice(tmp_path):
    before, wrong, _ = packed(tmp_path, CHOICES)
    changed = 0
    for cell in cells(wrong, "CCU2C"):
        if cell["connections"]["C0"][0] not in ("0", "1", "x") and not changed:
            init = int(cell["parameters"]["INIT0"], 2)
            cell["parameters"]["INIT0"] = f"{init ^ 0xF000:016b}"
            changed += 1
    assert changed == 1
    assert differ(tmp_path, before, wrong)


RAM = """
module top(input clk, input go, input [8:0] wa, ra, input [35:0] d, input we,
           output reg [35:0] q);
  reg [35:0] memory [0:511];
  reg [35:0] word;
  always @(posedge clk) begin
    if (we) memory[wa] <= d;
    word <= memory[ra];
    %s
  end
endmodule
"""


@pytest.mark.parametrize("load", ["q <= word;", "if (go) q <= word;"])
def test_a_register_goes_into_the_ram(tmp_path, load):
    before, after, done = packed(tmp_path, RAM % load)
    (ram,) = cells(after, "DP16KD")
    assert done.ram_registers == 36
    assert (ram["parameters"]["REGMODE_A"], ram["parameters"]["REGMODE_B"]) == ("OUTREG",) * 2
    assert cells(after, "TRELLIS_FF") == []
    assert not differ(tmp_path, before, after)


@pytest.mark.parametrize(
    "load",
    [
        "q <= word + 1;",  # logic between
        "if (go) q <= 0; else q <= word;",  # a reset
        "q <= word; if (go) q[0] <= word[1];",  # another reader
    ],
)
def test_other_registers_stay_outside(tmp_path, load):
    _, after, done = packed(tmp_path, RAM % load)
    assert done.ram_registers == 0
    assert cells(after, "TRELLIS_FF")


MULTIPLIER = """
module top(input clk, input go, input [15:0] a, b, output reg [31:0] y, output reg [15:0] copy);
  reg [15:0] left, right;
  always @(posedge clk) begin
    left <= a;
    if (go) right <= b;
    y <= left * right;
    copy <= left;
  end
endmodule
"""


def test_registers_go_into_the_multiplier(tmp_path):
    before, after, done = packed(tmp_path, MULTIPLIER)
    assert done.registered_multipliers == 1
    assert done.multiplier_registers == 16 + 16 + 32
    # The operand that has another reader keeps its register for that.
    assert len(cells(after, "TRELLIS_FF")) == 16 + 16
    assert not differ(tmp_path, before, after)


def test_the_check_sees_a_lost_register(tmp_path):
    before, after, _ = packed(tmp_path, MULTIPLIER)
    (multiplier,) = cells(after, "MULT18X18D")
    multiplier["parameters"]["REG_INPUTA_CLK"] = "NONE"
    assert differ(tmp_path, before, after)


def test_the_check_sees_a_wrong_enable(tmp_path):
    before, after, _ = packed(tmp_path, RAM % "if (go) q <= word;")
    (ram,) = cells(after, "DP16KD")
    ram["connections"]["OCEB"] = ["1"]
    assert differ(tmp_path, before, after)


def test_an_unregistered_multiplier_is_left(tmp_path):
    text = "module top(input [15:0] a, b, output [31:0] y); assign y = a * b; endmodule"
    _, after, done = packed(tmp_path, text)
    assert (done.multiplier_registers, done.registered_multipliers) == (0, 0)
    assert cells(after, "MULT18X18D")[0]["parameters"].get("REG_OUTPUT_CLK", "NONE") == "NONE"
