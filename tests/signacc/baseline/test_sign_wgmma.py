"""The warpgroup kernel: compiled where NVRTC is, and run on a stand-in of the GPU on the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from golden.config import named_model
from golden.errors import InputError
from golden.pack import pack_signs
from signacc.baseline import nvrtc
from signacc.baseline import sign_wgmma as kernel
from signacc.baseline.device import require_hopper
from signacc.baseline.errors import DeviceError
from signacc.baseline.packing import check_shape, fragment_order
from signacc.baseline.sign_wgmma import WgmmaTile
from signacc.baseline.weights import FUSED, fused_shape

from .stand_in import install


def run(tile, bits, rows, inputs, count, residual, seed):
    """Return y of the kernel, what was in it before, and its exact value without that."""
    rng = np.random.default_rng(seed)
    sets, outputs = len(rows), sum(rows)
    signs = rng.integers(0, 2, (outputs, inputs)) * 2 - 1
    fragments = fragment_order(torch.from_numpy(pack_signs(signs)), bits)
    shift = rng.normal(size=(sets, count)).astype(np.float32)
    scale = np.ones((sets, count), np.float32)
    if bits == 16:
        # eighths up to 8: every sum is exact in float32
        x = (rng.integers(-64, 65, (sets, count, inputs)) / 8).astype(np.float16)
        more = {"scale": None, "total": None}
    else:
        x = rng.integers(-127, 128, (sets, count, inputs)).astype(np.int8)
        scale = np.exp2(rng.integers(-9, -5, (sets, count))).astype(np.float32)
        total = x.astype(np.int32).sum(-1, dtype=np.int32)
        more = {"scale": torch.from_numpy(scale), "total": torch.from_numpy(total)}
    before = rng.normal(size=(count, outputs)).astype(np.float16)
    y = before.copy() if residual else np.full((count, outputs), np.nan, np.float16)
    vectors = SimpleNamespace(values=torch.from_numpy(x), shift=torch.from_numpy(shift), **more)
    kernel.sign_wgmma_into(fragments, vectors, torch.from_numpy(y), residual, rows, tile)
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
    monkeypatch, bits, tile, rows, inputs, count, residual
):
    install(monkeypatch)
    y, before, exact = run(tile, bits, rows, inputs, count, residual, seed=bits)
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


@pytest.mark.parametrize("model", ["fbi-130m", "fbi-1.3b", "fbi-7b"])
def test_the_measured_models_fit(model):
    for part in FUSED:
        _, inputs, rows = fused_shape(named_model(model), part)
        kernel.check_rows(rows)
        check_shape(sum(rows), inputs)


def test_other_rows_are_refused():
    with pytest.raises(InputError, match="takes linears of a multiple of 64 outputs, not 48"):
        kernel.check_rows((4096, 48))


def test_other_devices_are_refused_by_name(monkeypatch):
    with pytest.raises(DeviceError, match=r"compute capability 9.0 \(Hopper\), not the device cpu"):
        require_hopper(torch.device("cpu"))
    capability = [9, 0]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: tuple(capability))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    require_hopper(torch.device("cuda"))
    capability[:] = 10, 0  # Blackwell has other instructions
    with pytest.raises(DeviceError, match=r"9.0 \(Hopper\), not 10.0 \(a GPU\)"):
        require_hopper(torch.device("cuda"))


def test_shapes_are_checked_when_signs_are_packed():
    with pytest.raises(InputError, match="N a multiple of 64, not 80"):
        fragment_order(torch.zeros((80, 32), dtype=torch.uint8))
