"""A whole decode step of one vector in one launch on Hopper: `step.cu`, compiled and launched."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Sequence
from ctypes import c_float, c_int, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import InputError

from .nvrtc import Kernel, compile_cubin, read_source
from .packing import TILE_K, TILE_N
from .sign_wgmma import ARCH
from .weights import FUSED, Frame, Signs

SOURCES = ("hopper.cuh", "bitplane.cuh", "planes.cuh", "grid.cuh", "attend.cuh", "step.cu")
SKIPS = {"attention": 1, "bit planes": 2, "counting": 4, "copies": 8, "head": 16, "barriers": 32}
"""What a kernel can leave out, to time the rest; the results are wrong then."""

PHASES = ("qkv", "attention", "out", "gate_up", "down")
"""Phases of a layer."""

MARKS = ("begin", "weights", "inputs", "planes", "sums")
"""What a block stamps in a phase: when it begins, and when each is there. Attention waits for no
weights, and its `planes` is the cached part; the head has `begin`, `inputs`, `planes` (the vector
staged) and `sums`."""

_WARPS = 16  # that compute
_SLOT = 8192  # bytes of a place in the ring
_SLOTS = range(8, 32)  # of the ring: one batch of cached rows, and one arrival a lane
_MEMORY = 232_448  # bytes of shared memory that a block may have (compute capability 9.0)
_SPAN = 32  # fewest cached positions that are worth a block of their own
_COUNTERS = 64
_LAYER = 16 * 8  # bytes of a layer's pointers


@dataclass(frozen=True)
class StepShape:
    """Sizes of the kernel for a model on a device.

    Parameters
    ----------
    config, act_bits
        Model, and width of quantized activations: 8 or 16.
    blocks
        Blocks of the grid, one a processor of the device.
    flight
        Copies of a layer that a block has under way at once; 0 for no limit.
    stamps
        Whether each block stamps its phases with the clock (:attr:`OneLaunch.stamps`).

    Raises
    ------
    InputError
        If the kernel cannot run the model on so many processors.
    """

    config: ModelConfig
    act_bits: int
    blocks: int
    flight: int = 2
    stamps: bool = False

    def __post_init__(self) -> None:
        c = self.config
        width = c.num_attention_heads * c.head_dim
        rules = {
            "hidden_size a multiple of 256, at most 4096":
                c.hidden_size % TILE_K == 0 and c.hidden_size <= _SLOT // 2,
            "intermediate_size a multiple of 256": c.intermediate_size % TILE_K == 0,
            "heads as wide as hidden_size together": width == c.hidden_size,
            "head_dim 16, 32, 64, 128 or 256": c.head_dim in (16, 32, 64, 128, 256),
            "a processor for each head": self.blocks >= c.num_attention_heads,
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(
                    f"a step in one launch takes {rule}, not {c}, {self.blocks} blocks"
                )
        if self.slots < max(_SLOTS.start, *self._slots_of_phases()):
            raise InputError(
                f"a step in one launch takes what a block has of a phase in {self.slots} places of "
                f"{_SLOT} bytes, not {max(self._slots_of_phases())}, for {c}, {self.blocks} blocks"
            )

    def _most(self, things: int) -> int:
        return -(-things // self.blocks)

    def _tiles(self) -> dict[str, int]:
        """Most tiles of 16 outputs of a block in each phase."""
        c = self.config
        qkv = (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim
        hidden = self._most(c.hidden_size // TILE_N)
        return {"qkv": self._most(qkv // TILE_N), "out": hidden, "down": hidden,
                "gate_up": 2 * self._most(c.intermediate_size // TILE_N)}

    def _slots_of_phases(self) -> list[int]:
        def slots(tiles: int, inputs: int) -> int:
            return -(-tiles * inputs * TILE_N // 8 // _SLOT)

        c, tiles = self.config, self._tiles()
        return [slots(tiles["qkv"], c.hidden_size), slots(tiles["out"], c.hidden_size),
                2 * slots(tiles["gate_up"] // 2, c.hidden_size),
                slots(tiles["down"], c.intermediate_size)]

    @property
    def _around(self) -> int:
        """Bytes of a block's shared memory beside the ring (see step.cu)."""
        c = self.config
        planes = {n: n // 8 * self.act_bits for n in (c.hidden_size, c.intermediate_size)}
        staged = max(planes[c.intermediate_size], 2 * planes[c.hidden_size], 4 * c.hidden_size,
                     4 * _WARPS * (c.head_dim + 2))
        partial = 4 * 8 * TILE_N * max(self._tiles().values())
        shared = 2 * (16 * 16 + 8) + 16 * _SLOTS.stop + _LAYER * c.num_hidden_layers
        return staged + partial + shared

    @property
    def slots(self) -> int:
        """Places of the ring."""
        return min(_SLOTS[-1], (_MEMORY - self._around) // _SLOT)

    @property
    def shared(self) -> int:
        """Bytes of a block's shared memory."""
        return self.slots * _SLOT + self._around

    @property
    def threads(self) -> int:
        """Threads of a block; four warps are there for one that copies."""
        return 32 * _WARPS + 128

    def defines(self, skip: Sequence[str] = ()) -> dict[str, int]:
        """Return the macros of step.cu; `skip` names some of :data:`SKIPS`."""
        c = self.config
        return {
            "HIDDEN": c.hidden_size, "FFN": c.intermediate_size, "HEADS": c.num_attention_heads,
            "KV_HEADS": c.num_key_value_heads, "DIM": c.head_dim, "VOCAB": c.vocab_size,
            "PLANES": self.act_bits, "WARPS": _WARPS, "SLOTS": self.slots,
            "FLIGHT": self.flight, "STAMPS": int(self.stamps),
            "TILES": max(self._tiles().values()), "SKIP": sum(SKIPS[name] for name in skip),
            "LEAN": 1,
        }

    def spans(self, last: int) -> tuple[int, int]:
        """Return into how many spans the positions before `last` are cut, and their length."""
        most = self.blocks // self.config.num_attention_heads
        span = max(1, -(-last // max(1, min(most, -(-last // _SPAN)))))
        return max(1, -(-last // span)), span


@functools.cache
def source() -> str:
    """Return the CUDA C++ of the kernel."""
    return read_source(*SOURCES)


def compile_step(shape: StepShape, skip: Sequence[str] = ()) -> bytes:
    """Return machine code of the kernel; raises DeviceError without NVRTC."""
    return compile_cubin(source(), arch=ARCH, defines=shape.defines(skip))


@functools.cache
def kernel_of(shape: StepShape, skip: tuple[str, ...] = ()) -> Kernel:
    """Return the kernel on the current device; the driver refuses it if not all blocks fit."""
    return Kernel(compile_step(shape, skip), "decode_step", shared=shape.shared, cooperative=True)


def _struct(name: str, **fields: Any) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


def _pointers(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), c_void_p)


ModelArgument = _struct("Model", **_pointers("layers embedding head gain cos sin"), count=c_int,
                        eps=c_float)
CacheArgument = _struct("Cache", layers=c_void_p, capacity=c_int, splits=c_int, span=c_int,
                        last=c_int)
BuffersArgument = _struct(
    "Buffers", **_pointers("x qkv parts hidden logits sums shifts tops counters stamps")
)


def _untagged(words: Tensor) -> Tensor:
    """Return float16 numbers in order out of words as grid.cuh has them."""
    low = words.view(torch.float16)[::2].reshape(4, -1, 4)  # little-endian
    return low.transpose(0, 1).reshape(-1)


class OneLaunch:
    """A model's decode step of one vector.

    Parameters
    ----------
    shape
        Of the kernel.
    frame
        Embedding, head and norms, float16.
    layers
        By layer and part of :data:`.weights.FUSED`, signs and the same in
        :func:`.packing.tile_order`.
    cos, sin
        float32 ``[positions, D/2]``.
    skip
        What of :data:`SKIPS` is left out.
    """

    def __init__(
        self, shape: StepShape, frame: Frame, layers: Sequence[dict[str, tuple[Signs, Tensor]]],
        cos: Tensor, sin: Tensor, skip: Sequence[str] = (),
    ) -> None:
        self.shape, self._skip = shape, tuple(skip)
        self._frame, self._layers, self._tables = frame, layers, (cos, sin)  # kept alive
        c, device = shape.config, cos.device
        rows = []
        for (before_attention, before_mlp), parts in zip(frame.norms, layers, strict=True):
            signs = [parts[part][0] for part in FUSED]
            scales = [t for s in signs for t in (s.alpha, s.beta)]
            row = [*(parts[part][1] for part in FUSED), *scales, before_attention, before_mlp]
            rows.append([t.data_ptr() for t in row])
        self._rows = torch.tensor(rows, dtype=torch.int64, device=device)
        self._model = ModelArgument(
            self._rows.data_ptr(), frame.embedding.data_ptr(), frame.head.data_ptr(),
            frame.final_norm.data_ptr(), cos.data_ptr(), sin.data_ptr(), len(rows), c.rms_norm_eps,
        )
        parts = shape.blocks * c.head_dim
        qkv = (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim

        def make(dtype: torch.dtype, *sizes: int) -> list[Tensor]:
            return [torch.zeros(size, dtype=dtype, device=device) for size in sizes]

        self._x, self._qkv = make(torch.int32, c.hidden_size, qkv)
        self.parts, self.hidden = make(torch.float16, parts, c.intermediate_size)
        self.sums, self.shifts = make(
            torch.float32, 2 * shape.blocks, c.intermediate_size // TILE_N
        )
        self.tops, self.counters = make(torch.int32, c.num_hidden_layers, _COUNTERS)
        stamped = (shape.blocks, c.num_hidden_layers + 1, len(PHASES), len(MARKS))
        self._stamps = torch.zeros(stamped if shape.stamps else 0, dtype=torch.int32, device=device)
        self._caches: weakref.WeakKeyDictionary[Any, Tensor] = weakref.WeakKeyDictionary()

    @property
    def x(self) -> Tensor:
        """Float16 ``[hidden]``: the vector ahead of the last norm, of the last step."""
        return _untagged(self._x)

    @property
    def qkv(self) -> Tensor:
        """Float16 ``[(heads + 2 kv) D]``: query, key and value of the last layer and step."""
        return _untagged(self._qkv)

    @property
    def stamps(self) -> Tensor:
        """int32 ``[blocks, layers + 1, phases, marks]``, cycles of each block's processor.

        What :data:`PHASES` and :data:`MARKS` name, of the last step; the head is phase 0 behind the
        layers. 0 where a block has no such mark; empty without ``shape.stamps``.
        """
        return self._stamps

    def _pointers_of(self, cache: Any) -> Tensor:
        """Return where a cache's layers are, on the device; made at its first step."""
        if cache not in self._caches:
            rows = [[k.data_ptr(), v.data_ptr()]
                    for k, v in zip(cache.keys, cache.values, strict=True)]
            device = cache.keys[0].device
            self._caches[cache] = torch.tensor(rows, dtype=torch.int64, device=device)
        return self._caches[cache]

    def __call__(self, tokens: Tensor, cache: Any, last: int, stream: int) -> Tensor:
        """Return logits ``[1, vocab]`` of tokens int64 ``[1]`` at position `last`.

        Writes keys and values of `last` into the cache (lists by layer of
        ``[1, kv, capacity, D]``). The first step with a cache must not be captured into a graph.
        """
        config = self.shape.config
        splits, span = self.shape.spans(last)
        logits = torch.empty((1, config.vocab_size), dtype=torch.float16, device=tokens.device)
        capacity = cache.keys[0].shape[2]
        held = [t.data_ptr() for t in (self._x, self._qkv, self.parts, self.hidden, logits,
                                       self.sums, self.shifts, self.tops, self.counters,
                                       self._stamps)]
        arguments = [
            c_void_p(tokens.data_ptr()), self._model,
            CacheArgument(self._pointers_of(cache).data_ptr(), capacity, splits, span, last),
            BuffersArgument(*held),
        ]
        kernel_of(self.shape, self._skip).launch(
            (self.shape.blocks, 1), self.shape.threads, arguments, stream
        )
        return logits
