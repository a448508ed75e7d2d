import lzma
import tracemalloc

import numpy as np
import pytest
import torch

from golden.errors import InputError
from model.data import Mixture, expand, load_seeds, load_shard, save_shard
from model.overlap import HeldOut
from model.tokenizer import pieces

from .tiny import SIZE, VOCABULARY, rows


def ids(*tokens):
    return [VOCABULARY.tokens.index(t) for t in tokens]


def test_shard_round_trip_and_temporary_name(tmp_path):
    path = tmp_path / "a.npy"
    save_shard(path, rows(3))
    assert (load_shard(path) == rows(3)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_bad_shards_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must be a \.npy file; there is none at .*gone\.npy"):
        load_shard(tmp_path / "gone.npy")
    (tmp_path / "text.npy").write_text("no shard")
    with pytest.raises(InputError, match=r"text\.npy must be a \.npy token shard"):
        load_shard(tmp_path / "text.npy")
    np.save(tmp_path / "good.npy", np.zeros((2, 3), np.uint16))
    good = (tmp_path / "good.npy").read_bytes()
    for old, new in ((b"(2, 3)", b"(2, 3\x1b"), (b"'shape'", b"'shapf'"), (b"'<u2'", b"'<u9'"),
                     (b"(2, 3), }", b"(2,99**9)"), (b"{'descr'", b"['descr'")):  # fmt: skip
        assert good.count(old) == 1
        (tmp_path / "bad.npy").write_bytes(good.replace(old, new))
        with pytest.raises(InputError, match=r"bad\.npy must be a \.npy token shard"):
            load_shard(tmp_path / "bad.npy")
        with pytest.raises(InputError, match=r"bad\.npy must hold hashes of held-out text"):
            HeldOut.load(tmp_path / "bad.npy", 13)
    np.save(tmp_path / "wide.npy", np.zeros((2, 3), np.int64))
    with pytest.raises(InputError, match=r"must be uint16 \[rows, length\], not int64 \(2, 3\)"):
        load_shard(tmp_path / "wide.npy")
    with pytest.raises(InputError, match="not float64"):
        save_shard(tmp_path / "x.npy", np.zeros((2, 3)))


def test_what_follows_a_compressed_shard_is_not_read(tmp_path):
    path = tmp_path / "a.npy.xz"
    save_shard(path, np.zeros((2, 10), dtype=np.uint16))
    with lzma.open(path, "ab") as file:
        file.write(bytes(1 << 26))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.npy\.xz must be .*: it holds more than its head"):
        load_shard(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 24


def test_seeds_are_padded_rows(tmp_path):
    seeds = np.array([[0, 5, 65535], [0, 5, 6]], np.uint16)
    save_shard(tmp_path / "s.npy", seeds)
    read, width = load_seeds(tmp_path / "s.npy")
    assert width.tolist() == [2, 3]
    assert read.tolist() == [[0, 5, 0], [0, 5, 6]]


def test_order_depends_on_seed_and_step_alone():
    sampled, real = [rows(7, seed=1), rows(5, seed=2)], [rows(4, seed=3)]
    one, same = (Mixture(sampled, real, 0.25, 11) for _ in range(2))
    other = Mixture(sampled, real, 0.25, 12)
    assert all((one.batch(s, 6) == same.batch(s, 6)).all() for s in (3, 0, 7))
    assert any((one.batch(s, 6) != other.batch(s, 6)).any() for s in range(3))


def test_an_epoch_holds_every_row_once_and_the_share_is_kept():
    sampled = [np.arange(12, dtype=np.uint16)[:, None]]
    real = [np.arange(100, 104, dtype=np.uint16)[:, None]]
    mixture = Mixture(sampled, real, 0.25, 0)
    epoch = np.concatenate([mixture.batch(s, 4)[:, 0] for s in range(4)])
    assert sorted(epoch.tolist()) == [*range(12), *range(100, 104)]
    second = np.concatenate([mixture.batch(s, 4)[:, 0] for s in range(4, 8)])
    assert sorted(second.tolist()) == sorted(epoch.tolist())
    assert second.tolist() != epoch.tolist()


def test_mixture_refuses_what_it_cannot_draw():
    with pytest.raises(InputError, match=r"a real_share of 0\.5 needs at least one sampled shard"):
        Mixture([], [rows(2)], 0.5, 0)
    with pytest.raises(InputError, match=r"a real_share of 0\.5 needs at least one real shard"):
        Mixture([rows(2)], [], 0.5, 0)
    with pytest.raises(InputError, match=r"one row length, not \[10, 11\]"):
        Mixture([rows(2)], [rows(2, length=11)], 0.5, 0)
    with pytest.raises(InputError, match="real_share must be between 0 and 1, not 2"):
        Mixture([rows(2)], [rows(2)], 2, 0)


def test_expansion_spells_tokens_and_points_at_the_prediction():
    table, count = pieces(VOCABULARY, SIZE)
    row = torch.tensor([ids("a", "then", "anthen", "b")])
    batch = expand(row, torch.from_numpy(table.astype(np.int64)), torch.from_numpy(count), 8)
    spelled = ids("a", "the", "n", "an", "the", "n", "b")
    assert batch.tokens.tolist() == [[*spelled, 0]]
    assert batch.target.tolist() == [[*spelled[1:], -1, -1]]
    # "the" begins teacher token 1, predicted at 0; "n" goes on; "an" begins token 2; "b" token 3
    assert batch.teacher.tolist() == [[0, -1, 1, -1, -1, 2, -1, -1]]


def test_expansion_cuts_at_the_context():
    table, count = pieces(VOCABULARY, SIZE)
    row = torch.tensor([ids("a", "then", "anthen", "b")])
    batch = expand(row, torch.from_numpy(table.astype(np.int64)), torch.from_numpy(count), 3)
    assert batch.tokens.tolist() == [ids("a", "the", "n")]
    assert batch.target.tolist() == [ids("the", "n", "an")]
    assert batch.teacher.tolist() == [[0, -1, 1]]
