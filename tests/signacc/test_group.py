"""How commands end: an empty name, and standard output that is full or closed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from signacc.cli import main
from signacc.models import model_folder


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["simulate", "--plot", ""], "--plot"),
        (["simulate", "--preset", ""], "--preset"),
        (["compare", "--system", "a.json", "--system", ""], "--system"),
        (["explore", "-o", ""], "--out"),
        (["pnr", "--preset", "tiny", "--part", "row", "--out", ""], "--out"),
        (["serve", "--router", ""], "--router"),
        (["validate", ""], "FILE"),
        (["import", "", "-o", "x"], "CHECKPOINT"),
    ],
)
def test_an_empty_name_is_refused(arguments, name, tmp_path, monkeypatch):
    """Not taken for the working directory or the default: mostly it is an unset variable."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: {name} must not be empty\n")
    assert list(tmp_path.iterdir()) == []


PROGRAM = Path(sys.executable).with_name("signacc")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["validate"], ["validate", "--json"],
     ["generate", "--prompt", "x", "--write", "1"]],
)
def test_standard_output_that_is_full(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.stderr == "Error: No space left on device: standard output\n"
    assert done.returncode == 2


def test_standard_error_that_is_full_costs_no_results():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, "serve", "--requests", "50", "--loads", "0.5", "--json"],
            stdout=subprocess.PIPE, stderr=full, text=True, check=False,
        )
        assert done.returncode == 0
        assert len(json.loads(done.stdout)["points"]) == 1
        refused = subprocess.run([PROGRAM, "simulate", "--context", "9999"], stderr=full,
                                 check=False)
        assert refused.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_closed_pipe_loses_no_file(arguments, tmp_path):
    """As in ``signacc simulate --trace t.json | head -1``."""
    path = tmp_path / "t.json"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run([PROGRAM, "simulate", "--trace", path, *arguments], stdout=pipe,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == f"  wrote {path}\n"
    assert done.returncode == 1
    assert json.loads(path.read_text())["traceEvents"]


def test_names_that_are_no_text(tmp_path):
    """A folder's name may be any bytes; what cannot take them says so."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    shutil.copytree(model_folder(), folder)
    runner = CliRunner()
    result = runner.invoke(main, ["generate", "--model", str(folder), "--prompt", "a", "--write",
                                  "1", "--json"])
    assert result.exit_code == 0, result.output
    out = tmp_path / "sweep"
    result = runner.invoke(main, ["explore", "--model", str(folder), "-o", str(out),
                                  "--workers", "0"])
    assert result.exit_code == 0, result.output
    assert b"m\xff" in (out / "designs.csv").read_bytes()


def test_a_library_that_takes_text_alone(monkeypatch, tmp_path):
    monkeypatch.setattr("signacc.interchange.export_gguf_file",
                        lambda *given, **options: "m\udcff.gguf".encode())
    result = CliRunner().invoke(main, ["export", "--format", "gguf", "-o", "m.gguf"])
    assert result.exit_code == 2
    assert result.stderr == "Error: names must be UTF-8 text here, not 'm\\udcff.gguf'\n"


YOSYS = {
    "silent": "exit 3", "old": "echo Yosys 0.10", "killed": "kill -9 $$",
    "fails": """test "$1" = -V && echo "Yosys 0.40" || { echo a; echo "ERROR: b" >&2; exit 1; }""",
}


@pytest.mark.parametrize(
    ("chosen", "yosys", "text"),
    [("nonsense", None, "an unrecognized clause 'nonsense'"),
     ("", None, "an unrecognized clause ''"),
     ("system", None, "Could not find an acceptable Yosys binary. Searched: system"),
     ("system", "missing", "Could not find an acceptable Yosys binary. Searched: system"),
     ("system", "old", "Could not find an acceptable Yosys binary. Searched: system"),
     ("system", "silent", "it ended without a word"),
     ("system", "killed", "it ended without a word"),
     ("system", "fails", "ERROR: b")],
)  # fmt: skip
def test_no_yosys_that_will_do_is_one_sentence(tmp_path, chosen, yosys, text):
    environment = os.environ | {"AMARANTH_USE_YOSYS": chosen, "PATH": str(tmp_path)}
    environment.pop("YOSYS", None)
    named = f"AMARANTH_USE_YOSYS={chosen}"
    if yosys is not None:
        path = tmp_path / yosys
        environment["YOSYS"] = str(path)
        named += f" YOSYS={path}"
        if yosys in YOSYS:
            path.write_text(f"#!/bin/sh\n{YOSYS[yosys]}\n")
            path.chmod(0o755)
    output = tmp_path / "engine.v"
    done = subprocess.run(
        [PROGRAM, "verilog", "--preset", "tiny", "-o", output], env=environment,
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"Error: Verilog needs a Yosys that works, not that of {named}: ")
    assert message.endswith(text)
    assert "Traceback" not in done.stderr
    assert not output.exists()
