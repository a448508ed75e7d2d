import os

import numpy as np
import pytest

from golden.errors import InputError
from model.parts import TEMPORARY, Part, PartReader, PartWriter, remove_other_parts


def stream(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


def write(folder, data, most, step=5):
    writer = PartWriter(folder, step, most)
    for start in range(0, len(data), 700):
        writer.write(data[start : start + 700])
    writer.finish()
    return writer.parts


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 5000])
def test_a_stream_comes_back_from_parts_of_limited_size(tmp_path, size):
    data = stream(size)
    parts = write(tmp_path, data, 1000)
    assert [part.bytes for part in parts] == [1000] * (size // 1000) + [size % 1000] * (
        size % 1000 > 0
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [part.file for part in parts]
    with PartReader(tmp_path, parts) as reader:
        assert reader.read(size // 3) + reader.read(size - size // 3) == data


@pytest.mark.parametrize("damage", ["remove", "truncate", "change"])
def test_a_damaged_part_is_named(tmp_path, damage):
    parts = write(tmp_path, stream(3500), 1000)
    path = tmp_path / parts[2].file
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        os.truncate(path, 999)
    else:
        path.write_bytes(stream(1000, 1))
    word = {"remove": "is missing", "truncate": "must have 1000 bytes, not 999",
            "change": "must be as its manifest says"}[damage]  # fmt: skip
    with pytest.raises(InputError, match=f"{parts[2].file} {word}"):
        PartReader(tmp_path, parts).read(3500)


def test_bytes_too_few_and_too_many_are_refused(tmp_path):
    parts = write(tmp_path, stream(1500), 1000)
    with pytest.raises(InputError, match="must hold 10 bytes more"):
        PartReader(tmp_path, parts).read(1510)
    with pytest.raises(InputError, match="hold more than"), PartReader(tmp_path, parts) as reader:
        reader.read(1499)


def test_only_parts_are_removed(tmp_path):
    old, new = write(tmp_path, stream(1500), 1000), write(tmp_path, stream(10, 2), 1000, 6)
    for name in (TEMPORARY, "step-00000005-note.txt"):
        (tmp_path / name).touch()
    remove_other_parts(tmp_path, new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000005-note.txt", new[0].file]
    assert len(old) == 2


@pytest.mark.parametrize("name", ["../x.bin", "step-00000005-0001-0123456789ab.bin/..", 3])
def test_a_part_lies_in_its_folder(name):
    with pytest.raises(InputError, match="must be called like"):
        Part(name, 1, "0")


def test_parts_have_bytes(tmp_path):
    with pytest.raises(InputError, match="at least 1 byte, not 0"):
        PartWriter(tmp_path, 1, 0)
    with pytest.raises(InputError, match="at least 1 byte, not True"):
        Part("step-00000005-0001-0123456789ab.bin", True, "0")
