"""Text files: whole or not there."""

import os
from pathlib import Path

import pytest

from model.files import write_text
from model.parts import PartWriter


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
