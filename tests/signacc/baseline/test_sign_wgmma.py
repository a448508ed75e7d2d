"""The warpgroup kernel: compiled where NVRTC is, and run on a stand-in of the GPU on the CPU."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from golden.errors import InputError
from golden.pack import pack_signs
from signacc.baseline import nvrtc
from signacc.baseline import sign_wgmma as kernel
from signacc.baseline.errors import DeviceError
from signacc.baseline.packing import fragment_order
from signacc.baseline.sign_wgmma import WgmmaTile

HERE = Path(__file__).parent
BODY = Path(kernel.__file__).with_name("sign_wgmma.cu")


def build(folder, tile, bits):
    """Return the kernel as a function of the machine this runs on."""
    library = folder / "kernel.so"
    code = f'#include "{HERE / "hopper.hpp"}"\n#include "{BODY}"\n'
    defines = [f"-D{name}={value}" for name, value in tile.defines(bits).items()]
    subprocess.run(
        ["g++", "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-pthread", *defines, "-x", "c++",
         "-", "-o", str(library)], input=code, text=True, check=True,
    )
    return ctypes.CDLL(str(library)).run_grid


def run(folder, tile, bits, rows, inputs, count, residual, seed):
    """Return y of the kernel, what was in it before, and its exact value without that."""
    rng = np.random.default_rng(seed)
    sets, outputs = len(rows), sum(rows)
    signs = rng.integers(0, 2, (outputs, inputs)) * 2 - 1
    fragments = fragment_order(torch.from_numpy(pack_signs(signs)), bits).numpy()
    shift = rng.normal(size=(sets, count)).astype(np.float32)
    if bits == 16:
        # eighths up to 8: every sum is exact in float32
        x = (rng.integers(-64, 65, (sets, count, inputs)) / 8).astype(np.float16)
        scale, total = np.ones((sets, count), np.float32), np.zeros((sets, count), np.int32)
    else:
        x = rng.integers(-127, 128, (sets, count, inputs)).astype(np.int8)
        scale = np.exp2(rng.integers(-9, -5, (sets, count))).astype(np.float32)
        total = x.astype(np.int32).sum(-1, dtype=np.int32)
    before = rng.normal(size=(count, outputs)).astype(np.float16)
    y = before.copy() if residual else np.full((count, outputs), np.nan, np.float16)
    grid = kernel.tiles_of(rows, tile) * tile.split, -(-count // tile.vectors)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (fragments, shift, scale, total, y)]
    build(folder, tile, bits)(
        x.ctypes.data_as(ctypes.c_void_p), sets, *pointers, count, outputs, inputs, rows[0],
        sum(rows[:2]), int(residual), *grid,
    )
    parts, start = [], 0
    for g, n in enumerate(rows):
        exact = x[g].astype(np.float64) @ signs[start : start + n].T
        parts.append(exact * scale[g][:, None] + shift[g][:, None])
        start += n
    return y, before, np.concatenate(parts, 1)


@pytest.mark.parametrize(
    ("bits", "tile", "rows", "inputs", "count", "residual"),
    [
        # two linears of other sizes than tiles, more stages than places, vectors left over
        (16, WgmmaTile(2, 2, 64, 3), (320, 192), 512, 70, False),
        (8, WgmmaTile(2, 1, 128, 3), (64, 64, 128), 768, 140, True),
        # blocks that share the inputs, one of them without any
        (16, WgmmaTile(1, 1, 64, 2, 4), (128,), 768, 64, True),
        (8, WgmmaTile(3, 1, 32, 4, 2), (192,), 512, 33, False),
        (16, WgmmaTile(2, 1, 256, 2), (128,), 256, 200, False),
        (8, WgmmaTile(1, 2, 16, 4), (192, 64), 512, 17, True),
    ],
)
def test_every_output_is_the_exact_sum_rounded(
    tmp_path, bits, tile, rows, inputs, count, residual
):
    y, before, exact = run(tmp_path, tile, bits, rows, inputs, count, residual, seed=bits)
    # float32 adds the shift, and binary16 the residual: what float64 rounds may differ by a tie
    expected = exact.astype(np.float32).astype(np.float16)
    if residual:
        expected = (expected.astype(np.float32) + before.astype(np.float32)).astype(np.float16)
    close = np.abs(y.astype(np.float64) - expected.astype(np.float64)) <= np.spacing(
        np.abs(expected)
    ).astype(np.float64)
    assert close.all(), f"{(~close).sum()} of {close.size} differ"
    assert (y == expected).mean() > 0.999


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize(
    "tile", [WgmmaTile(2, 2, 128, 8), WgmmaTile(2, 1, 256, 6, 2), WgmmaTile(3, 1, 32, 4),
             WgmmaTile(1, 1, 16, 12)]
)
def test_tiles_compile_for_hopper(tile, bits):
    try:
        nvrtc._nvrtc()
    except DeviceError:
        pytest.skip("no NVRTC is installed")
    assert kernel.compile_tile(tile, bits).startswith(b"\x7fELF")


def test_a_tile_says_its_sizes():
    tile = WgmmaTile(2, 2, 128, 8, 4)
    assert (tile.outputs, tile.threads) == (256, 384)
    # sums of 256 x 128 in float32, and a quarter of the results
    assert tile.ring == 4 * 256 * 128 + (2 * 256 + 16) * 32
    assert tile.shared <= 227 * 1024
    assert kernel.tiles_of((4096, 128, 192), tile) == 16 + 1 + 1
    assert kernel.fits((4096, 64), 256)
    assert not kernel.fits((4096, 48), 256)
    assert not kernel.can_run(torch.device("cpu"))


def test_shapes_are_checked_when_signs_are_packed():
    with pytest.raises(InputError, match="N a multiple of 64, not 80"):
        fragment_order(torch.zeros((80, 32), dtype=torch.uint8))
