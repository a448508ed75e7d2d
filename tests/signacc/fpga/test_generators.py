"""Files for other tools: FuseSoC's and Vivado's."""

import pytest
import yaml

from golden.errors import InputError
from signacc.fpga.core_file import core_file
from signacc.fpga.targets import TARGETS, named_target
from signacc.fpga.vivado import vivado_script

PART = "xck26-sfvc784-2LV-c"


def test_core_file():
    text = core_file(top="engine", verilog="engine.v", version="0.1.0",
                     targets=[named_target("ecp5-85k"), named_target("xcup-k26")])
    assert text.splitlines()[0] == "CAPI=2:"
    core = yaml.safe_load(text.split("\n", 1)[1])
    assert core["name"] == "signacc:engine:engine:0.1.0"
    assert core["filesets"]["rtl"]["files"] == [
        {"engine.v": {"file_type": "verilogSource-2005"}}
    ]
    for target in core["targets"].values():
        assert target["toplevel"] == "engine"
        assert target["filesets"] == ["rtl"]
    assert core["targets"].keys() == {"default", "lint", "ecp5-85k", "xcup-k26"}
    assert core["targets"]["xcup-k26"]["tools"]["yosys"] == {
        "arch": "xilinx",
        "yosys_synth_options": ["-family", "xcup", "-flatten", "-noiopad", "-noclkbuf"],
    }


def test_every_target_has_a_core_target():
    text = core_file(top="e", verilog="e.v", version="1.0.0", targets=list(TARGETS.values()))
    core = yaml.safe_load(text.split("\n", 1)[1])
    assert core["targets"].keys() == {"default", "lint", *TARGETS}


def test_a_file_name_with_spaces_stays_one_name():
    core = yaml.safe_load(
        core_file(top="e", verilog="a b: c.v", version="1.0.0").split("\n", 1)[1]
    )
    assert list(core["filesets"]["rtl"]["files"][0]) == ["a b: c.v"]


def test_vivado_script():
    text = vivado_script(top="engine", verilog="engine.v", part=PART, clock_mhz=150)
    commands = [line.split()[0] for line in text.splitlines() if line and line[0] not in "#}"]
    order = ["read_verilog", "read_xdc", "synth_design", "opt_design", "place_design",
             "route_design", "report_utilization", "report_timing_summary"]
    positions = [len(commands) - 1 - commands[::-1].index(command) for command in order]
    assert positions == sorted(positions)
    assert f"synth_design -top engine -part {PART} -mode out_of_context" in text
    assert "create_clock -name clk -period 6.667 [get_ports clk]" in text


def test_vivado_script_is_whole_tcl():
    tkinter = pytest.importorskip("tkinter")
    interpreter = tkinter.Tcl()
    text = vivado_script(top="engine", verilog='a b$[x]".v', part=PART, clock_mhz=99.5)
    interpreter.setvar("script", text)
    assert interpreter.eval("info complete $script") == "1"
    # Every command runs, with Vivado's own replaced by ones that note their arguments.
    interpreter.eval(
        "set seen {}; proc unknown {args} {lappend ::seen $args; return 0.5}; "
        "proc file {args} {return [lindex $args end]}; "
        "proc open {args} {return stdout}; proc close {args} {}; proc puts {args} {}"
    )
    interpreter.eval("info script engine.tcl")
    interpreter.eval(text)
    count = int(interpreter.eval("llength $seen"))
    calls = [interpreter.eval(f"lindex $seen {i}") for i in range(count)]
    assert "route_design" in calls
    (read,) = (i for i, call in enumerate(calls) if call.startswith("read_verilog"))
    assert interpreter.eval(f"lindex $seen {read} 1") == 'a b$[x]".v'


@pytest.mark.parametrize("part", ["", "xck26", "x; exit", "a-b c", "[exit]-x", "$x-y"])
def test_a_part_is_no_tcl(part):
    with pytest.raises(InputError, match="a Vivado part is letters and digits in groups"):
        vivado_script(top="e", verilog="e.v", part=part, clock_mhz=100)


@pytest.mark.parametrize("clock", [0, -1, float("nan"), float("inf")])
def test_a_clock_above_0(clock):
    with pytest.raises(InputError, match="the clock must be above 0"):
        vivado_script(top="e", verilog="e.v", part=PART, clock_mhz=clock)
