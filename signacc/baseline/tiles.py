"""Which tile a 1-bit linear of many vectors is computed in; the one place where that is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from .packing import TILE_K
from .sign_wgmma import WgmmaTile, tiles_of

WGMMA_TILES: dict[int, tuple[WgmmaTile, ...]] = {
    32: (WgmmaTile(1, 1, 16, 12), WgmmaTile(1, 1, 32, 12), WgmmaTile(1, 1, 32, 12, 2)),
    64: (WgmmaTile(1, 1, 64, 8), WgmmaTile(1, 1, 64, 8, 2), WgmmaTile(2, 1, 64, 8, 2),
         WgmmaTile(2, 2, 64, 8, 4), WgmmaTile(3, 1, 64, 8), WgmmaTile(3, 1, 64, 8, 2)),
    1024: (WgmmaTile(2, 1, 128, 8), WgmmaTile(2, 1, 128, 8, 2), WgmmaTile(2, 2, 128, 8),
           WgmmaTile(2, 2, 128, 8, 2), WgmmaTile(3, 1, 128, 8), WgmmaTile(3, 1, 128, 8, 2),
           WgmmaTile(1, 1, 64, 8), WgmmaTile(1, 1, 64, 8, 2)),
    1 << 30: (WgmmaTile(2, 2, 128, 6), WgmmaTile(2, 1, 256, 6)),
}
"""Tiles of the warpgroup kernel to choose from, by the most vectors that they are for: those that
were the fastest of some shape of fbi-7b (H200), and what lies between."""


@dataclass(frozen=True)
class Costs:
    """What a tile's time is made of, µs; :func:`wgmma_time` says how.

    Attributes
    ----------
    start
        A launch.
    fill
        From a block's start to its first products, and from its last ones to its end.
    group16, group8
        The least time of 256 inputs in a block, by width of the vectors: latency.
    steps16, steps8
        What that grows by for each 64 outputs and 64 vectors of a warpgroup: one step waits for
        the other.
    unit
        256 inputs of 64 outputs and 128 float16 vectors; all blocks of a processor share its rate.
    int8
        The same for int8, as a share of `unit`.
    exchange
        Adding sums of 256 outputs and 128 vectors to those of other blocks.
    fours
        Share of the processors that clusters of four or more can use.
    """

    start: float
    fill: float
    group16: float
    group8: float
    steps16: float
    steps8: float
    unit: float
    int8: float
    exchange: float
    fours: float


H200 = Costs(start=1.72, fill=1.37, group16=0.224, group8=0.26, steps16=0.543, steps8=0.123,
             unit=0.677, int8=0.511, exchange=2.49, fours=0.481)
"""Fitted to 200 measured times, of 22 tiles on the linears of fbi-7b (H200): the mean of
|ln(modelled / measured)| is 0.101, and each tile chosen is the fastest of those measured
(``python benchmarks/gpu_tiles.py benchmarks/results/gpu_gemm.json --fit --seed 1``)."""


def wgmma_time(
    tile: WgmmaTile, bits: int, count: int, rows: tuple[int, ...], inputs: int, processors: int,
    costs: Costs = H200,
) -> float:
    """Return the modelled time of a linear of `count` vectors of `bits` in a tile, µs.

    A processor works on one block at a time, or on two of a single consumer; a block takes its
    inputs in groups of 256, each as long as its products or as the latency of a group.
    """
    blocks = tiles_of(rows, tile) * -(-count // tile.vectors) * tile.split
    each = -(-blocks // int(processors * (costs.fours if tile.split > 2 else 1.0)))
    rounds = -(-each // (2 if tile.consumers == 1 else 1))
    groups = -(-(inputs // TILE_K) // tile.split)
    products = tile.outputs / 64 * tile.vectors / 128 * costs.unit
    steps = tile.rows * tile.vectors / 64
    least = costs.group16 + costs.steps16 * steps
    if bits == 8:
        products, least = products * costs.int8, costs.group8 + costs.steps8 * steps
    besides = costs.fill
    if tile.split > 1:
        besides += costs.exchange * tile.outputs * tile.vectors / (256 * 128)
    return costs.start + groups * max(rounds * least, each * products) + rounds * besides


def wgmma_tile(
    count: int, rows: tuple[int, ...], inputs: int, processors: int, bits: int
) -> WgmmaTile:
    """Return the tile of the table for `count` vectors whose modelled time is the least."""
    tiles = next(tiles for most, tiles in WGMMA_TILES.items() if count <= most)
    return min(tiles, key=lambda tile: wgmma_time(tile, bits, count, rows, inputs, processors))


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
