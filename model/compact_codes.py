"""Codes of training state: a tensor as byte planes of an entropy code, and back.

=============  =====================================  ==========================================
code           of                                     what is lost
=============  =====================================  ==========================================
``exact``      embedding, head, scales, norms         nothing
``bfloat16``   weights of decoder linears             16 bits of the mantissa; the sign stays
``log8``       AdamW's second moment v                2^(1/8) between levels: v within 4.5 %
``ratio8``     AdamW's first moment m, as m / √v      254 levels in all: within 0.5 % of √v
=============  =====================================  ==========================================

The first moment is coded in the unit that the optimizer uses it in. With v decoded first, AdamW's
update m / √v has an absolute error bound that neither large neighbours nor v's own error change;
a block's largest m, the usual unit of 8-bit moments (arXiv 2110.02861), gives none.
Planes are coded by Huffman's code alone (a standard zlib stream): nothing repeats in such numbers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from golden.errors import InputError

BLOCK = 2048
"""Elements of a second moment, in the order of memory, that share a largest value."""

LEVELS_PER_OCTAVE = 8
"""Of ``log8``: 254 levels span 31.6 octaves below the largest value of a block."""

Coded = list[bytes]


def ratio_bound(betas: tuple[float, float]) -> float:
    """Return the largest |m| / √v that AdamW's moments can have.

    By Cauchy-Schwarz for m = (1 - b1)·Σ b1^k·g_k and v = (1 - b2)·Σ b2^k·g_k²:
    (1 - b1) / √((1 - b2)·(1 - b1²/b2)); 1.165 for (0.9, 0.95). A half step of ``log8`` is added.

    Raises
    ------
    InputError
        If b1² < b2 does not hold: there is no bound.
    """
    first, second = betas
    if not (0 <= first < 1 and 0 < second < 1 and first**2 < second):
        raise InputError(f"compact moments need 0 <= beta1 < 1, 0 < beta2 < 1 and "
                         f"beta1² < beta2, not betas {betas}")  # fmt: skip
    bound = (1 - first) / math.sqrt((1 - second) * (1 - first**2 / second))
    return bound * 2 ** (1 / (4 * LEVELS_PER_OCTAVE))


def _planes(array: np.ndarray) -> Coded:
    """Return the bytes of each place of little-endian items, coded."""
    items = np.ascontiguousarray(array).reshape(-1)
    items = items.astype(items.dtype.newbyteorder("<"), copy=False)
    places = items.view(np.uint8).reshape(-1, items.itemsize)
    return [squeeze(np.ascontiguousarray(places[:, i])) for i in range(items.itemsize)]


def _items(parts: Sequence[bytes], dtype: str, count: int) -> np.ndarray:
    """Return `count` items from what `_planes` gave."""
    places = np.empty((count, len(parts)), np.uint8)
    for place, part in enumerate(parts):
        places[:, place] = np.frombuffer(expand(part, count), np.uint8)
    return places.reshape(-1).view(dtype)


def squeeze(data: bytes | np.ndarray) -> bytes:
    """Return `data` as a zlib stream of Huffman's code alone."""
    coder = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()


def expand(stream: bytes, size: int) -> bytes:
    """Return the `size` bytes that `squeeze` was given; InputError if there are more or fewer."""
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(stream, size + 1)
        # with nothing left to give, the checksum at the end may still be unread
        if len(data) == size and not decoder.eof:
            data += decoder.decompress(decoder.unconsumed_tail, 1)
    except (zlib.error, OverflowError, MemoryError) as error:  # the others: of a size that is none
        raise InputError(f"a plane must be a zlib stream of {size} bytes: {error}") from None
    if len(data) != size or not decoder.eof:
        raise InputError(f"a plane must hold {size} bytes; it holds others")
    return data


def encode_exact(value: Tensor) -> Coded:
    """Code fp32 `value` without loss: four planes."""
    return _planes(value.numpy())


def decode_exact(parts: Sequence[bytes], shape: Sequence[int]) -> Tensor:
    """Return the fp32 tensor of `shape`."""
    return torch.from_numpy(_items(parts, "<f4", math.prod(shape))).reshape(*shape)


def encode_bfloat16(value: Tensor) -> Coded:
    """Code fp32 `value` rounded to bfloat16: two planes.

    A value too small for bfloat16 (below 2^-134) becomes its smallest one, and keeps its sign.
    """
    rounded = value.to(torch.bfloat16)
    lost = (rounded == 0) & (value != 0)
    if lost.any():
        rounded[lost] = torch.copysign(torch.tensor(2.0**-133), value[lost]).to(torch.bfloat16)
    return _planes(rounded.view(torch.int16).numpy())


def decode_bfloat16(parts: Sequence[bytes], shape: Sequence[int]) -> Tensor:
    """Return the fp32 tensor of `shape`."""
    items = torch.from_numpy(_items(parts, "<i2", math.prod(shape)))
    return items.view(torch.bfloat16).float().reshape(*shape)


def _blocks(count: int) -> int:
    return -(-count // BLOCK)


def encode_log8(value: Tensor) -> Coded:
    """Code fp32 `value`, none below 0, by its distance from its block's largest in octaves.

    Level 0 is 0 and level 255 is the largest; what is too far below takes level 1, which is more
    than it was: such a parameter moves less, not further. Planes: levels, then the largest values.
    """
    flat = value.reshape(-1)
    padded = torch.nn.functional.pad(flat, (0, _blocks(len(flat)) * BLOCK - len(flat)))
    blocks = padded.reshape(-1, BLOCK)
    largest = blocks.amax(1, keepdim=True)
    octaves = torch.log2(blocks / largest)  # NaN where all are 0, -inf where one is
    levels = (255 + (LEVELS_PER_OCTAVE * octaves).round_()).clamp_(1, 255)
    levels = torch.where(blocks > 0, levels, 0).to(torch.uint8).reshape(-1)[: len(flat)]
    return [squeeze(levels.numpy()), *_planes(largest.numpy())]


def decode_log8(parts: Sequence[bytes], shape: Sequence[int]) -> Tensor:
    """Return the fp32 tensor of `shape`."""
    count = math.prod(shape)
    largest = torch.from_numpy(_items(parts[1:], "<f4", _blocks(count)))
    levels = np.zeros(_blocks(count) * BLOCK, np.uint8)
    levels[:count] = np.frombuffer(expand(parts[0], count), np.uint8)
    table = torch.exp2((torch.arange(256, dtype=torch.float32) - 255) / LEVELS_PER_OCTAVE)
    table[0] = 0
    value = table.index_select(0, torch.from_numpy(levels).int()).reshape(-1, BLOCK)
    return value.mul_(largest[:, None]).reshape(-1)[:count].reshape(*shape)


def encode_ratio8(value: Tensor, second: Tensor, bound: float) -> Coded:
    """Code fp32 first moments by their share of the root of decoded second moments: a plane.

    Parameters
    ----------
    second : of the shape of `value`, as `decode_log8` gives it; where it is 0 so is the result
    bound : of `ratio_bound`
    """
    share = torch.where(second > 0, value / second.sqrt(), 0)
    levels = (share.mul_(127 / bound)).round_().clamp_(-127, 127) + 127
    return [squeeze(levels.to(torch.uint8).reshape(-1).numpy())]


def decode_ratio8(
    parts: Sequence[bytes], shape: Sequence[int], second: Tensor, bound: float
) -> Tensor:
    """Return the fp32 tensor of `shape`."""
    levels = torch.from_numpy(np.frombuffer(expand(parts[0], math.prod(shape)), np.uint8).copy())
    return (levels.float() - 127).mul_(bound / 127).reshape(*shape).mul_(second.sqrt())


PARAMETER_CODES: dict[
    str, tuple[Callable[[Tensor], Coded], Callable[[Sequence[bytes], Sequence[int]], Tensor], int]
] = {
    "exact": (encode_exact, decode_exact, 4),
    "bfloat16": (encode_bfloat16, decode_bfloat16, 2),
}
"""Codes of parameters by name: encoder, decoder, planes."""
