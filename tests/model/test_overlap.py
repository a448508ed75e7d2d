import numpy as np
import pytest

from golden.errors import InputError
from model.overlap import HeldOut, ngram_hashes

from .tiny import rows


def shares(row, texts, n):
    """The definition, on tuples."""
    grams = {tuple(t[i : i + n]) for t in texts for i in range(len(t) - n + 1)}
    return any(tuple(row[i : i + n]) in grams for i in range(len(row) - n + 1))


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_dropped_as_the_definition_says(seed):
    rng = np.random.default_rng(seed)
    texts = [rng.integers(0, 4, length).tolist() for length in (30, 3, 12)]
    data = rng.integers(0, 4, (60, 9)).astype(np.uint16)
    data[7, 2:8] = texts[0][5:11]
    held = HeldOut.of([np.array(t) for t in texts], 6)
    expected = [row.tolist() for row in data if not shares(row.tolist(), texts, 6)]
    assert held.clean(data).tolist() == expected
    assert 0 < len(expected) < 60


def test_hashes_differ_by_order_place_and_token():
    grams = [[1, 2, 3], [3, 2, 1], [0, 1, 2], [1, 2, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    values = [int(ngram_hashes(np.array(g), 3)[0]) for g in grams]
    assert len(set(values)) == len(grams)
    many = np.array(np.meshgrid(*[np.arange(60)] * 3)).reshape(3, -1).T
    assert len(np.unique(ngram_hashes(many, 3))) == 60**3


def test_short_texts_and_no_texts_drop_nothing():
    assert ngram_hashes(np.arange(4), 5).shape == (0,)
    assert (HeldOut.of([np.arange(4)], 5).clean(rows(3)) == rows(3)).all()
    assert (HeldOut.of([], 5).clean(rows(3)) == rows(3)).all()
    with pytest.raises(InputError, match="an n-gram must have at least 1 token, not 0"):
        ngram_hashes(np.arange(4), 0)


def test_files(tmp_path):
    held = HeldOut.of([np.arange(40)], 13)
    held.save(tmp_path / "h.npy")
    assert (HeldOut.load(tmp_path / "h.npy", 13).hashes == held.hashes).all()
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match="must hold uint64 hashes, not float64"):
        HeldOut.load(tmp_path / "x.npy", 13)
    with pytest.raises(InputError, match="must hold hashes of held-out text"):
        HeldOut.load(tmp_path / "no.npy", 13)
