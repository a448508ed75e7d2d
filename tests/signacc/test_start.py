"""An interruption ends the program with one word, whatever is just being imported."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SENDER = """
import os, signal, sys

class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            {send}

sys.meta_path.insert(0, Sender())
"""
SEND = "os.kill(os.getpid(), signal.SIGINT)"
SWALLOW = f"""
            try:
                {SEND}
            except KeyboardInterrupt:
                raise ImportError("the import was not well done")
"""


def interrupted(tmp_path, module, *arguments, send=SEND, ignored=False):
    """Run the program; it interrupts itself where `module` is about to be imported."""
    (tmp_path / "sitecustomize.py").write_text(SENDER.format(send=send))
    path = os.pathsep.join([str(tmp_path), *sys.path])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        return subprocess.run(
            [sys.executable, "-c", "from signacc.start import main; main()", *arguments],
            env=os.environ | {"PYTHONPATH": path, "INTERRUPTED_AT": module}, cwd=tmp_path,
            capture_output=True, text=True, timeout=120, check=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)


ALWAYS = ["signacc.cli", "click", "signacc.group"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        *((module, ("--help",)) for module in ALWAYS),
        *((module, ("verilog", "--preset", "tiny", "-o", "x.v"))
          for module in (*ALWAYS, "hw.config", "hw.verilog", "amaranth", "rich", "signacc.files")),
        ("golden.model", ("generate", "--prompt", "a", "--write", "1")),
        ("torch", ("generate", "--prompt", "a", "--write", "1")),
        ("model.train_command", ("train", "--help")),
        ("model.train", ("train", "--teacher", "t", "--data", "d", "--out", "r", "--steps", "300")),
    ],
)  # fmt: skip
def test_one_word_and_130(tmp_path, module, arguments):
    done = interrupted(tmp_path, module, *arguments)
    assert done.stderr.splitlines() == ["interrupted"]
    assert done.returncode == 128 + signal.SIGINT
    assert done.stdout == ""


def test_an_import_that_loses_the_interruption(tmp_path):
    """Some catch everything, and what is left of the package then fails somewhere else."""
    done = interrupted(tmp_path, "hw.verilog", "verilog", "--preset", "tiny", "-o", "x.v",
                       send=SWALLOW)
    assert done.stderr.splitlines() == ["interrupted"]
    assert done.returncode == 128 + signal.SIGINT


def test_an_interruption_that_is_ignored_stays_so(tmp_path):
    """As for a job in the background of a script."""
    done = interrupted(tmp_path, "signacc.group", "--version", ignored=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ", version " in done.stdout


def test_the_script_starts_here():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"signacc": "signacc.start:main"}


def test_it_imports_almost_nothing():
    """What comes before the handler is the time in which an interruption is Python's own."""
    code = ("import sys, os, signal; before = set(sys.modules); import signacc.start; "
            "print(sorted(set(sys.modules) - before - {'__future__'}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['signacc', 'signacc.interruption', 'signacc.start']\n"
