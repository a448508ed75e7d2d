import hashlib

import pytest

from golden.errors import InputError
from model.checksums import FILES, SEAL, check_files, hash_files, sealed, unsealed


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 1000)
    return tmp_path


def test_hashes_are_sha256_of_the_bytes(folder):
    files = hash_files(sorted(folder.iterdir()))
    assert files == {n: hashlib.sha256(n.encode() * 1000).hexdigest() for n in "abc"}
    check_files(folder, files, ["a", "b", "c"])


def test_each_process_reads_its_share(folder):
    files = hash_files(sorted(folder.iterdir()))
    (folder / "b").write_bytes(b"b" * 999 + b"c")
    check_files(folder, files, ["a", "b", "c"], share=(0, 2))
    with pytest.raises(InputError, match="b has changed or is damaged"):
        check_files(folder, files, ["a", "b", "c"], share=(1, 2))


def test_files_that_are_missing_or_not_known_are_named(folder):
    files = hash_files(sorted(folder.iterdir()))
    with pytest.raises(InputError, match="b is missing"):
        check_files(folder, files, ["a", "c"])
    with pytest.raises(InputError, match="d is none of its files"):
        check_files(folder, files, ["a", "b", "c", "d"])
    (folder / "a").unlink()
    with pytest.raises(InputError, match=r"must be a checkpoint of training: .*No such file"):
        check_files(folder, files, ["a", "b", "c"])


def test_a_state_comes_back_as_json_holds_it(tmp_path):
    state = {"step": 3, "betas": (0.9, 0.95), "rate": 0.1 + 0.2}
    data = sealed(state, {"b": "2", "a": "1"})
    assert unsealed(data, tmp_path) == ({**state, "betas": [0.9, 0.95]}, {"a": "1", "b": "2"})
    assert unsealed(state, tmp_path) == (state, None)
    for key, value in (("step", 4), (FILES, {"a": "1"}), (SEAL, "0" * 64)):
        with pytest.raises(InputError, match="must be as it was written; it has changed"):
            unsealed({**data, key: value}, tmp_path)
