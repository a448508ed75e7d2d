"""Results on disk: nothing finished is lost, a torn line is dropped, one run at a time."""

import errno
import fcntl
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


@pytest.mark.parametrize("room", [0, 5, 15, 25, 26, 40])
def test_a_full_disk_keeps_whole_lines_and_an_empty_folder_goes(tmp_path, monkeypatch, room):
    """Of a batch what fits is kept: computed is computed."""
    write, folder = os.write, tmp_path / "new/sub"
    records = [{"key": key} for key in "abc"]
    length = len(json.dumps(records[0])) + 1
    assert length == 13

    def full(descriptor, data):
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[:room])
        room -= written
        return written

    def append():
        with ResultStore(folder) as store:
            monkeypatch.setattr(os, "write", full)
            store.append(records)

    fits = room // length
    if fits == len(records):
        append()
    else:
        with pytest.raises(OSError, match="No space left"):
            append()
    if not fits:
        assert not list(tmp_path.iterdir())
        return
    text = (folder / RESULTS).read_text()
    assert text == "".join(json.dumps(record) + "\n" for record in records[:fits])


@pytest.mark.parametrize("there", [False, True])
def test_a_file_without_results_stays_unless_a_run_that_made_it_fails(tmp_path, there):
    def store_nothing(error=None):
        with ResultStore(tmp_path / "new"):
            if error is not None:
                raise error

    if there:
        store_nothing()
    with pytest.raises(KeyboardInterrupt):
        store_nothing(KeyboardInterrupt())
    found = [path.name for path in tmp_path.rglob("*")]
    assert found == (["new", RESULTS] if there else [])


def test_a_file_that_another_run_removes_is_made_again(tmp_path, monkeypatch):
    """One that stores nothing removes its file while the next one has it open, without its lock."""
    first, lock = ResultStore(tmp_path).__enter__(), fcntl.flock

    def late(descriptor, how):
        if first is not None:
            first.__exit__(OSError, OSError(), None)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with ResultStore(tmp_path) as store:
        store.append([{"key": "a"}])
    with ResultStore(tmp_path) as store:
        assert list(store.records) == ["a"]


def test_two_runs_at_once_are_refused(tmp_path):
    with ResultStore(tmp_path), pytest.raises(InputError, match="one run at a time"), \
            ResultStore(tmp_path):
        pass
    with ResultStore(tmp_path):
        pass
