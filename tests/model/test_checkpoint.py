import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden.errors import InputError
from model.checkpoint import STATE, CheckpointError, checkpoints, read_state
from model.trained import load_trained

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
