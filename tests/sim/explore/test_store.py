"""Results on disk: nothing finished is lost, a torn line is dropped, one run at a time."""

import errno
import json
import os

import pytest

from sim.errors import InputError
from sim.explore import ResultStore
from sim.explore.store import RESULTS


def test_records_come_back(tmp_path):
    with ResultStore(tmp_path / "new") as store:
        store.append([{"key": "a", "x": 1}])
        store.append([{"key": "b", "x": 2}, {"key": "c", "x": 3}])
    with ResultStore(tmp_path / "new") as store:
        assert {key: record["x"] for key, record in store.records.items()} == {
            "a": 1, "b": 2, "c": 3
        }


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_line_is_dropped_and_the_next_one_is_whole(tmp_path, cut):
    path = tmp_path / RESULTS
    whole, torn = json.dumps({"key": "a"}) + "\n", json.dumps({"key": "b"}) + "\n"
    path.write_text(whole + torn[:-cut])
    with ResultStore(tmp_path) as store:
        assert list(store.records) == ["a"]
        store.append([{"key": "c"}])
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "c"]


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"x": 1}', '"key"', "null",
                                  '{"key": []}', '{"key": 1}', "[" * 100_000])
def test_a_file_of_something_else_is_refused_and_kept(tmp_path, line):
    path = tmp_path / RESULTS
    text = json.dumps({"key": "a"}) + "\n" + line + "\nrest"
    path.write_text(text)
    with pytest.raises(InputError, match="line 2: must be a result"), ResultStore(tmp_path):
        pass
    assert path.read_text() == text


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with ResultStore(tmp_path) as store:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as error:
            store.append([{"key": "c"}])
        assert error.value.filename == str(tmp_path / RESULTS)
        assert store.records == {}


def test_two_runs_at_once_are_refused(tmp_path):
    with ResultStore(tmp_path), pytest.raises(InputError, match="one run at a time"), \
            ResultStore(tmp_path):
        pass
    with ResultStore(tmp_path):
        pass
