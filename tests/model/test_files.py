"""Files and folders: whole or not there."""

import os
from pathlib import Path

import pytest

from model import files
from model.files import put_folder, write_text
from model.parts import PartWriter

from .replaced import watch


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "one\n")
    write_text(path, "zwei ß\n")
    assert path.read_bytes() == "zwei ß\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_file(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "one\n")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "two\ud800\n")
    assert path.read_text() == "one\n"


def folder_of(path, text):
    path.mkdir()
    (path / "a").write_text(text)
    return path


def contents(folder):
    return {path.name: (path / "a").read_text() for path in folder.iterdir()}


def test_a_folder_takes_the_place_of_one_that_is_there_at_every_moment(tmp_path, monkeypatch):
    there, seen = folder_of(tmp_path / "m", "old"), []
    watch(monkeypatch, lambda: seen.append((there / "a").read_text()))
    put_folder(folder_of(tmp_path / "work", "new"), there)
    assert contents(tmp_path) == {"m": "new"}
    assert set(seen) == {"new"}  # exchanged in one step, then the old one was removed


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_put_where_names_cannot_be_exchanged(tmp_path, monkeypatch, there, stale):
    """What a killed call left under the hidden name goes, once the new folder is in place."""
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    if there:
        folder_of(tmp_path / "m", "old")
    if stale:
        folder_of(tmp_path / ".m.old", "older")
    put_folder(folder_of(tmp_path / "work", "new"), tmp_path / "m")
    assert contents(tmp_path) == {"m": "new"}


def test_a_system_that_cannot_exchange_names_says_so(tmp_path, monkeypatch):
    one = folder_of(tmp_path / "one", "1")
    assert not files._exchange(one, tmp_path / "none")
    monkeypatch.setattr(files.ctypes, "CDLL", lambda name: object())
    assert not files._exchange(one, folder_of(tmp_path / "other", "2"))
    assert contents(tmp_path) == {"one": "1", "other": "2"}


def write_part(folder):
    writer = PartWriter(folder, 1, 10)
    writer.write(b"abc")
    writer.finish()


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda folder: write_text(folder / "a.json", "{}"), "a.json"),
        (write_part, "step-00000001-0001-"),
    ],
)
def test_a_full_disk_is_told_of_the_file_and_leaves_nothing(tmp_path, monkeypatch, write, name):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write(tmp_path)
    assert Path(error.value.filename).name.startswith(name)
    assert not list(tmp_path.iterdir())
