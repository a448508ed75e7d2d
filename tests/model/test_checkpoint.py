import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden.errors import InputError
from model.checkpoint import (
    STATE,
    CheckpointError,
    checkpoints,
    read_state,
    read_tensors,
    write_tensors,
)
from model.checksums import FILES, SEAL, hash_files
from model.parallel import World
from model.trained import load_trained

from .replaced import watch
from .tiny import CONFIG, SETTINGS, run

ROOT = Path(__file__).parents[2]
SHORT = replace(SETTINGS, checkpoint_every=4, steps=12)


def names(out):
    return sorted(p.name for p in (out / "checkpoints").iterdir())


def test_the_newest_two_are_kept_and_hold_no_pickle(tmp_path):
    run(tmp_path, SHORT)
    assert names(tmp_path) == ["step-00000008", "step-00000012"]
    files = {p.suffix for p in checkpoints(tmp_path)[-1].iterdir()}
    assert files == {".safetensors", ".json"}
    assert read_state(checkpoints(tmp_path)[-1])["step"] == 12


KILLED = """
import os, signal, sys
from pathlib import Path
from model import checkpoint
from tests.model import tiny
from tests.model.test_checkpoint import SHORT
point, out = sys.argv[1:]
calls = 0
original = getattr(checkpoint, point) if point != "replace" else os.replace
def deadly(*arguments, **options):
    global calls
    calls += ("step-" in str(arguments)) or point == "_quiet"
    if calls == 2:
        if point == "_quiet":   # killed while files are half written
            original(*arguments, **options)
            part = next((p for p in Path(out, "checkpoints").glob("*.part")))
            file = next(part.glob("*.safetensors"))
            os.truncate(file, file.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
if point == "replace":
    os.replace = deadly
else:
    setattr(checkpoint, point, deadly)
tiny.run(out, SHORT)
"""


@pytest.mark.parametrize("point", ["_quiet", "_sync", "replace"])
def test_kill_in_mid_checkpoint_leaves_the_one_before(tmp_path, point):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    result = subprocess.run(
        [sys.executable, "-c", KILLED, point, str(killed)], cwd=ROOT, capture_output=True,
        text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert names(killed) == ["step-00000004", "step-00000008.part"]
    assert [read_state(p)["step"] for p in checkpoints(killed)] == [4]
    ours, theirs = run(killed, SHORT, resume=True), run(whole, SHORT)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert names(killed) == ["step-00000008", "step-00000012"]


def test_a_checkpoint_is_there_at_every_moment_of_its_replacement(tmp_path, monkeypatch):
    """As where a compact state of the same step is restored."""
    run(tmp_path, SHORT, stop_after=4)
    (there,) = checkpoints(tmp_path)
    state, tensors = read_state(there), read_tensors(there)
    new = {name: value + 1 for name, value in tensors.items()}
    watch(monkeypatch, lambda: read_tensors(there))
    write_tensors(tmp_path, lambda: new, state, World(0, 1, torch.device("cpu")))
    found = read_tensors(there)
    assert all(torch.equal(found[name], value) for name, value in new.items())
    assert names(tmp_path) == ["step-00000004"]


@contextmanager
def full_disk(most: int):
    """No file may grow beyond `most` bytes: writes fail as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    run(tmp_path, SHORT, stop_after=4)
    with (
        full_disk(8192),
        pytest.raises(CheckpointError, match=r"step 8: no checkpoint written \(.*step-00000004 is"),
    ):
        run(tmp_path, SHORT, resume=True)
    assert names(tmp_path) == ["step-00000004"]
    resumed = run(tmp_path, SHORT, resume=True)
    for one, other in zip(
        resumed.parameters(), run(tmp_path / "whole", SHORT).parameters(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("damage", ["truncate", "remove", "other", "state", "kind"])
def test_damaged_checkpoints_are_refused(tmp_path, damage):
    run(tmp_path, SHORT, stop_after=4)
    path = checkpoints(tmp_path)[-1]
    file = next(path.glob("*.safetensors"))
    message = "step-00000004 must be a checkpoint of"
    if damage == "truncate":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "remove":
        file.unlink()
    elif damage == "other":
        run(tmp_path / "o", SHORT, replace(CONFIG, num_hidden_layers=1), stop_after=4)
        file.write_bytes(
            next(checkpoints(tmp_path / "o")[-1].glob("*.safetensors")).read_bytes()
        )
    elif damage == "state":
        (path / STATE).write_text("{")
    else:
        (path / STATE).write_text(json.dumps({"step": 3}))
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, SHORT, resume=True)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        load_trained(tmp_path)


def flip(file: Path, place: int, bit: int = 1):
    data = bytearray(file.read_bytes())
    data[place] ^= bit
    file.write_bytes(data)


@pytest.mark.parametrize("place", [-1, -1000])
def test_a_changed_byte_of_a_tensor_is_refused_by_name(tmp_path, place):
    run(tmp_path, SHORT, stop_after=4)
    path = checkpoints(tmp_path)[-1]
    file = next(path.glob("*.safetensors"))
    flip(file, place)
    for load in (
        lambda: run(tmp_path, SHORT, resume=True),
        lambda: load_trained(tmp_path),
        lambda: read_tensors(path),
    ):
        with pytest.raises(InputError, match=f"{path.name} must be .*: {file.name} has changed or"):
            load()
    flip(file, place)
    run(tmp_path, SHORT, resume=True, stop_after=5)


def test_files_of_other_names_are_hashed_too(tmp_path, monkeypatch):
    """As another version of PyTorch may call them: none is one's own by its name."""
    calls = []

    def hashed(paths):
        calls.append(found := [*paths])
        return {} if len(calls) == 1 else hash_files(found)

    monkeypatch.setattr("model.checkpoint.hash_files", hashed)
    run(tmp_path, SHORT, stop_after=4)
    assert [len(found) for found in calls] == [1, 1]
    load_trained(tmp_path)


def test_a_file_that_was_not_written_with_the_others_is_refused(tmp_path):
    run(tmp_path, SHORT, stop_after=4)
    path = checkpoints(tmp_path)[-1]
    shutil.copy(next(path.glob("*.safetensors")), path / "shard-00002.safetensors")
    with pytest.raises(InputError, match=r"shard-00002.safetensors is none of its files"):
        load_trained(tmp_path)


def test_a_changed_state_is_refused(tmp_path):
    run(tmp_path, SHORT, stop_after=4)
    where = checkpoints(tmp_path)[-1] / STATE
    where.write_text(where.read_text().replace('"step": 4', '"step": 5'))
    with pytest.raises(InputError, match=r"step-00000004/state.json must be as it was written"):
        run(tmp_path, SHORT, resume=True)
    data = json.loads(where.read_text())
    del data[SEAL]  # not one of before there were hashes: those of the files are there
    where.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"must be as it was written"):
        read_state(where.parent)


def test_a_checkpoint_of_before_there_were_hashes_resumes_and_says_so(tmp_path):
    run(tmp_path, SHORT, stop_after=4)
    where = checkpoints(tmp_path)[-1] / STATE
    data = json.loads(where.read_text())
    del data[FILES], data[SEAL]
    where.write_text(json.dumps(data))
    with pytest.warns(UserWarning, match="step-00000004 is of an older kind, without hashes"):
        run(tmp_path, SHORT, resume=True, stop_after=8)
    newer = json.loads((checkpoints(tmp_path)[-1] / STATE).read_text())
    assert len(newer[FILES]) == 1
    load_trained(tmp_path)
