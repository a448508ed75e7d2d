"""The native 1-bit path: binary matrix instructions for few vectors, unpacking GEMM for many."""

from __future__ import annotations

import contextlib
import functools
from ctypes import c_float, c_int, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import InputError

from .cache import Cache
from .device import is_hopper
from .gemm import make_gemm
from .nvrtc import Kernel, compile_cubin, read_source
from .packing import TILE_K, TILE_N, tile_order
from .paths import PROLOGUES, Path
from .plan import EARLY, GEMMS, ONE_LAUNCH
from .step import OneLaunch, StepShape
from .vectors import fold, quantize
from .weights import FUSED, Signs, dense_of, random_signs

_WARPS = 8
_STAGED = 4  # vectors whose bit planes lie in shared memory at once


def split_for(outputs: int, inputs: int, rows: tuple[int, ...]) -> int:
    """Return how many warps share a tile of 16 outputs, 1, 2, 4 or 8.

    The fewest that give 1,024 warps, about eight for each processor of a large GPU; a block's tiles
    lie in one linear.
    """
    split = 1
    while split < _WARPS and outputs // TILE_N * split < 1024 and 2 * split <= inputs // TILE_K:
        split *= 2
    while split < _WARPS and any(n // TILE_N % (_WARPS // split) for n in rows):
        split *= 2
    return split


def gemv_defines(
    outputs: int, inputs: int, rows: tuple[int, ...], prologue: int, act_bits: int, *,
    overlap: bool, late: bool,
) -> dict[str, int]:
    """Return the macros of bitplane.cu for one vector."""
    return {"MODE": prologue, "SPLIT": split_for(outputs, inputs, rows), "K": inputs,
            "PLANES": act_bits, "AHEAD": int(overlap), "LATE": int(late)}


@functools.cache
def source() -> str:
    """Return the CUDA C++ of the kernels for few vectors."""
    return read_source("bitplane.cuh", "planes.cuh", "bitplane.cu")


@functools.cache
def _kernel(name: str, shared: int, **defines: int) -> Kernel:
    major, minor = torch.cuda.get_device_capability()
    cubin = compile_cubin(source(), arch=f"sm_{major}{minor}", defines=defines)
    return Kernel(cubin, name, shared=shared, early=major >= 9)


def _plane_bytes(inputs: int, act_bits: int) -> int:
    """Bytes of a vector's bit planes."""
    return inputs // TILE_K * 32 * act_bits


@dataclass(frozen=True)
class _Matrix:
    """Signs in golden's order, in the GEMV's, and in the GEMM's."""

    signs: Signs
    tiles: Tensor
    words: Tensor

    @property
    def outputs(self) -> int:
        return len(self.signs.packed)

    @property
    def first(self) -> int:
        return self.signs.rows[0]

    @property
    def second(self) -> int:
        return sum(self.signs.rows[:2])


def _pointer(tensor: Tensor) -> c_void_p:
    return c_void_p(tensor.data_ptr())


class SignPath(Path):
    """1-bit weights with scale and shift on the input axis; float16 activations.

    Parameters
    ----------
    act_bits
        16 or 8: width of the quantized activations of the matrix-instruction path.
    gemv_limit
        Most vectors that go to the binary matrix instructions, more go to the GEMM; None is the
        GEMM's own.
    gemm
        One of :data:`.plan.GEMMS`.
    """

    dtype = torch.float16

    def __init__(
        self, config: ModelConfig, device: torch.device, *, act_bits: int = 16,
        gemv_limit: int | None = None, gemm: str = GEMMS[0],
    ) -> None:
        if act_bits not in (8, 16):
            raise InputError(f"act_bits of the GPU's 1-bit path must be 8 or 16, not {act_bits}")
        self.name = f"sign-a{act_bits}"
        self.act_bits = act_bits
        super().__init__(config, device)
        self.gemm = make_gemm(gemm, act_bits, device)
        self.gemv_limit = self.gemm.gemv_limit if gemv_limit is None else gemv_limit
        self._step: OneLaunch | None = None
        self.weights = [
            {part: self._matrix(random_signs(config, part, device)) for part in FUSED}
            for _ in range(config.num_hidden_layers)
        ]

    @property
    def early_ways(self) -> tuple[str, ...]:
        if len(super().early_ways) == 1:
            return super().early_ways
        return tuple(way for way in EARLY if way != ONE_LAUNCH or self.step_shape is not None)

    @functools.cached_property
    def step_shape(self) -> StepShape | None:
        """Sizes of the step in one launch; None where the device or the shape does not allow it."""
        if not is_hopper(self.device):
            return None
        processors = torch.cuda.get_device_properties(self.device).multi_processor_count
        with contextlib.suppress(InputError):  # says what does not fit
            return StepShape(self.config, self.act_bits, processors)
        return None

    def step(self, tokens: Tensor, cache: Cache, last: int, cos: Tensor, sin: Tensor) -> Tensor:
        if self._step is None:
            layers = [{part: (m.signs, m.tiles) for part, m in parts.items()}
                      for parts in self.weights]
            self._step = OneLaunch(self.step_shape, self.frame, layers, cos, sin)
        return self._step(tokens, cache, last, torch.cuda.current_stream().cuda_stream)

    def start_early(self, way: str) -> None:
        super().start_early(way)
        self.one_launch = way == ONE_LAUNCH
        self.late = self.overlap and way != "all, at once"

    def _matrix(self, signs: Signs) -> _Matrix:
        return _Matrix(signs, tile_order(signs.packed), self.gemm.order(signs))

    @property
    def weight_bytes(self) -> int:
        return self.config.binary_weights // 8

    def dense(self, layer: int, part: str) -> Tensor:
        return dense_of(self.weights[layer][part].signs)

    def signs(self, layer: int, part: str) -> Signs:
        return self.weights[layer][part].signs

    def linear(self, layer: int, part: str, x: Tensor, y: Tensor | None) -> Tensor:
        matrix = self.weights[layer][part]
        residual = y is not None
        if y is None:
            y = torch.empty((len(x), matrix.outputs), dtype=self.dtype, device=self.device)
        run = self._gemv if len(x) <= self.gemv_limit else self._gemm
        run(matrix, x, y, residual, PROLOGUES[part], self.gain(layer, part))
        return y

    def _gemv(
        self, matrix: _Matrix, x: Tensor, y: Tensor, residual: bool, prologue: int,
        gain: Tensor | None,
    ) -> None:
        signs = matrix.signs
        outputs, inputs = matrix.outputs, 8 * signs.packed.shape[1]
        count, sets = len(x), len(signs.rows)
        stream = torch.cuda.current_stream().cuda_stream
        split = split_for(outputs, inputs, signs.rows)
        blocks = outputs // TILE_N // (_WARPS // split)
        shape = {"K": inputs, "PLANES": self.act_bits, "AHEAD": int(self.overlap)}
        source = [_pointer(x), _pointer(x if gain is None else gain), _pointer(signs.alpha),
                  _pointer(signs.beta)]
        eps = c_float(self.config.rms_norm_eps)
        ends = [c_int(matrix.first), c_int(matrix.second), c_int(residual)]
        if count == 1:
            defines = gemv_defines(outputs, inputs, signs.rows, prologue, self.act_bits,
                                   overlap=self.overlap, late=self.late)
            kernel = _kernel(
                "sign_gemv_one", _plane_bytes(inputs, self.act_bits), **defines
            )
            kernel.launch((blocks, 1), 32 * _WARPS,
                          [_pointer(matrix.tiles), *source, _pointer(y), eps, *ends], stream)
            return
        planes = torch.empty(
            (sets, count, _plane_bytes(inputs, self.act_bits) // 4), dtype=torch.int32,
            device=self.device,
        )
        meta = torch.empty((sets, count, 4), dtype=torch.int32, device=self.device)
        _kernel("prepare", 0, MODE=prologue, **shape).launch(
            (sets, count), 32 * _WARPS, [*source, _pointer(planes), _pointer(meta), eps], stream
        )
        batch = min(count, _STAGED)
        shared = batch * (_plane_bytes(inputs, self.act_bits) + _WARPS * TILE_N * 4)
        _kernel("sign_gemv", shared, SPLIT=split, BATCH=batch, **shape).launch(
            (blocks, 1), 32 * _WARPS,
            [_pointer(matrix.tiles), _pointer(planes), _pointer(meta), _pointer(y), c_int(count),
             c_int(outputs), *ends],
            stream,
        )

    def _gemm(
        self, matrix: _Matrix, x: Tensor, y: Tensor, residual: bool, prologue: int,
        gain: Tensor | None,
    ) -> None:
        before = fold if self.act_bits == 16 else quantize
        eps = self.config.rms_norm_eps
        vectors = before(x, matrix.signs, prologue, gain, eps, self.overlap_many)
        rows = matrix.signs.rows
        self.gemm.run(matrix.words, vectors, y, residual, rows, self.overlap_many)
