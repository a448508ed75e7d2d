"""The 1-bit linear for many vectors, by either of two kernels: :func:`make_gemm` chooses."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import triton
from torch import Tensor

from golden.errors import InputError

from . import device as devices
from . import sign_gemm, sign_wgmma
from .packing import fragment_order, word_order
from .plan import GEMMS
from .tiles import gemm_tile, int8_tile, wgmma_tile
from .vectors import Vectors
from .weights import Signs


class Gemm(ABC):
    """A kernel for many vectors of `bits` (16: float16, 8: int8), and its order of the signs.

    Attributes
    ----------
    gemv_limit
        Most vectors for which the binary matrix instructions are the faster.
    """

    gemv_limit: int

    def __init__(self, bits: int) -> None:
        self.bits = bits

    @abstractmethod
    def order(self, signs: Signs) -> Tensor:
        """Return the signs as the kernel reads them; raises InputError for a shape it lacks."""

    @abstractmethod
    def run(
        self, weights: Tensor, x: Vectors, y: Tensor, residual: bool, rows: tuple[int, ...],
        overlap: bool = False,
    ) -> None:
        """Write the signs' products, plus the shifts, into float16 ``y [M, N]``.

        Parameters
        ----------
        weights
            What :meth:`order` gave.
        residual
            Whether y is added to, not overwritten.
        rows
            Outputs of each linear.
        overlap
            Whether it may start while the kernel ahead ends; not all can.
        """


class TritonGemm(Gemm):
    """Any GPU that Triton knows; measured on an H200."""

    gemv_limit = 16  # measured (H200)

    def order(self, signs: Signs) -> Tensor:
        return word_order(signs.packed, self.bits)

    def run(
        self, weights: Tensor, x: Vectors, y: Tensor, residual: bool, rows: tuple[int, ...],
        overlap: bool = False,
    ) -> None:
        count, outputs = y.shape
        tile = gemm_tile(count, outputs) if self.bits == 16 else int8_tile(count, outputs)
        grid = (triton.cdiv(count, tile.block_m), triton.cdiv(outputs, tile.block_n))
        ends = count, outputs, rows[0], sum(rows[:2])
        shape = {
            "size": x.values.shape[2], "residual": residual, "block_m": tile.block_m,
            "block_n": tile.block_n, "block_w": tile.block_w, "stages": tile.stages,
            "num_warps": tile.warps,
        }
        if self.bits == 16:
            sign_gemm.sign_gemm_kernel[grid](weights, x.values, x.shift, y, *ends, **shape)
        else:
            sign_gemm.sign_gemm_int8_kernel[grid](
                weights, x.values, x.shift, x.scale, x.total, y, *ends,
                assembly=not triton.knobs.runtime.interpret, **shape,
            )


class WarpgroupGemm(Gemm):
    """Hopper alone."""

    gemv_limit = 4  # derived: a layer of fbi-7b takes as long by either kernel at 5 to 8 (H200)

    def __init__(self, bits: int, device: torch.device) -> None:
        super().__init__(bits)
        devices.require_hopper(device)
        self.processors = torch.cuda.get_device_properties(device).multi_processor_count

    def order(self, signs: Signs) -> Tensor:
        sign_wgmma.check_rows(signs.rows)
        return fragment_order(signs.packed, self.bits)

    def run(
        self, weights: Tensor, x: Vectors, y: Tensor, residual: bool, rows: tuple[int, ...],
        overlap: bool = False,
    ) -> None:
        tile = wgmma_tile(len(y), rows, x.values.shape[2], self.processors, self.bits)
        sign_wgmma.sign_wgmma_into(weights, x, y, residual, rows, tile, early=overlap)


def make_gemm(name: str, bits: int, device: torch.device) -> Gemm:
    """Return the GEMM called `name`, one of :data:`.plan.GEMMS`.

    Raises
    ------
    InputError
        If there is none of this name; DeviceError if the device lacks its instructions.
    """
    if name not in GEMMS:
        raise InputError(f"a GEMM is one of {', '.join(GEMMS)}, not {name!r}")
    return TritonGemm(bits) if name == "triton" else WarpgroupGemm(bits, device)
