"""Folders that are made, and go again if nothing is written to them."""

import errno

import pytest

from golden.files import made_folder


def fail(folder, error, *, write=None):
    with made_folder(folder):
        assert folder.is_dir()
        if write is not None:
            write.write_text("c")
        raise error


def test_folders_stay_with_what_is_written(tmp_path):
    with made_folder(tmp_path / "a/b"):
        (tmp_path / "a/b/c").write_text("c")
    assert (tmp_path / "a/b/c").read_text() == "c"
    with made_folder(tmp_path / "a/d"):
        pass
    assert (tmp_path / "a/d").is_dir()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_what_was_there(tmp_path, error):
    (tmp_path / "old").mkdir()
    for folder in ("old", "old/new", "a/b/c"):
        with pytest.raises(error):
            fail(tmp_path / folder, error)
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_what_fails_leaves_what_it_wrote(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "a/b", KeyboardInterrupt, write=tmp_path / "a/c")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "c"]


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="name too long"), made_folder(tmp_path / "a" / ("b" * 300)):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "named"),
    [((errno.ENOSPC, "full"), "new"), ((errno.ENOSPC, "full", "x"), "x"), ((errno.EIO, "e"), None)],
)
def test_a_full_disk_is_told_of_a_file(tmp_path, given, named):
    with pytest.raises(OSError, match=given[1]) as error:
        fail(tmp_path / "new", OSError(*given))
    assert error.value.filename == (str(tmp_path / named) if named == "new" else named)
