"""A full disk: no command leaves a folder, or half a result, that was not there before."""

import errno
import gzip
import lzma
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.compact import restore_compact, save_compact
from model.corpus import text_shards
from model.data import save_shard
from model.errors import CheckpointError
from model.export import export_packed
from model.fbi import FbiLlm
from model.overlap import HeldOut
from model.sample import sample_shards

from .tiny import CONFIG, SETTINGS, VOCABULARY, rows, run, teacher

SHORT = replace(SETTINGS, steps=4, checkpoint_every=4)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return a folder with what the writers read."""
    folder = tmp_path_factory.mktemp("given")
    run(folder / "run", SHORT)
    save_compact(folder / "run", folder / "carried", part_bytes=4096)
    save_shard(folder / "seeds.npy", rows(5))
    text = folder / "tree/usr/share/doc/linux-doc-6.1/Documentation"
    text.mkdir(parents=True)
    (text / "a.rst.gz").write_bytes(gzip.compress(b"then a ten\nthe bad hen " * 40))
    return folder


def sample(given, out):
    sample_shards(
        teacher(), given / "seeds.npy", out, batch=8, length=12, temperature=1.0, min_p=0.0,
        seconds=60.0, shards=1, rank=0, ranks=1, seed=0, say=print,
    )  # fmt: skip


def export(given, out):
    model = FbiLlm(CONFIG)
    export_packed(model.state_dict(), model.config, out)


WRITERS = {
    "sample": sample,
    "data": lambda given, out: text_shards(
        given / "tree", out, VOCABULARY, HeldOut.of([]), length=16, seed=0, compress=False
    ),
    "train": lambda given, out: run(out, SHORT),
    "save": lambda given, out: save_compact(given / "run", out, part_bytes=4096),
    "restore": lambda given, out: restore_compact(given / "carried", out),
    "export": export,
}


@pytest.fixture
def full_after(monkeypatch):
    """Return a function after whose call so many files can be put in place, and no more."""
    rename = os.replace

    def fill(files):
        left = iter(range(files))

        def full(source, target):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rename(source, target)

        monkeypatch.setattr(os, "replace", full)
        monkeypatch.setattr("model.files._exchange", lambda one, other: False)

    return fill


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("folder", ["new/below", "old"])
@pytest.mark.parametrize(
    ("writer", "fit"),
    [("sample", 0), ("data", 0), ("train", 0), ("save", 0), ("save", 2), ("restore", 0),
     ("restore", 1), ("export", 0)],
)  # fmt: skip
def test_nothing_is_left(given, tmp_path, full_after, writer, fit, folder):
    (tmp_path / "old").mkdir()
    if writer != "export":  # which takes an empty folder, or a model's
        (tmp_path / "old/kept").write_text("kept")
    before = names(tmp_path)
    full_after(fit)
    with pytest.raises((OSError, CheckpointError), match="No space left on device"):
        WRITERS[writer](given, tmp_path / folder)
    assert names(tmp_path) == before


def test_a_training_without_a_checkpoint_leaves_its_log(given, tmp_path, full_after):
    full_after(1)
    with pytest.raises(CheckpointError, match="there is no checkpoint yet"):
        run(tmp_path / "run", SHORT)
    assert names(tmp_path / "run") == ["metrics.csv"]


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda a: a[::2]])
def test_a_shard_is_what_numpy_writes(tmp_path, layout):
    """Hashes of shards stand in manifests."""
    tokens = layout(rows(6))
    save_shard(tmp_path / "a.npy", tokens)
    save_shard(tmp_path / "a.npy.xz", tokens)
    np.save(tmp_path / "b.npy", np.ascontiguousarray(tokens))
    expected = (tmp_path / "b.npy").read_bytes()
    assert (tmp_path / "a.npy").read_bytes() == expected
    assert lzma.decompress((tmp_path / "a.npy.xz").read_bytes()) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_shard_says_that_the_disk_is_full(tmp_path):
    (tmp_path / "a.npy.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/a.npy'"):
        save_shard(tmp_path / "a.npy", rows(6))
    assert not list(tmp_path.iterdir())
