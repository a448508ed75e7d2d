"""Output files are whole or not there."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from golden.errors import InputError
from signacc.files import (
    check_output_file,
    check_output_folder,
    joined,
    write_text,
    write_texts,
)


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


@pytest.mark.parametrize("end", ["", "inside"])
@pytest.mark.parametrize("check", [check_output_file, check_output_folder])
def test_links_in_a_loop_are_refused(tmp_path, check, end):
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(InputError, match=r"the page must not be in a loop of .*fir"):
        check(first / end, "page")


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_read_only_file_is_not_replaced(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="must not be read-only") as error:
        write_texts({tmp_path / "b.txt": "b", path: "new"})
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_none_is_not_replaced(tmp_path):
    """A rename would put a file in the place of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="must be a regular file"):
        write_text(tmp_path / "pipe", "new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_two_outputs_of_one_name_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(OSError, match="two output files must not have one name"):
        write_texts({tmp_path / "a": "1", tmp_path / "sub" / ".." / "a": "2"})
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 255)
    write_text(path, "x")
    assert path.read_text() == "x"


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_text(tmp_path / "a", "x")
    assert error.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_files_of_one_name_are_not_joined(tmp_path):
    one = {tmp_path / "a": "1"}
    assert joined(one, {tmp_path / "b": "2"}, {}) == {tmp_path / "a": "1", tmp_path / "b": "2"}
    (tmp_path / "sub").mkdir()
    for other in (tmp_path / "a", tmp_path / "sub" / ".." / "a"):
        with pytest.raises(InputError, match="two output files must not have one name"):
            joined(one, {other: "2"})


def test_outputs_are_checked_before_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    check_output_file(file)
    check_output_file(tmp_path / "new")
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new" / "newer")
    with pytest.raises(InputError, match="the page must not be a folder"):
        check_output_file(tmp_path, "page")
    with pytest.raises(InputError, match="the page's folder must exist; there is none for"):
        check_output_file(tmp_path / "none" / "x", "page")
    file.chmod(0o444)
    with pytest.raises(InputError, match="the page must not be read-only: "):
        check_output_file(file, "page")
    with pytest.raises(InputError, match="the page must be a regular file: /dev/null"):
        check_output_file("/dev/null", "page")
    for path in (file, file / "below"):
        with pytest.raises(InputError, match="output folder must be a folder, not the file"):
            check_output_folder(path)
