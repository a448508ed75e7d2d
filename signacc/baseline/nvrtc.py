"""Compile CUDA C++ at run time and launch it on PyTorch's stream.

NVRTC comes with the CUDA builds of PyTorch; both libraries are called through ctypes, so that no
compiler has to be installed. The functions are documented in NVIDIA's NVRTC and driver API manuals.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import sys
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path

from golden.cache import cache_root
from golden.errors import InputError
from signacc.files import write_files

from .errors import DeviceError

_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_COOPERATIVE = 2  # CU_LAUNCH_ATTRIBUTE_COOPERATIVE
_PROGRAMMATIC = 6  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute: an id, and a 64-byte union at offset 8."""

    _fields_ = (("id", c_int), ("pad", c_int), ("value", c_int * 16))


class _Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", c_uint * 3),
        ("block", c_uint * 3),
        ("shared", c_uint),
        ("stream", c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", c_uint),
    )


@functools.cache
def _nvrtc() -> ctypes.CDLL:
    names = []
    for folder in sys.path:
        names += sorted(Path(folder or ".").glob("nvidia/*/lib/libnvrtc.so.*"), reverse=True)
    names += ["libnvrtc.so", *(f"libnvrtc.so.{major}" for major in (14, 13, 12))]
    for name in names:
        try:
            return ctypes.CDLL(str(name))
        except OSError:
            continue
    raise DeviceError("NVRTC must be installed (it comes with CUDA builds of PyTorch); none found")


@functools.cache
def driver() -> ctypes.CDLL:
    """Return the CUDA driver's library; raises DeviceError without one."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise DeviceError("a CUDA driver must be installed; libcuda.so.1 is not found") from None


def check(code: int, what: str) -> None:
    """Raise DeviceError unless `code`, what a library function returned, is 0."""
    if code:
        raise DeviceError(f"{what} must succeed, not end with error {code}")


def read_source(*names: str) -> str:
    """Return the CUDA C++ of files of this package; later ones use what earlier ones define."""
    folder = Path(__file__).parent
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def compile_cubin(source: str, *, arch: str, defines: dict[str, int]) -> bytes:
    """Return the machine code of CUDA C++ `source` for `arch`, such as ``sm_90``.

    It is kept under :func:`golden.cache.cache_root` by what it is made of and NVRTC's version: a
    kernel takes seconds to compile, and a run needs dozens.

    Raises
    ------
    DeviceError
        If there is no NVRTC, or it refuses the source; the message carries its log.
    """
    lib = _nvrtc()
    major, minor = c_int(), c_int()
    check(lib.nvrtcVersion(byref(major), byref(minor)), "nvrtcVersion")
    options = [f"--gpu-architecture={arch}", "--std=c++17"]
    options += [f"-D{name}={value}" for name, value in defines.items()]
    made_of = json.dumps([source, options, major.value, minor.value])
    key = hashlib.sha256(made_of.encode()).hexdigest()
    path = cache_root() / "kernels" / f"{key[:32]}.cubin"
    with contextlib.suppress(OSError):
        return path.read_bytes()
    cubin = _compiled(lib, source, arch, options)
    with contextlib.suppress(OSError, InputError):  # a cache that cannot be written costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_files({path: [cubin]})
    return cubin


def _compiled(lib: ctypes.CDLL, source: str, arch: str, options: list[str]) -> bytes:
    program = c_void_p()
    check(
        lib.nvrtcCreateProgram(byref(program), source.encode(), b"kernel.cu", 0, None, None),
        "nvrtcCreateProgram",
    )
    array = (c_char_p * len(options))(*(option.encode() for option in options))
    try:
        if lib.nvrtcCompileProgram(program, len(options), array):
            size = c_size_t()
            lib.nvrtcGetProgramLogSize(program, byref(size))
            log = ctypes.create_string_buffer(size.value)
            lib.nvrtcGetProgramLog(program, log)
            raise DeviceError(f"a kernel must compile for {arch}: {log.value.decode()}")
        size = c_size_t()
        check(lib.nvrtcGetCUBINSize(program, byref(size)), "nvrtcGetCUBINSize")
        cubin = ctypes.create_string_buffer(size.value)
        check(lib.nvrtcGetCUBIN(program, cubin), "nvrtcGetCUBIN")
        return cubin.raw
    finally:
        lib.nvrtcDestroyProgram(byref(program))


class Kernel:
    """A compiled function on the current device.

    Parameters
    ----------
    cubin, name
        Machine code, and the name of an ``extern "C"`` function in it.
    shared
        Bytes of dynamic shared memory of each launch.
    early
        Whether it may start before the kernel ahead has ended (Hopper and later): then it waits
        (``griddepcontrol.wait``) before it touches what earlier kernels wrote.
    cooperative
        Whether its blocks wait for each other: the driver then refuses a grid that the device
        cannot hold at once, which would never end.
    """

    def __init__(
        self, cubin: bytes, name: str, *, shared: int = 0, early: bool = False,
        cooperative: bool = False,
    ) -> None:
        self._cubin = cubin
        asked = [_PROGRAMMATIC] * early + [_COOPERATIVE] * cooperative
        self._attributes = (_Attribute * max(1, len(asked)))()
        self._count = len(asked)
        for attribute, number in zip(self._attributes, asked, strict=False):
            attribute.id, attribute.value[0] = number, 1
        self._shared = shared
        module = c_void_p()
        self._function = c_void_p()
        cuda = driver()
        check(cuda.cuModuleLoadData(byref(module), cubin), "cuModuleLoadData")
        check(
            cuda.cuModuleGetFunction(byref(self._function), module, name.encode()),
            "cuModuleGetFunction",
        )
        if shared > 48 * 1024:
            check(
                cuda.cuFuncSetAttribute(self._function, _MAX_DYNAMIC_SHARED, shared),
                f"reserving {shared} bytes of shared memory",
            )

    def launch(
        self, grid: tuple[int, int], threads: int, arguments: Sequence[object], stream: int
    ) -> None:
        """Launch on a CUDA stream (its handle); arguments are ctypes values."""
        config = _Config(
            grid=(c_uint * 3)(*grid, 1),
            block=(c_uint * 3)(threads, 1, 1),
            shared=self._shared,
            stream=stream,
            attributes=self._attributes,
            count=self._count,
        )
        pointers = (c_void_p * len(arguments))(
            *(ctypes.cast(byref(a), c_void_p) for a in arguments)
        )
        check(
            driver().cuLaunchKernelEx(byref(config), self._function, pointers, None),
            "cuLaunchKernelEx",
        )
