"""The choice of tiles: the rule of rounds, and that every tile of the table can exist."""

import pytest

from golden.config import named_model
from signacc.baseline.sign_wgmma import WgmmaTile, tiles_of
from signacc.baseline.tiles import WGMMA_TILES, gemm_tile, int8_tile, wgmma_tile
from signacc.baseline.weights import FUSED, fused_shape

SHARED = 227 * 1024  # of a block on Hopper (CUDA programming guide, compute capability 9.0)


@pytest.mark.parametrize("tile", sorted({t for ts in WGMMA_TILES.values() for t in ts}, key=repr))
def test_tiles_of_the_table_fit_a_processor(tile):
    blocks = 2 if tile.consumers == 1 else 1  # as the kernel's launch bounds ask
    assert blocks * tile.shared <= SHARED
    assert tile.threads * blocks <= 2048
    assert tile.vectors % (16 * tile.split) == 0  # two matrices of 8 vectors for each block
    # sums of a thread and both halves of operand A, within the registers the kernel asks for
    registers = {1: 168, 2: 232, 3: 160}[tile.consumers]
    assert tile.rows * (tile.vectors // 2 + 8 + 8) < registers


def blocks_of(tile, count, rows):
    return tiles_of(rows, tile) * tile.split * -(-count // tile.vectors)


@pytest.mark.parametrize("model", ["fbi-130m", "fbi-1.3b", "fbi-7b"])
@pytest.mark.parametrize("part", FUSED)
@pytest.mark.parametrize("bits", [16, 8])
def test_more_vectors_never_take_a_tile_for_fewer(model, part, bits):
    _, inputs, rows = fused_shape(named_model(model), part)
    for count in (1, 16, 17, 64, 65, 256, 4096):
        tile = wgmma_tile(count, rows, inputs, 132, bits)
        most = min(limit for limit in WGMMA_TILES if limit >= count)
        assert tile in WGMMA_TILES[most]
        assert blocks_of(tile, count, rows) >= 1


# The fastest tile of each linear as measured on an H200 (benchmarks/results/gpu_gemm.json).
FASTEST = {
    (64, 16): {"qkv": WgmmaTile(3, 1, 64, 8, 2), "out": WgmmaTile(1, 1, 64, 8, 2),
               "gate_up": WgmmaTile(3, 1, 64, 8)},
    (256, 16): {"qkv": WgmmaTile(3, 1, 128, 8), "out": WgmmaTile(2, 1, 128, 8, 2),
                "gate_up": WgmmaTile(3, 1, 128, 8), "down": WgmmaTile(2, 1, 128, 8, 2)},
    (256, 8): {"qkv": WgmmaTile(3, 1, 128, 8), "out": WgmmaTile(1, 1, 64, 8),
               "gate_up": WgmmaTile(3, 1, 128, 8), "down": WgmmaTile(2, 1, 128, 8, 2)},
}


@pytest.mark.parametrize(("count", "bits"), FASTEST)
def test_the_model_takes_the_tile_that_was_measured_to_be_the_fastest(count, bits):
    for part, fastest in FASTEST[count, bits].items():
        _, inputs, rows = fused_shape(named_model("fbi-7b"), part)
        assert wgmma_tile(count, rows, inputs, 132, bits) == fastest, part


def test_blocks_fill_the_device_where_they_can():
    _, inputs, rows = fused_shape(named_model("fbi-7b"), "out")
    tile = wgmma_tile(256, rows, inputs, 132, 16)
    # 64 tiles of 128 x 128 would leave half of 132 processors idle: the inputs are shared
    assert tile.split > 1
    assert 0.9 * 132 < blocks_of(tile, 256, rows) <= 132
    # with all rounds full there is nothing to share
    assert wgmma_tile(1 << 16, rows, inputs, 132, 16).split == 1


def test_tiles_of_the_triton_kernels_grow_with_the_batch():
    assert gemm_tile(20, 4096).block_m == 32
    assert gemm_tile(2048, 4096).block_m == 256
    assert int8_tile(64, 4096).block_m == 64
