"""Tiles of the warpgroup kernel that gpu_gemm.py tries by the number of vectors; their names."""

from __future__ import annotations

from signacc.baseline.sign_wgmma import WgmmaTile
from signacc.baseline.tiles import WGMMA_TILES

COUNTS = (16, 64, 256, 4096)
TILES = {
    16: [*WGMMA_TILES[32], WgmmaTile(1, 1, 64, 8, 4)],
    64: [*WGMMA_TILES[64]],
    256: [*WGMMA_TILES[1024], WgmmaTile(1, 1, 128, 6), WgmmaTile(1, 1, 128, 6, 2),
          WgmmaTile(2, 1, 256, 6, 2), WgmmaTile(2, 3, 64, 8)],
    4096: [*WGMMA_TILES[1 << 30], WgmmaTile(3, 1, 128, 8)],
}
"""Tiles of the warpgroup kernel that are tried for so many vectors: those that the path chooses
from, and others, some so small that a processor works on two at a time."""


def name_of(tile: WgmmaTile, bits: int) -> str:
    """Return the name of the warpgroup kernel with a tile."""
    t = tile
    return f"wgmma{bits} {t.outputs}x{t.vectors} {t.consumers}wg {t.stages}st split{t.split}"
