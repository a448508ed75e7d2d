"""Signed sums on packed weights: every path against float64 on unpacked ones."""

import numpy as np
import pytest
import torch

from golden.errors import InputError
from model import signed_sum as module
from model.packed import SignLinear, load_float, load_sign_linears
from model.signed_sum import paths, signed_sum

from ..packed_folder import CONFIG, write_packed_folder

SHAPES = [(1, 1, 1), (1, 3, 7), (2, 9, 8), (1, 8, 15), (3, 17, 16), (1, 5, 17), (2, 16, 33),
          (1, 31, 47), (1, 40, 63), (2, 7, 64), (1, 11, 65), (1, 130, 257), (1, 64, 1024)]


def draw(m, n, k, seed):
    """Return p fp32 [m, k], signs float64 [n, k], and their bits, packed by numpy."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, (n, k), dtype=np.uint8)
    p = random.normal(0, 1, (m, k)).astype(np.float32)
    packed = np.packbits(bits, axis=1, bitorder="little")
    # Unused bits of the last byte mean nothing, whatever they are.
    packed[:, -1] |= random.integers(0, 256, n, dtype=np.uint8) << (k - 1) % 8 + 1 & 255
    return torch.from_numpy(p), bits * 2.0 - 1, torch.from_numpy(packed)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_sums_are_those_of_float64(path, m, n, k):
    p, signs, packed = draw(m, n, k, seed=k)
    want = p.double().numpy() @ signs.T
    found = signed_sum(packed, p, path=path).numpy()
    # Each of the at most K + 2 additions rounds a partial sum of at most 2·sum |p| by half an ulp.
    bound = (k + 2) * 2 * np.abs(p.double().numpy()).sum(axis=1, keepdims=True) * 2.0**-24
    assert found.dtype == np.float32
    assert (np.abs(found - want) <= bound).all()


@pytest.mark.parametrize("path", paths())
def test_integers_are_exact(path):
    """Sums of integers below 2**24 have no rounding: any slip of a bit would show."""
    random = np.random.default_rng(7)
    _, signs, packed = draw(1, 77, 4099, seed=7)
    p = torch.from_numpy(random.integers(-1000, 1001, (2, 4099)).astype(np.float32))
    assert np.array_equal(signed_sum(packed, p, path=path).numpy(), p.numpy() @ signs.T)


@pytest.mark.parametrize("path", paths())
def test_threads_do_not_change_a_bit(path):
    p, _, packed = draw(1, 2051, 2055, seed=1)  # enough for four threads
    one = signed_sum(packed, p, path=path, threads=1)
    for threads in (2, 3, 4):
        assert torch.equal(signed_sum(packed, p, path=path, threads=threads), one)


def test_views_are_read_as_they_stand():
    p, signs, packed = draw(4, 10, 24, seed=2)
    found = signed_sum(packed[::2], p[1::2])
    assert np.allclose(found.numpy(), (p.double().numpy() @ signs.T)[1::2, ::2], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": torch.ones(2, 9).double()}, r"p must be float32 \[M, K\] .*, not torch.float64"),
        ({"p": torch.ones(9)}, r"p must be float32 \[M, K\] .* not torch.float32 \[9\]"),
        ({"p": torch.ones(0, 9)}, "with M, K >= 1"),
        ({"signs": torch.zeros(3, 1, dtype=torch.uint8)}, r"for 9 inputs must be uint8 \[N, 2\]"),
        ({"signs": torch.zeros(3, 2)}, r"uint8 \[N, 2\] on the CPU, not torch.float32"),
        ({"path": "sse"}, "path must be one of tables"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
    ],
)
def test_a_rule_and_its_message(change, message):
    arguments = {"signs": torch.zeros(3, 2, dtype=torch.uint8), "p": torch.ones(2, 9)} | change
    with pytest.raises(InputError, match=message):
        signed_sum(arguments.pop("signs"), arguments.pop("p"), **arguments)


@pytest.fixture
def rebuilt():
    """Forget the loaded kernel before and after."""
    module._library.cache_clear()
    yield
    module._library.cache_clear()


@pytest.mark.usefixtures("rebuilt")
def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler; there is no no-such-compiler"):
        paths()
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        load_sign_linears(tmp_path / "not even looked at")


@pytest.mark.usefixtures("rebuilt")
def test_a_compiler_that_fails_leaves_nothing(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'bad flag' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"must compile signed_sum.cpp; it says: bad flag"):
        paths()
    assert list((tmp_path / "cache" / "kernels").iterdir()) == []


@pytest.mark.usefixtures("rebuilt")
def test_the_kernel_is_built_once(monkeypatch, tmp_path):
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path))
    paths()
    (built,) = (tmp_path / "kernels").iterdir()
    before = built.stat().st_mtime_ns
    module._library.cache_clear()
    paths()
    assert built.stat().st_mtime_ns == before


# ---- models -------------------------------------------------------------------------------------


def test_a_packed_model_is_the_float_one(tmp_path):
    config = CONFIG | {"num_key_value_heads": 2, "max_position_embeddings": 40}
    folder = write_packed_folder(tmp_path, config)
    tokens = torch.randint(0, 29, (2, 19), generator=torch.Generator().manual_seed(0))
    dense, packed = load_float(folder), load_sign_linears(folder)
    # 38 token vectors are multiplied unpacked, 2 by the kernel.
    for part in (tokens, tokens[:, :1]):
        assert torch.allclose(packed(part), dense(part), atol=2e-5)


def test_weights_take_one_bit_each(tmp_path):
    model = load_sign_linears(write_packed_folder(tmp_path, CONFIG | {"hidden_size": 64}))
    held = 0
    for module_ in model.model.layers.modules():
        assert not isinstance(module_, torch.nn.Linear)
        if isinstance(module_, SignLinear):
            assert module_.signs.dtype == torch.uint8
            held += module_.signs.numel()
    assert held == model.config.binary_weights // 8
