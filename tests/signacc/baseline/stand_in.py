"""Kernels as libraries for the CPU, in place of the GPU's: the warpgroup kernel (hopper.hpp)."""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from golden.cache import cache_root
from signacc.baseline import device as devices
from signacc.baseline import sign_wgmma

HOPPER = Path(__file__).with_name("hopper.hpp")
BODY = Path(sign_wgmma.__file__).with_name("sign_wgmma.cu")
OPTIONS = ("-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-pthread")
INPUT = ("-x", "c++", "-")  # source from standard input


@functools.cache
def compiler():
    """Return g++ (or $CXX) and its version; skips the test where it cannot build the stand-in."""
    name = os.environ.get("CXX") or "g++"
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"the stand-in for Hopper needs a C++ compiler; there is no {name} on PATH")
    probe = "#include <barrier>\n_Float16 half;\n"
    tried = subprocess.run([found, *OPTIONS, "-fsyntax-only", *INPUT], input=probe,
                           capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"the stand-in for Hopper needs C++20 and _Float16; {name} lacks them")
    return found, subprocess.run([found, "--version"], capture_output=True, check=True).stdout


def build(name, code, defines):
    """Return C++ as a library of the machine this runs on; built once for its content."""
    command, version = compiler()
    defines = [f"-D{name}={value}" for name, value in defines.items()]
    key = hashlib.sha256(b"\0".join([code, version, repr((defines, OPTIONS)).encode()]))
    folder = cache_root() / "kernels"
    library = folder / f"{name}-{key.hexdigest()[:16]}.so"
    if not library.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            built = Path(work) / "kernel.so"
            subprocess.run(
                [command, *defines, *OPTIONS, *INPUT, "-o", str(built)], input=code, check=True
            )
            os.replace(built, library)
    return ctypes.CDLL(str(library))


class StandIn:
    """What `nvrtc.Kernel` is to the code that launches it."""

    def __init__(self, tile, bits, early):
        assert not early  # the CPU has nothing that overlaps
        code = HOPPER.read_bytes() + BODY.read_bytes()
        self.tile = tile
        self.grid = build("sign_wgmma", code, tile.defines(bits)).run_grid

    def launch(self, grid, threads, arguments, stream):
        (x, vectors), *others = arguments
        assert (vectors, threads) == (self.tile.vectors, self.tile.threads)
        self.grid(ctypes.c_void_p(x.data_ptr()), len(x), *others, *grid)


def install(monkeypatch):
    """Let the stand-in run wherever the warpgroup GEMM would; 132 processors, as an H200."""
    monkeypatch.setattr(devices, "require_hopper", lambda device: None)
    monkeypatch.setattr(sign_wgmma, "kernel_of", functools.cache(StandIn))
    monkeypatch.setattr(sign_wgmma, "vectors_map", lambda x, vectors: (x, vectors))
    device = SimpleNamespace(multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
