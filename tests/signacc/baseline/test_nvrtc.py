"""CUDA C++ compiled at run time; what needs NVRTC is skipped without it, nothing needs a GPU."""

import ctypes
from pathlib import Path

import pytest

import signacc.baseline
from signacc.baseline import nvrtc
from signacc.baseline.errors import DeviceError

SOURCE = (Path(signacc.baseline.__file__).parent / "bitplane.cu").read_text(encoding="utf-8")


@pytest.fixture
def compiler():
    try:
        nvrtc._nvrtc()
    except DeviceError:
        pytest.skip("no NVRTC is installed")


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    "defines",
    [
        {"K": 768, "PLANES": 16, "MODE": 1, "AHEAD": 1},
        {"K": 768, "PLANES": 16, "MODE": 1, "SPLIT": 1, "AHEAD": 1},
        {"K": 11008, "PLANES": 8, "MODE": 2, "SPLIT": 4, "AHEAD": 0},
        {"K": 4096, "PLANES": 16, "SPLIT": 2, "BATCH": 4, "AHEAD": 0},
    ],
)
def test_the_kernels_compile(compiler, arch, defines):
    assert nvrtc.compile_cubin(SOURCE, arch=arch, defines=defines).startswith(b"\x7fELF")


def test_a_refused_source_carries_the_log(compiler):
    with pytest.raises(DeviceError, match=r"(?s)a kernel must compile for sm_90: .*nonsense"):
        nvrtc.compile_cubin("nonsense", arch="sm_90", defines={})


def test_without_nvrtc_it_says_so(monkeypatch):
    def missing(name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    nvrtc._nvrtc.cache_clear()
    with pytest.raises(DeviceError, match="NVRTC must be installed"):
        nvrtc._nvrtc()
