"""Files for other tools: FuseSoC's and Vivado's."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from golden.errors import InputError
from hw.config import PRESETS
from hw.verilog import generate_array
from signacc.fpga.core_file import core_files
from signacc.fpga.flow import Design, Options, implement
from signacc.fpga.steps import TECHMAPS, replaced_modules
from signacc.fpga.targets import TARGETS, named_target
from signacc.fpga.vivado import vivado_script

from .yosys import need_yosys, yosys

PART = "xck26-sfvc784-2LV-c"


def core_of(files):
    """Return the parsed core among `files`."""
    (name,) = (name for name in files if name.endswith(".core"))
    first, rest = files[name].split("\n", 1)
    assert first == "CAPI=2:"
    return yaml.safe_load(rest)


def test_core_file():
    files = core_files(top="engine", verilog="engine.v", version="0.1.0",
                       targets=[named_target("ecp5-85k"), named_target("xcup-k26")])
    assert files.keys() == {"engine.core", "engine_copies.tcl", "engine_waivers.vlt"}
    core = core_of(files)
    assert core["name"] == "signacc:engine:engine:0.1.0"
    assert core["filesets"] == {
        "rtl": {"files": [{"engine.v": {"file_type": "verilogSource-2005"}}]},
        "waivers": {"files": [{"engine_waivers.vlt": {"file_type": "vlt"}}]},
        "copies": {"files": [{"engine_copies.tcl": {"file_type": "tclSource"}}]},
    }
    for name, target in core["targets"].items():
        assert target["toplevel"] == "engine"
        others = {"default": ["rtl"], "lint": ["waivers", "rtl"]}
        assert target["filesets"] == others.get(name, ["rtl", "copies"])
    assert core["targets"].keys() == {"default", "lint", "ecp5-85k", "xcup-k26"}
    assert core["targets"]["xcup-k26"]["tools"]["yosys"] == {
        "arch": "xilinx",
        "yosys_synth_options": ["-family", "xcup", "-flatten", "-noiopad", "-noclkbuf"],
    }


def test_triple_adders_are_cells_where_the_family_has_them():
    files = core_files(top="e", verilog="e.v", version="1.0.0", modules=("adders",),
                       targets=[named_target("ecp5-85k"), named_target("xcup-k26")])
    assert files.keys() == {
        "e.core", "e_copies.tcl", "e_waivers.vlt", "e_xcup_adders.tcl", "e_xcup_adders.v"
    }
    assert files["e_xcup_adders.v"] == TECHMAPS["xcup"]["adders"].read_text()
    core = core_of(files)
    assert core["filesets"]["xcup_adders"]["files"] == [
        {"e_xcup_adders.v": {"file_type": "user"}},
        {"e_xcup_adders.tcl": {"file_type": "tclSource"}},
    ]
    assert core["targets"]["xcup-k26"]["filesets"] == ["rtl", "xcup_adders", "copies"]
    assert core["targets"]["ecp5-85k"]["filesets"] == ["rtl", "copies"]
    assert core["targets"]["default"]["filesets"] == ["rtl"]


def test_sums_in_blocks_are_cells_where_the_family_has_them():
    files = core_files(top="e", verilog="e.v", version="1.0.0", modules=("blocks",),
                       targets=[named_target("ecp5-85k"), named_target("xcup-k26")])
    assert files.keys() == {
        "e.core", "e_copies.tcl", "e_waivers.vlt", "e_xcup_blocks.tcl", "e_xcup_blocks.v"
    }
    core = core_of(files)
    assert core["targets"]["xcup-k26"]["filesets"] == ["rtl", "xcup_blocks", "copies"]
    assert core["targets"]["ecp5-85k"]["filesets"] == ["rtl", "copies"]


def test_every_target_has_a_core_target():
    core = core_of(core_files(top="e", verilog="e.v", version="1.0.0", modules=("adders",),
                              targets=list(TARGETS.values())))
    assert core["targets"].keys() == {"default", "lint", *TARGETS}


def test_a_file_name_with_spaces_stays_one_name():
    core = core_of(core_files(top="e", verilog="a b: c.v", version="1.0.0"))
    assert list(core["filesets"]["rtl"]["files"][0]) == ["a b: c.v"]


def as_edalize_does(folder, core, target):
    """Return the Yosys script that Edalize's Yosys tool makes of a core's target.

    Verilog is read without elaboration, Tcl scripts are run, other types are left alone; then the
    family's synth command with its options. tkinter's Tcl runs the scripts, so that every Yosys
    will do; edalize/tools/templates/yosys of Edalize 0.6 is what this follows.
    """
    tkinter = pytest.importorskip("tkinter")
    entry = core["targets"][target]
    script = ["verilog_defaults -push", "verilog_defaults -add -defer"]
    for fileset in entry["filesets"]:
        for file in core["filesets"][fileset]["files"]:
            ((name, about),) = file.items()
            if about["file_type"].startswith("verilogSource"):
                script.append(f"read_verilog {name}")
            elif about["file_type"] == "tclSource":
                tcl = tkinter.Tcl()
                tcl.eval("set said {}; proc yosys {args} {lappend ::said [join $args]}")
                tcl.call("source", str(folder / name))
                script += tcl.splitlist(tcl.eval("set said"))
    tool = entry["tools"]["yosys"]
    options = " ".join(tool["yosys_synth_options"])
    return [*script, "verilog_defaults -pop",
            f"synth_{tool['arch']} {options} -top {entry['toplevel']}"]


@pytest.mark.parametrize(
    ("change", "target", "cell"),
    [
        ({"structure": "triple"}, "xcup-k26", "LUT6_2"),
        ({"structure": "triple"}, "ecp5-85k", None),
        ({"structure": "direct"}, "xcup-k26", None),
        ({"structure": "direct"}, "ice40-up5k", None),
        ({"structure": "tables", "group": 3, "k_par": 9, "around": "blocks"}, "xcup-k26",
         "DSP48E2"),
        ({"structure": "tables", "group": 3, "k_par": 9, "around": "blocks"}, "ecp5-85k", None),
    ],
)
def test_a_core_target_gives_the_cells_of_pnr(change, target, cell, tmp_path):
    """Array with accumulators: every kind of cell as often as the project's own flow has it."""
    need_yosys()
    config = replace(PRESETS["tiny"], **{"k_par": 7, "act_par": 1, "n_par": 2} | change)
    design = generate_array(config)
    files = core_files(top=design.top, verilog="e.v", version="1.0.0",
                       targets=[named_target(target)], modules=replaced_modules(config))
    for name, text in (files | {"e.v": design.text}).items():
        (tmp_path / name).write_text(text)
    script = as_edalize_does(tmp_path, core_of(files), target)
    yosys(tmp_path, *script, "write_json netlist.json")
    module = json.loads((tmp_path / "netlist.json").read_text())["modules"][design.top]
    found = Counter(cell["type"] for cell in module["cells"].values())
    own = implement(Design(verilog=design.text, top=design.top), named_target(target),
                    Options(freq=50, pack=False), tmp_path / "own", place=False)
    mapped = {name: count for name, count in own.synthesis.mapped.items() if count}
    assert {name: count for name, count in found.items() if name in mapped or
            not name.startswith("$")} == mapped
    assert {"LUT6_2", "DSP48E2"} & found.keys() == ({cell} if cell else set())


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
