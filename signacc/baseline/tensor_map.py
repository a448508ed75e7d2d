"""Descriptors of the copy engine of Hopper GPUs (CUDA driver API, Tensor Map Object Management)."""

from __future__ import annotations

import ctypes
from ctypes import c_uint32, c_uint64, c_void_p

from torch import Tensor

from .nvrtc import check, driver

_UINT8, _FLOAT16 = 0, 6  # CUtensorMapDataType, by bytes of an element below
_TYPES = {1: _UINT8, 2: _FLOAT16}
_SWIZZLE_128 = 3  # CU_TENSOR_MAP_SWIZZLE_128B
_PROMOTE_256 = 3  # CU_TENSOR_MAP_L2_PROMOTION_L2_256B
_BYTES, _ALIGNMENT = 128, 64
ROW_BYTES = 128
"""Bytes of a row of a box: the width of the swizzle."""


def vectors_map(x: Tensor, vectors: int) -> ctypes.Array[ctypes.c_ubyte]:
    """Return the descriptor by which a block copies boxes of `vectors` × 128 bytes of ``x``.

    ``x [sets, M, K]`` is contiguous, of 1 or 2 bytes an element, its rows a multiple of 16 bytes.
    Vectors beyond M are read as zeros. `vectors` is at most 256.

    Raises
    ------
    DeviceError
        If the driver refuses it.
    """
    sets, count, inputs = x.shape
    size = x.element_size()
    memory = (ctypes.c_ubyte * (_BYTES + _ALIGNMENT))()
    offset = -ctypes.addressof(memory) % _ALIGNMENT
    made = (ctypes.c_ubyte * _BYTES).from_buffer(memory, offset)
    check(
        driver().cuTensorMapEncodeTiled(
            made, _TYPES[size], c_uint32(3), c_void_p(x.data_ptr()),
            (c_uint64 * 3)(inputs, count, sets),
            (c_uint64 * 2)(inputs * size, count * inputs * size),
            (c_uint32 * 3)(ROW_BYTES // size, vectors, 1),
            (c_uint32 * 3)(1, 1, 1),
            0, _SWIZZLE_128, _PROMOTE_256, 0,
        ),
        "cuTensorMapEncodeTiled",
    )
    return made
