"""Text files: whole or not there."""

import pytest

from model.files import write_text


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
