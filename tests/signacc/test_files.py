"""Output files are whole or not there."""

from __future__ import annotations

import os
import stat

import pytest

from signacc.files import write_text, write_texts


def test_replaces_and_respects_the_umask(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = os.umask(0o022)
    try:
        write_text(path, "new\n")
    finally:
        os.umask(before)
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_failure_in_mid_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "a.txt", "x")


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError, match="No such file") as error:
        write_text(tmp_path / "none" / "a.txt", "x")
    assert error.value.filename == str(tmp_path / "none" / "a.txt")


def test_all_or_none(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match="must not be a folder"):
        write_texts({tmp_path / "a": "a", tmp_path / "b": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_links_are_followed(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
