"""Signed sums on packed weights: every path against float64 on unpacked ones."""

import numpy as np
import pytest

from golden import signed_sum as module
from golden.errors import InputError
from golden.linear import PreparedLinear
from golden.signed_sum import default_threads, paths, signed_sum

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
    return p, bits * 2.0 - 1, packed


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_sums_are_those_of_float64(path, m, n, k):
    p, signs, packed = draw(m, n, k, seed=k)
    want = p.astype(np.float64) @ signs.T
    found = signed_sum(packed, p, path=path)
    # Each of the at most K + 2 additions rounds a partial sum of at most 2·sum |p| by half an ulp.
    bound = (k + 2) * 2 * np.abs(p.astype(np.float64)).sum(axis=1, keepdims=True) * 2.0**-24
    assert found.dtype == np.float32
    assert (np.abs(found - want) <= bound).all()


@pytest.mark.parametrize("path", paths())
def test_integers_are_exact(path):
    """Sums of integers below 2**24 have no rounding: any slip of a bit would show."""
    random = np.random.default_rng(7)
    _, signs, packed = draw(1, 77, 4099, seed=7)
    p = random.integers(-1000, 1001, (2, 4099)).astype(np.float32)
    assert np.array_equal(signed_sum(packed, p, path=path), p @ signs.T)


@pytest.mark.parametrize("path", paths())
def test_threads_do_not_change_a_bit(path):
    p, _, packed = draw(1, 2051, 2055, seed=1)  # enough for four threads
    one = signed_sum(packed, p, path=path, threads=1)
    for threads in (2, 3, 4):
        assert np.array_equal(signed_sum(packed, p, path=path, threads=threads), one)


def test_views_are_read_as_they_stand():
    p, signs, packed = draw(4, 10, 24, seed=2)
    found = signed_sum(packed[::2], p[1::2])
    assert np.allclose(found, (p.astype(np.float64) @ signs.T)[1::2, ::2], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": np.ones((2, 9))}, r"p must be float32 \[M, K\] .*, not float64 \[2, 9\]"),
        ({"p": np.ones(9, np.float32)}, r"p must be float32 \[M, K\] .*, not float32 \[9\]"),
        ({"p": np.ones((0, 9), np.float32)}, "with M, K >= 1"),
        ({"signs": np.zeros((3, 1), np.uint8)}, r"signs for 9 inputs must have shape \[N, 2\]"),
        ({"signs": np.zeros((3, 2))}, "signs must be uint8 bytes, not float64"),
        ({"path": "sse"}, "path must be one of tables"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
    ],
)
def test_a_rule_and_its_message(change, message):
    given = {"signs": np.zeros((3, 2), np.uint8), "p": np.ones((2, 9), np.float32)} | change
    with pytest.raises(InputError, match=message):
        signed_sum(given.pop("signs"), given.pop("p"), **given)


@pytest.mark.parametrize(
    ("value", "threads"), [("3", 3), ("0", 1), ("", 1), ("2,1", 1), (None, 1)]
)
def test_threads_are_those_of_the_environment(monkeypatch, value, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert default_threads() == threads


# ---- in the golden linear -----------------------------------------------------------------------


@pytest.mark.parametrize("act_format", ["fp16", "bf16"])
@pytest.mark.parametrize("act_bits", [4, 8, 9, 16, 24])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 5, 9), (3, 600, 70), (256, 600, 33), (300, 7, 130)])
def test_a_linear_that_stays_packed_is_the_same_to_the_bit(m, n, k, act_bits, act_format):
    random = np.random.default_rng(k + act_bits)
    _, _, packed = draw(1, n, k, seed=k)
    scale, shift = (random.normal(0, 1, k).astype(np.float16) for _ in range(2))
    x = random.normal(0, 8, (m, k)).astype(np.float16)
    x[0, 0] = -65504 if act_bits == 8 else x[0, 0]
    if act_format == "bf16":
        x = (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    options = {"act_bits": act_bits, "act_format": act_format}
    want = PreparedLinear(packed, scale, shift)(x, **options)
    found = PreparedLinear(packed, scale, shift, keep_packed=True)(x, **options)
    assert np.array_equal(found.view(np.uint16), want.view(np.uint16))


@pytest.mark.parametrize("path", paths())
def test_digits_at_their_limits_are_exact(path):
    """K = 65,536 digits of 128, all signs alike: the largest sums that golden asks for."""
    p = np.full((1, 1 << 16), -128, np.float32)
    for byte, sign in ((255, 1), (0, -1)):
        signs = np.full((1, 1 << 13), byte, np.uint8)
        assert signed_sum(signs, p, path=path)[0, 0] == -sign * 2.0**23


def test_packed_linears_take_signs_alone():
    signs, ones = np.zeros((3, 1), np.uint8), np.ones(8, np.float16)
    for options in ({"mask": signs}, {"scale_out": ones[:3]}):
        with pytest.raises(InputError, match="stay packed only without mask and scale_out"):
            PreparedLinear(signs, ones, ones, keep_packed=True, **options)


# ---- the compiler -------------------------------------------------------------------------------


@pytest.fixture
def rebuilt():
    """Forget the loaded kernel before and after."""
    module._library.cache_clear()
    yield
    module._library.cache_clear()


@pytest.mark.usefixtures("rebuilt")
def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler; there is no no-such-compiler"):
        paths()
    one = np.ones(8, np.float16)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        PreparedLinear(np.zeros((1, 1), np.uint8), one, one, keep_packed=True)


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


@pytest.mark.usefixtures("rebuilt")
def test_a_damaged_kernel_is_built_again(monkeypatch, tmp_path):
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "first"))
    paths()
    (built,) = (tmp_path / "first" / "kernels").iterdir()
    damaged = tmp_path / "second" / "kernels" / built.name  # what is loaded is not read again
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no library")
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "second"))
    module._library.cache_clear()
    assert paths()[0] == "tables"
    assert damaged.stat().st_size > 1000


@pytest.mark.usefixtures("rebuilt")
def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    """An InputError, so that the golden model falls back on numpy, as without a compiler."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"packed arithmetic needs .*/file/kernels/signed_sum-"):
        paths()
