"""Orders in which the 1-bit kernels read sign bits; all from golden's packed bytes.

Golden packs ``[N, ceil(K/8)]`` bytes, input j of a row in bit ``j % 8`` of byte ``j // 8``, 1 = +1.
Here K is a multiple of 256 and N of 16, as in every published FBI-LLM shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

from golden.errors import InputError

TILE_K = 256
"""Inputs of one binary matrix instruction (PTX ``mma.m16n8k256``)."""

TILE_N = 16
"""Outputs of one binary matrix instruction."""

TILE_WGMMA = 64
"""Outputs of one warpgroup matrix instruction (PTX ``wgmma.m64``)."""


def check_shape(outputs: int, inputs: int) -> None:
    """Raise InputError unless a matrix of this shape fits the 1-bit kernels."""
    if outputs < 1 or outputs % TILE_N or inputs < 1 or inputs % TILE_K:
        raise InputError(
            f"the 1-bit kernels take N a multiple of {TILE_N} and K a multiple of {TILE_K}, "
            f"not {outputs} x {inputs}"
        )


def unpack(signs: Tensor) -> Tensor:
    """Return bits uint8 ``[N, K]`` of golden's bytes ``[N, K/8]``, on any device."""
    shift = torch.arange(8, dtype=torch.uint8, device=signs.device)
    return ((signs[:, :, None] >> shift) & 1).flatten(1)


def word_order(signs: Tensor, bits: int = 16) -> Tensor:
    """Return words ``[N, K/bits]``, int16 or int8: bit b of word w is the sign of
    input ``b·K/bits + w``.

    Raises
    ------
    InputError
        If N or K does not fit the kernels.
    """
    spread = unpack(signs)
    outputs, inputs = spread.shape
    check_shape(outputs, inputs)
    words = torch.zeros((outputs, inputs // bits), dtype=torch.int32, device=signs.device)
    for b, part in enumerate(spread.view(outputs, bits, -1).unbind(1)):
        words |= part.int() << b
    return words.to({16: torch.int16, 8: torch.int8}[bits])


def tile_order(signs: Tensor) -> Tensor:
    """Return int32 ``[N/16, K/256, 32, 4]``: the A operand of ``mma.m16n8k256`` by lane.

    Lane ``4·g + t`` holds of a tile of 16 rows and 8 words of 32 bits, register ``2·h + r``: row
    ``g + 8·r``, word ``t + 4·h`` (PTX ISA, "Matrix Fragments for mma.m16n8k256").
    """
    outputs, width = signs.shape
    check_shape(outputs, 8 * width)
    words = signs.contiguous().view(torch.int32)
    parts = words.view(outputs // TILE_N, 2, 8, 8 * width // TILE_K, 2, 4)
    order = parts.permute(0, 3, 2, 5, 4, 1)  # tile, step, g, t, h, r
    return order.reshape(outputs // TILE_N, -1, 32, 4).contiguous()


def fragment_order(signs: Tensor, bits: int = 16) -> Tensor:
    """Return int32 ``[N/64, K/256, 128, 4]``: the A operand of ``wgmma.m64`` by thread.

    Word c of a thread holds its signs of inputs 64·c to 64·c + 63 of 256, one bit for each element
    of its registers, so that register r of step i is a shift away (`sign_wgmma.cu`). Thread
    ``32·w + 4·g + t`` holds rows ``16·w + g`` (r even) and 8 more (r odd). `bits` is the element's
    width (PTX ISA, "Register Fragments for wgmma.mma_async.m64k16" and "m64k32"):

    - 16: inputs ``16·i + 8·(r // 2) + 2·t + h`` of 64, in bit ``15 − 4·i − r + 16·h``;
    - 8: inputs ``32·i + 16·(r // 2) + 4·t + h`` of 64, in bit ``4·i + r + 8·h``.

    Raises
    ------
    InputError
        If N is no multiple of 64 or K none of 256.
    """
    outputs, width = signs.shape
    check_shape(outputs, 8 * width)
    if outputs % TILE_WGMMA:
        raise InputError(
            f"warpgroup instructions take N a multiple of {TILE_WGMMA}, not {outputs}"
        )
    steps, elements = bits // 4, 32 // bits
    spread = unpack(signs).view(
        outputs // 64, 4, 2, 8, 8 * width // TILE_K, 4, steps, 2, 4, elements
    )
    # tile, group, w, g, t, word | i, r // 2, r % 2, h
    spread = spread.permute(0, 4, 1, 3, 8, 5, 6, 7, 2, 9).flatten(6, 8)
    words = torch.zeros(spread.shape[:6], dtype=torch.int32, device=signs.device)
    for e in range(4 * steps):  # register r of step i: e = 4·i + r
        for h in range(elements):
            at = 15 - e + 16 * h if bits == 16 else e + 8 * h
            words |= spread[..., e, h].int() << at
    return words.view(outputs // 64, -1, 128, 4)
