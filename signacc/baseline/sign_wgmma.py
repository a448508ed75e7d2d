"""The 1-bit linear for many vectors on Hopper: `sign_wgmma.cu`, compiled and launched."""

from __future__ import annotations

import functools
from ctypes import c_int, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from golden.errors import InputError

from .nvrtc import Kernel, compile_cubin, read_source
from .packing import TILE_WGMMA
from .tensor_map import ROW_BYTES, vectors_map

if TYPE_CHECKING:  # needs Triton
    from .vectors import Vectors

ARCH = "sm_90a"
_ALIGNMENT = 1024  # of the ring, for the swizzle


@dataclass(frozen=True)
class WgmmaTile:
    """What a block computes.

    Attributes
    ----------
    consumers, rows
        Warpgroups that multiply, and tiles of 64 outputs of each.
    vectors
        16, 32, 64, 128 or 256.
    stages
        Places in shared memory, each of 128 bytes of every vector.
    split
        Blocks of a cluster that share the inputs: 1, 2, 4 or 8, at most ``vectors / 16``.
    """

    consumers: int
    rows: int
    vectors: int
    stages: int
    split: int = 1

    @property
    def outputs(self) -> int:
        """Outputs of a block."""
        return TILE_WGMMA * self.rows * self.consumers

    @property
    def threads(self) -> int:
        """Threads of a block; a block with one consumer has a single warp that copies."""
        return 128 * self.consumers + (32 if self.consumers == 1 else 128)

    @property
    def ring(self) -> int:
        """Bytes of shared memory for vectors, and later for sums to exchange and results."""
        exchange = 4 * self.outputs * self.vectors if self.split > 1 else 0
        results = (2 * self.outputs + 16) * self.vectors // self.split
        return max(self.stages * ROW_BYTES * self.vectors, exchange + results)

    @property
    def shared(self) -> int:
        """Bytes of dynamic shared memory: ring, three numbers a vector, two barriers a stage."""
        return _ALIGNMENT + self.ring + 12 * self.vectors + 16 * self.stages

    def defines(self, bits: int) -> dict[str, int]:
        """Return the macros of `sign_wgmma.cu`."""
        return {
            "BITS": bits, "CONSUMERS": self.consumers, "ROWS": self.rows, "VECTORS": self.vectors,
            "STAGES": self.stages, "SPLIT": self.split, "RING": self.ring,
        }


def check_rows(rows: tuple[int, ...]) -> None:
    """Raise InputError unless the kernel takes linears of so many outputs each."""
    for outputs in rows:
        if outputs % TILE_WGMMA:
            raise InputError(
                f"the warpgroup GEMM takes linears of a multiple of {TILE_WGMMA} outputs, "
                f"not {outputs}"
            )


def tiles_of(rows: tuple[int, ...], tile: WgmmaTile) -> int:
    """Return how many tiles cover linears of so many outputs; none reaches into the next linear."""
    return sum(-(-n // tile.outputs) for n in rows)


@functools.cache
def source() -> str:
    """Return the CUDA C++ of the kernel."""
    return read_source("hopper.cuh", "wgmma.cuh", "sign_wgmma.cu")


def compile_tile(tile: WgmmaTile, bits: int) -> bytes:
    """Return machine code of the kernel for vectors of `bits`; raises DeviceError without NVRTC."""
    return compile_cubin(source(), arch=ARCH, defines=tile.defines(bits))


def load(cubin: bytes, tile: WgmmaTile, early: bool) -> Kernel:
    """Return the kernel in what :func:`compile_tile` gave; `early` as in :class:`.nvrtc.Kernel`."""
    return Kernel(cubin, "sign_wgmma", shared=tile.shared, early=early)


@functools.cache
def kernel_of(tile: WgmmaTile, bits: int, early: bool) -> Kernel:
    """Return the kernel of a tile, compiled once."""
    return load(compile_tile(tile, bits), tile, early)


def sign_wgmma_into(
    fragments: Tensor, x: Vectors, y: Tensor, residual: bool, rows: tuple[int, ...],
    tile: WgmmaTile, *, early: bool = False, kernel: Kernel | None = None,
) -> None:
    """Write the signs' products with vectors into float16 ``y [M, N]``, or add them to it.

    Parameters
    ----------
    fragments
        The signs (:func:`.packing.fragment_order` of the width of `x`).
    rows
        Outputs of each linear.
    kernel
        Of this tile and width; None compiles it, to start early or not.
    """
    _, count, inputs = x.values.shape
    kernel = kernel or kernel_of(tile, 8 * x.values.element_size(), early)
    first, second = rows[0], sum(rows[:2])
    tensors = [fragments, x.shift, x.scale, x.total, y]
    pointers = [c_void_p(None if t is None else t.data_ptr()) for t in tensors]
    numbers = [count, y.shape[1], inputs, first, second, int(residual)]
    kernel.launch(
        (tiles_of(rows, tile) * tile.split, -(-count // tile.vectors)), tile.threads,
        [vectors_map(x.values, tile.vectors), *pointers, *map(c_int, numbers)],
        torch.cuda.current_stream().cuda_stream,
    )
