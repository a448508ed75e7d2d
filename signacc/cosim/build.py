"""Builds Verilog under Verilator for cocotb, and runs cocotb benches so that no failure hides.

Builds are cached by content: the Verilog, the waivers, the tool versions and the options.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cocotb
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Verilator

from golden.cache import cache_root

from .toolchain import (
    WAIVERS,
    Toolchain,
    ToolError,
    check_make_path,
    find_toolchain,
    python_version,
)

_OPTIONS = ("-Wall", "--x-initial", "unique", "--x-assign", "unique", "-O3")
_COMPILE = "OPT_FAST=-O2 OPT_SLOW=-O0 OPT_GLOBAL=-O1"
# The code that compares every net with its last value is most of a traced build, and runs briefly.
_COMPILE_TRACED = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O1"


class BenchError(RuntimeError):
    """A bench failed, ran no test, or ran another number of tests than expected."""


class _PortsPublic(Verilator):
    """cocotb's runner, but only the top module's signals are public.

    cocotb makes every signal of the design public, which forbids Verilator to optimize anything
    away; benches here look at ports only.
    """

    def _build_command(self):
        commands = super()._build_command()
        where = commands[0].index("--public-flat-rw")
        commands[0][where : where + 1] = ["--public-depth", "1"]
        if self.waves:  # switching activity instead of waves
            where = commands[0].index("--trace")
            commands[0][where : where + 1] = ["--trace-saif"]
        # Objects that were taken over are older than the makefile, on which they depend by name.
        for name in _RUNTIME:
            if (self.build_dir / f"{name}.o").is_file():
                commands[1] += ["-o", f"{name}.o"]
        return commands


@dataclass(frozen=True)
class Build:
    """A compiled design.

    Attributes
    ----------
    folder
        Where the executable lies.
    top
        Top module.
    toolchain
        What built it.
    saif
        It can write how often its nets toggle.
    """

    folder: Path
    top: str
    toolchain: Toolchain
    saif: bool = False


def build(
    verilog: str, top: str, *, saif: bool = False, on_build: Callable[[], None] | None = None
) -> Build:
    """Compile `verilog` with Verilator, or return the cached build of the same content.

    Parameters
    ----------
    saif
        Build it so that a run can write its switching activity; compiles and runs slower.
    on_build
        Called when a compilation really starts.

    Raises
    ------
    ToolError
        If a tool is missing, or the compilation fails (the message names the log).
    """
    toolchain = find_toolchain()
    key = hashlib.sha256()
    for part in (
        verilog,
        top,
        WAIVERS.read_text(encoding="utf-8"),
        toolchain.version,
        toolchain.verilator,
        cocotb.__version__,
        python_version(),
        *_OPTIONS,
        _compile_flags(saif),
    ):
        key.update(part.encode() + b"\0")
    root = cache_root().absolute() / "builds"
    check_make_path(root, "the build cache ($SIGNACC_CACHE)")
    folder = root / f"{top}-{key.hexdigest()[:20]}"
    done = Build(folder, top, toolchain, saif)
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{folder.name}.lock"):
        if _is_whole(folder, top):
            return done
        if on_build is not None:
            on_build()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        runtime = root / f"runtime-{_runtime_key(toolchain, saif)}"
        _take_runtime(runtime, folder)
        source = folder / f"{top}.v"
        source.write_text(verilog, encoding="utf-8")
        log = folder / "build.log"
        with _environment(toolchain.environment | _make_flags(toolchain, saif)):
            runner = _PortsPublic()
            try:
                runner.build(
                    sources=[WAIVERS, source],
                    hdl_toplevel=top,
                    build_dir=folder,
                    build_args=list(_OPTIONS),
                    waves=saif,
                    timescale=("1ns", "1ps"),
                    log_file=log,
                    always=True,
                )
            except (SystemExit, subprocess.CalledProcessError, RuntimeError) as error:
                raise ToolError(
                    f"Verilator could not build {top}: see {log} ({_first_error(log)})"
                ) from error
        _keep_runtime(folder, runtime)
        for header in folder.glob("*.gch"):  # precompiled: 70 MB each, of no use any more
            header.unlink()
        (folder / "complete").write_text(_digest(folder / top), encoding="utf-8")
    return done


_RUNTIME = ("verilated", "verilated_vpi", "verilated_threads")
"""Objects of Verilator's own sources: the same in every build of a toolchain.

cocotb's ``verilator.cpp`` is not one of them: it holds the size of the design's class.
"""


def _compile_flags(saif: bool) -> str:
    return _COMPILE_TRACED if saif else _COMPILE


def _runtime_key(toolchain: Toolchain, saif: bool) -> str:
    parts = (
        toolchain.version, toolchain.verilator, cocotb.__file__, cocotb.__version__,
        python_version(), *_OPTIONS, _compile_flags(saif),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _take_runtime(runtime: Path, folder: Path) -> None:
    """Put the runtime's objects into a build, where make is told to leave them alone."""
    for path in runtime.glob("*.[od]"):
        shutil.copyfile(path, folder / path.name)


def _keep_runtime(folder: Path, runtime: Path) -> None:
    """Keep the runtime's objects of a finished build for the next ones, all or none."""
    made = [folder / f"{name}.{kind}" for name in _RUNTIME for kind in ("o", "d")]
    if runtime.is_dir() or not all(path.is_file() for path in made if path.suffix == ".o"):
        return
    with tempfile.TemporaryDirectory(dir=runtime.parent) as temporary:
        ready = Path(temporary) / "ready"
        ready.mkdir()
        for path in made:
            if path.is_file():
                shutil.copyfile(path, ready / path.name)
        with suppress(OSError):  # another process may have been faster
            ready.rename(runtime)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(folder: Path, top: str) -> bool:
    """Return whether the cached executable is the one that was built."""
    try:
        return (folder / "complete").read_text(encoding="utf-8") == _digest(folder / top)
    except (OSError, UnicodeDecodeError):
        return False


def run_bench(
    built: Build,
    module: str,
    *,
    tests: Sequence[str],
    work: Path,
    environment: Mapping[str, str] | None = None,
    plusargs: Sequence[str] = (),
    saif: Path | None = None,
) -> Path:
    """Run the cocotb tests named `tests` of `module` on a build; return the log's path.

    Parameters
    ----------
    module
        Importable name of the bench module.
    tests
        Names of the test functions: exactly these must run and pass.
    work
        Folder for the log and the results file.
    environment, plusargs
        Added to the simulator's environment and command line.
    saif
        Where to write the switching activity of all nets from reset to end, as SAIF 2.0.

    Raises
    ------
    ValueError
        If `saif` is asked of a build without it.
    BenchError
        If a test failed, or another number of tests ran: a bench that ran nothing has failed.
    """
    if saif is not None and not built.saif:
        raise ValueError(f"switching activity needs a build with saif, not {built.folder}")
    work.mkdir(parents=True, exist_ok=True)
    log = work / "bench.log"
    results = work / "results.xml"
    results.unlink(missing_ok=True)
    with _environment(built.toolchain.environment | dict(environment or {})):
        runner = _PortsPublic()
        # However the simulator ends, what counts is the results file.
        with suppress(SystemExit, subprocess.CalledProcessError, RuntimeError):
            runner.test(
                test_module=module,
                hdl_toplevel=built.top,
                hdl_toplevel_lang="verilog",
                build_dir=built.folder,
                test_dir=work,
                results_xml=str(results),
                test_filter="|".join(rf"\.{name}$" for name in tests),
                log_file=log,
                waves=saif is not None,
                test_args=[] if saif is None else ["--trace-file", str(saif)],
                plusargs=list(plusargs),
            )
    try:
        count, failed = get_results(results)
    except (RuntimeError, ElementTree.ParseError) as error:
        raise BenchError(f"bench {module} ended without results: see {log}") from error
    if failed or count != len(tests):
        raise BenchError(
            f"bench {module}: {failed} of {count} tests failed, {len(tests)} expected to pass: "
            f"see {log}"
        )
    return log


def _make_flags(toolchain: Toolchain, saif: bool) -> dict[str, str]:
    flags = toolchain.environment.get("MAKEFLAGS", "")
    # Compilations of one design side by side; more than a few only cost memory.
    jobs = min(4, os.cpu_count() or 1)
    return {"MAKEFLAGS": f"-j{jobs} {flags} {_compile_flags(saif)}".strip()}


@contextmanager
def _locked(path: Path):
    """Hold an exclusive lock, so that two processes do not build the same thing."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _environment(values: Mapping[str, str]):
    """Set environment variables, and put Verilator's folder on PATH, for the time of a block."""
    values = dict(values)
    if "VERILATOR_ROOT" in values:
        binaries = str(Path(values["VERILATOR_ROOT"]) / "bin")
        values["PATH"] = binaries + os.pathsep + os.environ.get("PATH", "")
    # The user's own cocotb settings (filters, seeds) are not meant for these benches.
    foreign = [name for name in os.environ if name.startswith("COCOTB_") and name not in values]
    before = {name: os.environ.get(name) for name in (*values, *foreign)}
    for name in foreign:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _first_error(log: Path) -> str:
    """Return the log's first line that speaks of an error, else its last."""
    try:
        lines = [s.strip() for s in log.read_text(errors="replace").splitlines() if s.strip()]
    except OSError:
        lines = []
    if not lines:
        return "the log is empty"
    found = next((s for s in lines if re.search(r"error|No space", s, re.IGNORECASE)), lines[-1])
    return found[:200]
