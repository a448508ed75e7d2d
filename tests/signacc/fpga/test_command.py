"""signacc pnr, as a user calls it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hw.config import PRESETS
from signacc.cli import main

from .yosys import need_nextpnr, need_yosys


def call(*arguments: str, code: int = 0, command: str = "pnr") -> tuple[str, str]:
    done = CliRunner().invoke(main, [command, *arguments])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def test_a_row_on_ecp5(tmp_path):
    need_nextpnr("nextpnr-ecp5")
    arguments = ("--preset", "tiny", "--part", "row", "--target", "ecp5-25k", "--seeds", "2",
                 "--out", str(tmp_path))
    report = json.loads(call(*arguments, "--json")[0])
    assert report["design"] == report["design"] | {"part": "row", "top": "signacc_tiny_row"}
    assert report["synthesis"]["dsp"] == 0  # no multiplier in a row
    assert report["synthesis"]["lut"] > 0
    clocks = [seed["fmax_mhz"] for seed in report["place_and_route"]["seeds"]]
    clock = report["place_and_route"]["fmax_mhz"]
    assert clock == {"min": min(clocks), "median": sum(clocks) / 2, "max": max(clocks)}
    derived = report["derived"]
    lanes = report["design"]["lanes"]
    assert derived["gops"] == pytest.approx(2 * lanes * clock["median"] / 1e3)
    assert derived["lut_per_lane"] == report["place_and_route"]["lut"] / lanes
    assert json.loads((tmp_path / "signacc_tiny_row.json").read_text()) == report
    assert "module signacc_tiny_row" in (tmp_path / "signacc_tiny_row.v").read_text()
    table = call(*arguments)[0]
    assert "row of tiny on ecp5-25k" in table
    assert f"measured: Fmax {clock['min']:.1f} / {clock['median']:.1f}" in table
    assert "critical path of seed" in table


def test_synthesis_only_is_said(tmp_path):
    need_yosys()
    table = call("--preset", "tiny", "--part", "row", "--target", "xcup-k26", "--out",
                 str(tmp_path))[0]
    assert "synthesis only: place and route has none with open tools" in " ".join(table.split())
    assert "Yosys' own estimate" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "ecp6"), "a target is one of ecp5-25k, "),
        (("--speed", "5"), "speed grades of ecp5-85k: 6, 7, 8; not '5'"),
        (("--part", "column"), "a part is one of engine, array, row, not 'column'"),
        (("--freq", "fast"), "must be MHz above 0 and at most 2000, not 'fast'"),
        (("--freq", "0"), "must be MHz above 0 and at most 2000, not '0'"),
        (("--seeds", "0"), "Invalid value for '--seeds'"),
    ],
)
def test_bad_input(arguments, message):
    error = call("--preset", "tiny", *arguments, code=2)[1]
    assert message in " ".join(error.split())


def test_a_file_for_the_folder(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    error = call("--preset", "tiny", "--out", str(path), code=2)[1]
    assert "the output folder must be a folder, not the file" in error
    assert path.read_text() == ""


def test_files_for_other_tools(tmp_path):
    output = tmp_path / "engine.v"
    call("--preset", "tiny", "-o", str(output), "--core", "--vivado-part", "xck26-sfvc784-2LV-c",
         command="verilog")
    assert {path.name for path in tmp_path.iterdir()} == {
        "engine.v", "engine.json", "engine.core", "engine_copies.tcl", "engine_waivers.vlt",
        "engine_ice40_up5k_multipliers.tcl", "engine.tcl",
    }
    assert 'toplevel: "signacc_tiny"' in (tmp_path / "engine.core").read_text()
    script = (tmp_path / "engine.tcl").read_text()
    assert "read_verilog [file join $here engine.v]" in script
    assert "-period 20.000" in script  # tiny is meant for 50 MHz


def test_a_core_of_structure_triple_brings_its_adders(tmp_path):
    config = tmp_path / "mine.json"
    config.write_text(json.dumps(
        PRESETS["tiny"].to_dict() | {"structure": "triple", "k_par": 4, "n_par": 2}
    ))
    call("--config", str(config), "-o", str(tmp_path / "engine.v"), "--core",
         "--vivado-part", "xck26-sfvc784-2LV-c", command="verilog")
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.json", "engine.v", "engine.json", "engine.core", "engine_copies.tcl",
        "engine_ice40_up5k_multipliers.tcl", "engine_waivers.vlt", "engine_xcup_adders.tcl",
        "engine_xcup_adders.v", "engine.tcl",
    }
    assert "adders" not in (tmp_path / "engine.tcl").read_text()  # Vivado has its own


def test_a_bad_part_writes_nothing(tmp_path):
    error = call("--preset", "tiny", "-o", str(tmp_path / "e.v"), "--vivado-part", "x; exit",
                 code=2, command="verilog")[1]
    assert "a Vivado part is letters and digits in groups" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--board", "arty", "-o", "e.bit"), "a board is one of ulx3s, not 'arty'"),
        (("-o", "e.txt"), "the bitstream must be a .bit file in a folder that exists, not 'e.txt'"),
        (("-o", "no/e.bit"), "must be a .bit file in a folder that exists, not 'no/e.bit'"),
        (("-o", "e.bit", "--clock", "2"), "output clock must be from 3.125 to 400 MHz, not 2"),
        (("-o", "e.bit", "--baud", "2857143"), "baud must be within 2 % of 50 MHz divided by"),
    ],
)
def test_a_bad_bitstream(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = call("--preset", "tiny", *arguments, code=2, command="bitstream")[1]
    assert message in " ".join(error.split())
    assert list(tmp_path.iterdir()) == []
