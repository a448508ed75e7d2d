import json
import lzma
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from golden.errors import InputError
from model.data import save_shard
from model.manifest import Manifest, describe, load_mixture, load_shards, vocabulary_hash

from .tiny import SIZE, VOCABULARY, rows


def folder(path, data=None):
    path.mkdir()
    save_shard(path / "a.npy", rows(6, seed=1))
    save_shard(path / "b.npy.xz", rows(2, seed=2) if data is None else data)
    shards = [
        describe(path, name, group=group, source="made up", licence="CC0")
        for name, group in (("a.npy", "sampled"), ("b.npy.xz", "real"))
    ]
    manifest = Manifest(
        vocabulary=vocabulary_hash(VOCABULARY), vocabulary_size=len(VOCABULARY.tokens),
        length=10, shards=tuple(shards),
    )  # fmt: skip
    manifest.write(path)
    return manifest


def test_round_trip_and_shares(tmp_path):
    manifest = folder(tmp_path / "d")
    assert Manifest.read(tmp_path / "d") == manifest
    groups = load_shards(tmp_path / "d", VOCABULARY)
    assert (groups["sampled"][0] == rows(6, seed=1)).all()
    assert (groups["real"][0] == rows(2, seed=2)).all()
    assert load_mixture(tmp_path / "d", VOCABULARY, real_share=None, seed=0).real_share == 0.25
    assert manifest.shards[1].tokens == 20
    assert not list((tmp_path / "d").glob("*.part"))


def test_a_vocabulary_of_another_teacher_is_refused(tmp_path):
    folder(tmp_path / "d")
    with pytest.raises(InputError, match=r"another vocabulary \(19 tokens, .*\(16 tokens, "):
        load_shards(tmp_path / "d", VOCABULARY.cut(SIZE))
    swapped = replace(VOCABULARY, special=VOCABULARY.special[:2])  # the same size
    with pytest.raises(InputError, match="another vocabulary"):
        load_shards(tmp_path / "d", swapped)


@pytest.mark.parametrize("name", ["a.npy", "b.npy.xz"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_shards_are_refused(tmp_path, name, damage):
    folder(tmp_path / "d")
    path = tmp_path / "d" / name
    if damage == "truncate":
        os.truncate(path, path.stat().st_size - 7)
    elif damage == "flip":
        data = bytearray(path.read_bytes())
        data[-30] ^= 1
        path.write_bytes(bytes(data))
    else:
        path.unlink()
    with pytest.raises(InputError, match=rf"{name}.* must |there is none at .*{name}"):
        load_shards(tmp_path / "d", VOCABULARY)


def test_ids_outside_the_vocabulary_are_refused(tmp_path):
    folder(tmp_path / "d", np.full((2, 10), 19, np.uint16))
    with pytest.raises(InputError, match="must hold ids below 19, not 19"):
        load_shards(tmp_path / "d", VOCABULARY)


def test_rows_of_another_length_are_refused(tmp_path):
    folder(tmp_path / "d", rows(2, length=9))
    with pytest.raises(InputError, match=r"must hold 2 rows of 10 tokens, not \(2, 9\)"):
        load_shards(tmp_path / "d", VOCABULARY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no json", r"must be a manifest of shards"),
        ({"version": 2}, "must be of format signacc-shards 1, not signacc-shards 2"),
        ({"shards": [{"file": "a.npy"}]}, "must be a manifest of shards"),
        ({"file": "../a.npy"}, r"a shard must lie in its folder, not at \.\./a\.npy"),
        ({"file": 5}, "must be a manifest of shards: .*file of a shard must be str, not 5"),
        ({"rows": "2"}, "rows of a shard must be int, not '2'"),
        ({"sha256": None}, "sha256 of a shard must be str, not None"),
        ({"vocabulary": None}, "vocabulary must be a text, not None"),
        ({"length": "10"}, "length must be an integer, not '10'"),
        ({"ngram": 1.5}, "ngram must be an integer, not 1.5"),
        ({"group": "other"}, "a group is one of sampled, real, not 'other'"),
    ],
)
def test_bad_manifests_are_refused(tmp_path, change, message):
    folder(tmp_path / "d")
    path = tmp_path / "d" / "manifest.json"
    if isinstance(change, str):
        path.write_text(change)
    else:
        data = json.loads(path.read_text())
        target = data if change.keys() & data.keys() else data["shards"][0]
        target.update(change)
        path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as caught:
        load_shards(tmp_path / "d", VOCABULARY)
    assert str(caught.value).count(" must be ") <= 1 + isinstance(change, dict)
    assert "InputError(" not in str(caught.value), "a message within a message"


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold manifest\.json; there is none in"):
        load_shards(tmp_path, VOCABULARY)


def test_a_changed_shard_is_not_decompressed(tmp_path):
    """A thousandth of what it holds: its hash tells before."""
    folder(tmp_path / "d")
    with lzma.open(tmp_path / "d" / "b.npy.xz", "ab") as file:
        file.write(bytes(1 << 26))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"b\.npy\.xz must be as its manifest says"):
        load_shards(tmp_path / "d", VOCABULARY)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 24
