"""CUDA C++ compiled at run time; what needs NVRTC is skipped without it, nothing needs a GPU."""

import ctypes
from pathlib import Path

import pytest

import signacc.baseline
from signacc.baseline import nvrtc
from signacc.baseline.errors import DeviceError

FOLDER = Path(signacc.baseline.__file__).parent
SOURCE = "".join(
    (FOLDER / name).read_text(encoding="utf-8")
    for name in ("bitplane.cuh", "planes.cuh", "bitplane.cu")
)


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
        {"K": 768, "PLANES": 16, "MODE": 1, "SPLIT": 1, "AHEAD": 1, "LATE": 1},
        {"K": 4096, "PLANES": 16, "MODE": 1, "SPLIT": 2, "AHEAD": 1, "LATE": 0},
        {"K": 11008, "PLANES": 8, "MODE": 2, "SPLIT": 4, "AHEAD": 0, "LATE": 0},
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


class Counting:
    """An NVRTC that does nothing but say its version."""

    minor = 1

    def nvrtcVersion(self, major, minor):
        major._obj.value, minor._obj.value = 13, self.minor
        return 0


def test_machine_code_is_kept_by_what_it_is_made_of(monkeypatch, tmp_path):
    lib, made = Counting(), []
    monkeypatch.setattr(nvrtc, "_nvrtc", lambda: lib)

    def compiled(_, source, arch, options):
        made.append((source, arch, *options))
        return f"code {len(made)}".encode()

    monkeypatch.setattr(nvrtc, "_compiled", compiled)
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "new"))

    def code(source="a", arch="sm_90", **defines):
        return nvrtc.compile_cubin(source, arch=arch, defines=defines)

    assert [code(), code(), code()] == [b"code 1"] * 3
    assert [code("b"), code(arch="sm_80"), code(BITS=8)] == [b"code 2", b"code 3", b"code 4"]
    lib.minor = 2
    assert code() == b"code 5"
    assert len(made) == 5


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(nvrtc, "_nvrtc", Counting)
    monkeypatch.setattr(nvrtc, "_compiled", lambda *_: b"code")
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "file"))
    assert nvrtc.compile_cubin("a", arch="sm_90", defines={}) == b"code"
