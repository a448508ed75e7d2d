"""The generated Verilog is accepted without edits: Yosys' flows, Verilator, Icarus."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace

import pytest
import yaml

from hw.axi.config import AxiConfig
from hw.axi.verilog import generate_axi
from hw.config import PRESETS
from hw.verilog import generate
from signacc.cosim.toolchain import find_toolchain
from signacc.fpga.cells import cells_of, count
from signacc.fpga.core_file import core_files

from .yosys import need_yosys, yosys

FLOWS = {
    "ecp5": "synth_ecp5",
    "ice40": "synth_ice40",
    "gowin": "synth_gowin -family gw2a",
    "nexus": "synth_nexus -family lifcl",
    "xcup": "synth_xilinx -family xcup -flatten",
}
RESIDENT = {"weights": "memory", "weight_words": 99, "scale_out": "row"}
HIERARCHICAL = {family: f"{command} -noflatten" for family, command in FLOWS.items()}
HIERARCHICAL["xcup"] = "synth_xilinx -family xcup"


@pytest.mark.rtl  # for its time
@pytest.mark.parametrize(("family", "command"), FLOWS.items())
def test_yosys(family, command, tiny, tmp_path):
    need_yosys()
    (tmp_path / "engine.v").write_text(tiny.text)
    log = yosys(tmp_path, "read_verilog engine.v", f"{command} -top {tiny.top}", "check -assert",
                "write_json netlist.json")
    assert "Found and reported 0 problems" in log
    module = json.loads((tmp_path / "netlist.json").read_text())["modules"][tiny.top]
    counted = count(cells_of(module), family)
    assert counted.unknown == ()
    assert counted.lut > 500
    assert counted.ff > 500
    assert {p["name"]: p["width"] for p in tiny.sidecar["ports"]} == {
        name: len(port["bits"]) for name, port in module["ports"].items()
    }


@pytest.mark.parametrize("command", HIERARCHICAL.values(), ids=list(HIERARCHICAL))
def test_yosys_without_flattening(command, tiny, tmp_path):
    """Up to LUT mapping, which sees plain gates of the same kinds as above."""
    need_yosys()
    (tmp_path / "engine.v").write_text(tiny.text)
    yosys(tmp_path, "read_verilog engine.v",
          f"{command} -top {tiny.top} -run begin:map_luts",
          f"select -assert-any {tiny.top}_row/t:*", f"select -assert-any {tiny.top}/t:*",
          f"select -assert-none {tiny.top}_row/t:$mul")


@pytest.fixture(params=["tiny", "triple"])
def engine(request, tiny):
    """An engine, and one whose adders are modules with parameters."""
    if request.param == "tiny":
        return tiny
    return generate(replace(PRESETS["tiny"], name="triple", structure="triple"))


def check_lint(generated, folder):
    """Verilator, run as the core's lint target says, has nothing to say of the Verilog."""
    toolchain = find_toolchain()
    (folder / "e.v").write_text(generated.text)
    for name, text in core_files(top=generated.top, verilog="e.v", version="1.0.0").items():
        (folder / name).write_text(text)
    core = yaml.safe_load((folder / "e.core").read_text().split("\n", 1)[1])
    lint = core["targets"]["lint"]
    files = [name for fileset in lint["filesets"] for file in core["filesets"][fileset]["files"]
             for name in file]
    done = subprocess.run(
        [toolchain.verilator, "--lint-only", *lint["tools"]["verilator"]["verilator_options"],
         *files, "--top-module", lint["toplevel"]], cwd=folder,
        capture_output=True, text=True, env={**os.environ, **toolchain.environment}, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "%Warning" not in done.stderr


def test_verilator_has_no_warning(engine, tmp_path):
    check_lint(engine, tmp_path)


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["u280", "asic7"])
def test_verilator_has_no_warning_of_large_presets(name, tmp_path, pytestconfig):
    if not pytestconfig.getoption("--full"):
        pytest.skip("takes a minute and a half: with --full only")
    generated = generate(PRESETS[name])
    for part in ("row", "cluster"):  # each once, however many there are
        assert generated.text.count(f"module {generated.top}_{part}(") == 1
    check_lint(generated, tmp_path)


@pytest.mark.parametrize("changes", [{}, {"scale_out": "groups", "m_par": 2}, RESIDENT])
@pytest.mark.parametrize("memory", [False, True], ids=["streams", "memory"])
def test_verilator_has_no_warning_of_the_buses(changes, memory, tmp_path):
    config = replace(PRESETS["tiny"], **changes)
    check_lint(generate_axi(config, AxiConfig(memory=memory)), tmp_path)


def test_icarus(engine, tmp_path):
    iverilog = shutil.which("iverilog")
    if iverilog is None:
        pytest.skip("Icarus Verilog (iverilog) is not on PATH")
    source = tmp_path / f"{engine.top}.v"
    source.write_text(engine.text)
    done = subprocess.run(
        [iverilog, "-g2005", "-Wall", "-s", engine.top, "-o", os.devnull, str(source)],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
