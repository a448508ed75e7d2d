"""Orders of the sign bits; the tile order is read as PTX documents the fragments."""

import numpy as np
import pytest
import torch

from golden.errors import InputError
from golden.linear import quantize
from golden.pack import pack_signs
from signacc.baseline.packing import fragment_order, tile_order, unpack, word_order


def random_signs(seed, outputs, inputs):
    return np.random.default_rng(seed).integers(0, 2, (outputs, inputs)) * 2 - 1


def test_unpack_is_goldens_order():
    signs = random_signs(1, 3, 40)
    packed = torch.from_numpy(pack_signs(signs))
    assert (unpack(packed).numpy() == (signs > 0)).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_bit_b_of_word_w_is_input_b_times_k_over_bits_plus_w(bits):
    signs = random_signs(2, 16, 512)
    words = word_order(torch.from_numpy(pack_signs(signs)), bits).numpy()
    assert words.itemsize * 8 == bits
    for b, w in [(0, 0), (bits - 1, 3), (3, 512 // bits - 1)]:
        assert (((words[:, w].astype(int) >> b) & 1) == (signs[:, b * 512 // bits + w] > 0)).all()


def test_bit_plane_counts_give_goldens_integers():
    """What the kernel computes from tiles and planes is Σ s·q, for every output."""
    outputs, inputs = 32, 512
    rng = np.random.default_rng(3)
    signs = random_signs(4, outputs, inputs)
    x = rng.normal(size=(1, inputs)).astype(np.float16)
    alpha = rng.uniform(0.01, 0.2, inputs).astype(np.float16)
    q = quantize(x, alpha, 16).q[0].astype(np.int64)
    planes = [np.packbits((q >> p) & 1, bitorder="little").view(np.uint32) for p in range(16)]
    tiles = tile_order(torch.from_numpy(pack_signs(signs))).numpy().view(np.uint32)
    for row in range(outputs):
        tile, g, r = row // 16, row % 8, row % 16 // 8
        total = 0
        for step in range(inputs // 256):
            for t in range(4):
                for h in range(2):
                    word = tiles[tile, step, 4 * g + t, 2 * h + r]
                    for p in range(16):
                        ones = int(word & planes[p][8 * step + t + 4 * h]).bit_count()
                        total += ones * (-(2**15) if p == 15 else 2**p)
        assert 2 * total - q.sum() == (signs[row] * q).sum()


@pytest.mark.parametrize("bits", [8, 16])
def test_registers_of_a_warpgroup_instruction_hold_their_signs(bits):
    """Registers as the kernel makes them, against the fragments that PTX documents."""
    outputs, inputs = 128, 512
    signs = random_signs(5, outputs, inputs)
    packed = torch.from_numpy(pack_signs(signs))
    words = fragment_order(packed, bits).numpy().view(np.uint32)
    assert words.shape == (2, 2, 128, 4)
    depth, width = 256 // bits, 32 // bits  # inputs of a step, elements of a register
    for tile, group, thread in [(0, 0, 0), (1, 1, 127), (1, 0, 70), (0, 1, 37)]:
        warp, g, t = thread // 32, thread % 32 // 4, thread % 4
        for step in range(256 // depth):
            for r in range(4):
                element = words[tile, group, thread, step * depth // 64]
                at = step % (64 // depth) * 4 + r
                if bits == 16:
                    register = (int(element) << at) & 0x80008000 ^ 0xBC00BC00
                    values = np.array([register], np.uint32).view(np.float16)
                else:
                    register = (int(element) >> at) & 0x01010101
                    values = 2 * np.array([register], np.uint32).view(np.int8) - 1
                row = 64 * tile + 16 * warp + g + 8 * (r % 2)
                first = 256 * group + depth * step + width * t + depth // 2 * (r // 2)
                assert (values == signs[row, first : first + width]).all()


def test_shapes_that_do_not_fit_are_refused():
    packed = torch.zeros((8, 32), dtype=torch.uint8)
    with pytest.raises(InputError, match="N a multiple of 16 and K a multiple of 256, not 8 x 256"):
        tile_order(packed)
    with pytest.raises(InputError, match="take N a multiple of 64, not 96"):
        fragment_order(torch.zeros((96, 32), dtype=torch.uint8))
    with pytest.raises(InputError, match="not 16 x 8"):
        word_order(torch.zeros((16, 1), dtype=torch.uint8))
