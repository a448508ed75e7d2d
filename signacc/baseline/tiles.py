"""Which tile a 1-bit linear of many vectors is computed in; the one place where that is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from .packing import TILE_K
from .sign_wgmma import WgmmaTile, tiles_of

WGMMA_TILES: dict[int, tuple[WgmmaTile, ...]] = {
    16: (WgmmaTile(1, 1, 16, 12), WgmmaTile(2, 1, 16, 24)),
    32: (WgmmaTile(1, 1, 32, 12), WgmmaTile(1, 1, 32, 12, 2), WgmmaTile(2, 1, 32, 16)),
    64: (WgmmaTile(2, 1, 64, 8), WgmmaTile(2, 1, 64, 8, 2), WgmmaTile(2, 1, 64, 8, 4),
         WgmmaTile(2, 2, 64, 8), WgmmaTile(2, 2, 64, 8, 4), WgmmaTile(3, 1, 64, 8)),
    1 << 30: (WgmmaTile(2, 2, 128, 8), WgmmaTile(2, 2, 128, 8, 2), WgmmaTile(2, 2, 128, 8, 4),
              WgmmaTile(2, 1, 128, 8), WgmmaTile(2, 1, 128, 8, 2), WgmmaTile(3, 1, 128, 8)),
}
"""Tiles of the warpgroup kernel to choose from, by the most vectors that they are for; set by what
fits a processor, none of them measured yet."""

RATE = 2048
"""Products of 16-bit numbers that a processor's matrix units do in a clock (H100, H200; data sheet:
989 TFLOP/s of 132 processors at 1.83 GHz)."""

START, EXCHANGE = 4000, 3000
"""Clocks that a block takes besides its products, and to add its sums to those of others: modelled,
a launch and a round trip to memory each."""


def wgmma_tile(count: int, rows: tuple[int, ...], inputs: int, processors: int) -> WgmmaTile:
    """Return the tile for `count` vectors whose blocks are done first.

    Modelled: the time of a tile is the rounds of its blocks over the device's `processors`, times
    the clocks of a block. Of equal ones the first in the table.
    """
    tiles = next(tiles for most, tiles in WGMMA_TILES.items() if count <= most)

    def clocks(tile: WgmmaTile) -> float:
        blocks = tiles_of(rows, tile) * tile.split * -(-count // tile.vectors)
        groups = -(-(inputs // TILE_K) // tile.split)
        products = tile.outputs * tile.vectors * groups * TILE_K
        besides = START + (EXCHANGE if tile.split > 1 else 0)
        return -(-blocks // processors) * (products / RATE + besides)

    return min(tiles, key=clocks)


@dataclass(frozen=True)
class GemmTile:
    """Tile of a Triton kernel: vectors, outputs, words; warps and pipeline stages."""

    block_m: int
    block_n: int
    block_w: int
    warps: int
    stages: int


def gemm_tile(count: int, outputs: int) -> GemmTile:
    """Return the tile of the float16 kernel for `count` vectors, chosen by measurement (H200)."""
    wide = outputs >= 8192
    if count <= 32:
        return GemmTile(32, 64, 64, 4, 4)
    if count <= 64:
        return GemmTile(64 if wide else 32, 64, 64, 4, 4)
    if count <= 1024:
        return GemmTile(128, 128, 64, 4, 3) if wide else GemmTile(128, 64, 64, 4, 4)
    return GemmTile(256, 128, 64, 8, 3)


def int8_tile(count: int, outputs: int) -> GemmTile:
    """Return the tile of the int8 kernel for `count` vectors, chosen by measurement (H200)."""
    if count <= 64:
        return GemmTile(64, 64, 128, 4, 4)
    if count <= 1024:
        return GemmTile(128, 64, 128, 4, 3) if outputs >= 8192 else GemmTile(64, 64, 128, 4, 4)
    return GemmTile(256, 128, 128, 8, 3)
