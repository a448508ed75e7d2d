"""Files and folders: whole or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model import files
from model.files import put_folder, work_folder, write_text
from model.parts import PartWriter

from .replaced import watch

ROOT = Path(__file__).parents[2]


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


KILLED = """
import os, signal, sys
from pathlib import Path
from model.files import work_folder
with work_folder(Path(sys.argv[1])) as work:
    (work / "a").write_text("half")
    print(work, flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def writer(folder, what):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), what], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def test_what_a_killed_process_left_goes_and_a_living_ones_stays(tmp_path):
    target = tmp_path / "m"
    with writer(target, "live") as live:
        lives = Path(live.stdout.readline().strip())
        with writer(target, "die") as dead:
            left = Path(dead.stdout.readline().strip())
            assert dead.wait(60) == -signal.SIGKILL
        assert (left / "a").read_text() == "half"
        others = [folder_of(tmp_path / name, "mine")
                  for name in (".m.old", ".m.part", ".mm.abcdefgh.part", ".m.abcdefgh")]
        (tmp_path / ".m.abcdefgi.part").write_text("a file")
        (tmp_path / ".m.abcdefgj.part").symlink_to(others[0])
        with work_folder(target) as work:
            assert not left.exists()
            assert {path.name for path in tmp_path.iterdir()} == {
                work.name, lives.name, *(path.name for path in others),
                ".m.abcdefgi.part", ".m.abcdefgj.part",
            }
        assert not work.exists()
        assert (lives / "a").read_text() == "half"
        live.stdin.close()
        assert live.wait(60) == 0
    assert not lives.exists()
    assert all((path / "a").read_text() == "mine" for path in others)


def test_a_folder_that_was_taken_away_before_its_lock_is_made_anew(tmp_path, monkeypatch):
    """Another call may take it for one that a killed process left."""
    made, lock = [], files._lock

    def late(handle):
        if not made:
            made.extend(tmp_path.iterdir())
            made[0].rmdir()
        return lock(handle)

    monkeypatch.setattr(files, "_lock", late)
    with work_folder(tmp_path / "m") as work:
        assert made
        assert list(tmp_path.iterdir()) == [work]
        assert work != made[0]
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_keeps_what_is_left(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    left = folder_of(tmp_path / ".m.abcdefgh.part", "half")
    monkeypatch.setattr(files.fcntl, "flock", none)
    with work_folder(tmp_path / "m") as work:
        assert sorted(tmp_path.iterdir()) == sorted([left, work])
    assert list(tmp_path.iterdir()) == [left]


def test_work_folders_have_names_that_are_short_enough(tmp_path):
    with work_folder(tmp_path / ("n" * 255)) as work:
        assert work.is_dir()


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
