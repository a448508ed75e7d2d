"""Runs Yosys for tests, as the flows do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from signacc.cosim.toolchain import ToolError
from signacc.fpga.tools import Job, find_nextpnr, find_yosys, run


def need_yosys() -> None:
    """Skip if there is no Yosys."""
    try:
        find_yosys()
    except ToolError as error:
        pytest.skip(str(error))


def need_nextpnr(program: str) -> None:
    """Skip if there is no such nextpnr, or no Yosys to feed it."""
    need_yosys()
    try:
        find_nextpnr(program)
    except ToolError as error:
        pytest.skip(str(error))


def yosys(folder: Path, *script: str) -> str:
    """Run a script in a folder; return the log. ToolError if it fails."""
    (folder / "script.ys").write_text("\n".join(script) + "\n")
    log = folder / "yosys.log"
    run([Job("yosys", (*find_yosys().command, "script.ys"), folder, log)])
    return log.read_text()


def netlist(folder: Path, text: str, top: str, command: str) -> dict:
    """Synthesize Verilog; return the whole netlist, in which only `top` is kept."""
    (folder / "design.v").write_text(text)
    yosys(folder, "read_verilog design.v", command, "write_json netlist.json")
    whole = json.loads((folder / "netlist.json").read_text())
    whole["modules"] = {top: whole["modules"][top]}
    return whole
