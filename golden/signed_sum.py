"""Signed sums on the CPU with weights that stay packed, one bit each, in memory.

The kernel is C++ (``kernels/signed_sum.cpp``), compiled once by the system's g++ (or $CXX) into the
cache. It picks AVX-512, AVX2 or tables of partial sums by what the processor has. Needs only numpy.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .cache import cache_root
from .errors import InputError
from .pack import check_packed

PATHS = ("tables", "avx2", "avx512")
"""Ways to compute, slowest first."""
UNPACK_FROM = 256
"""Vectors from which it is quicker to unpack a block of rows and multiply."""

_SOURCE = Path(__file__).with_name("kernels") / "signed_sum.cpp"
_OPTIONS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread")
_WORK_FOR_A_THREAD = 1 << 20
"""Weights below which a further thread costs more than it brings."""


@functools.cache
def _library() -> ctypes.CDLL:
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise InputError(
            "packed arithmetic needs a C++ compiler; there is no "
            f"{os.environ.get('CXX') or 'g++'} on PATH"
        )
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    key = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_OPTIONS).encode() + version).hexdigest()
    path = cache_root() / "kernels" / f"signed_sum-{key[:16]}.so"
    try:
        library = _loaded(compiler, path)
    except OSError as error:
        raise InputError(
            f"packed arithmetic needs {path}, a file of the cache ($SIGNACC_CACHE): {error}"
        ) from None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    library.signed_sum.argtypes = (
        pointer, count, count, pointer, count, pointer, ctypes.c_int, ctypes.c_int,
    )
    library.signed_sum.restype = None
    return library


def _loaded(compiler: str, path: Path) -> ctypes.CDLL:
    """Load the kernel at `path`; build it if it is not there, or damaged."""
    if path.is_file():
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        built = Path(work) / "kernel.so"
        done = subprocess.run(
            [compiler, *_OPTIONS, str(_SOURCE), "-o", str(built)],
            capture_output=True, text=True, errors="replace", check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise InputError(f"{compiler} must compile {_SOURCE.name}; it says: {reason}")
        os.replace(built, path)
    return ctypes.CDLL(str(path))


def paths() -> tuple[str, ...]:
    """Return those of `PATHS` that this processor has; raises InputError without a compiler."""
    return PATHS[: _library().signed_sum_path() + 1]


def default_threads() -> int:
    """Return $OMP_NUM_THREADS if it is a positive integer, else 1."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else 1


def signed_sum(
    signs: np.ndarray, p: np.ndarray, *, threads: int | None = None, path: str | None = None
) -> np.ndarray:
    """Return ``p @ S.T`` with ``S[i, j] = ±1`` held as one bit.

    Parameters
    ----------
    signs : uint8 ``[N, ceil(K/8)]``, least significant bit first, 1 = +1
    p : float32 ``[M, K]``; where a vector is not finite, so are its sums, or they are NaN
    threads : at most so many; `default_threads` by default
    path : one of `paths()`; the fastest by default

    Returns
    -------
    float32 ``[M, N]``. The same bits for any count of threads; another path may round differently.
    Integers are summed exactly while K times the largest magnitude is at most 2**23.

    Raises
    ------
    InputError
        If a shape or type breaks its rule, `path` is none of this processor's, or the kernel
        cannot be compiled.
    """
    if p.dtype != np.float32 or p.ndim != 2 or 0 in p.shape:
        raise InputError(
            f"p must be float32 [M, K] with M, K >= 1, not {p.dtype} {list(p.shape)}"
        )
    k = p.shape[1]
    signs = np.ascontiguousarray(check_packed(signs, k))
    p = np.ascontiguousarray(p)
    known = paths()
    if path is not None and path not in known:
        raise InputError(f"path must be one of {', '.join(known)} on this processor, not {path!r}")
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    n = len(signs)
    y = np.empty((len(p), n), dtype=np.float32)
    _library().signed_sum(
        signs.ctypes.data, n, k, p.ctypes.data, len(p), y.ctypes.data,
        max(1, min(threads, n * k // _WORK_FOR_A_THREAD, n)), PATHS.index(path or known[-1]),
    )
    return y
