import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from golden.errors import InputError
from model.checkpoint import STATE, checkpoints, read_state, read_tensors
from model.compact import COMPACT, main, restore_compact, save_compact
from model.compact_manifest import NAME, Manifest
from model.metrics import read_metrics
from model.parts import TEMPORARY
from model.trained import load_trained

from .tiny import CONFIG, SETTINGS, run

SHORT = replace(SETTINGS, steps=24, checkpoint_every=8)
TWIN = replace(SHORT, binary=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder that stopped after 8 steps, by kind of model."""
    folders = {}
    for name, settings in (("fbi", SHORT), ("twin", TWIN)):
        folders[name] = tmp_path_factory.mktemp(name)
        run(folders[name], settings, stop_after=8)
    return folders


@pytest.fixture(scope="module")
def state(trained, tmp_path_factory):
    """A compact state of step 8; tests that damage it copy it first."""
    folder = tmp_path_factory.mktemp("state")
    save_compact(trained["fbi"], folder, part_bytes=4096)
    return folder


def copy(folder, to):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir())


@pytest.mark.parametrize("kind", ["fbi", "twin"])
def test_what_is_kept_and_what_is_lost(trained, tmp_path, kind):
    out, back = tmp_path / "out", tmp_path / "back"
    threads = torch.get_num_threads()
    manifest = save_compact(trained[kind], out, part_bytes=5000)
    assert torch.get_num_threads() == threads
    assert len(manifest.parts) > 2
    assert all(part.bytes == 5000 for part in manifest.parts[:-1])
    assert names(out) == sorted([NAME, *(part.file for part in manifest.parts)])
    assert json.loads((out / NAME).read_text())["lost"]["exact"] is False
    checkpoint = restore_compact(out, back)
    assert checkpoint == checkpoints(back)[-1]
    ours, state = read_state(checkpoint), read_state(checkpoints(trained[kind])[-1])
    assert ours.pop(COMPACT)["lost"]["exact"] is False
    assert ours == state
    assert read_metrics(back) == read_metrics(trained[kind])
    whole, found = read_tensors(checkpoints(trained[kind])[-1]), read_tensors(checkpoint)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        kind_of, _, parameter = name.partition(".")
        error = (found[name] - value).abs()
        if kind_of == "parameter" and parameter.endswith("_proj.weight"):
            assert torch.equal(found[name].sign(), value.sign())
            assert torch.equal(found[name], value.bfloat16().float())
        elif kind_of == "parameter":
            assert torch.equal(found[name], value)
        elif kind_of == "exp_avg_sq":
            assert (error <= 0.0443 * value + 2.0**-31 * value.max()).all()
        else:
            root = found[f"exp_avg_sq.{parameter}"].sqrt()
            assert (error <= 0.0047 * root).all()


def test_training_goes_on_at_the_right_step_rows_and_rate(trained, tmp_path):
    straight, carried = tmp_path / "straight", tmp_path / "carried"
    whole = run(straight, SHORT)
    lines = []
    for piece, source in enumerate((trained["fbi"], carried / "0")):
        save_compact(source, tmp_path / "out")
        restore_compact(tmp_path / "out", carried / str(piece))
        model = run(carried / str(piece), SHORT, resume=True, say=lines.append,
                    stop_after=16 + 8 * piece)  # fmt: skip
    rows, wanted = read_metrics(carried / "1"), read_metrics(straight)
    for key in ("step", "tokens", "lr"):
        assert [row[key] for row in rows if row["step"] % 5 == 0] == [
            row[key] for row in wanted if row["step"] % 5 == 0
        ]
    by_step = {row["step"]: row["loss"] for row in rows}
    assert all(
        abs(row["loss"] - by_step[row["step"]]) < 0.02 for row in wanted if row["step"] in by_step
    )
    ours, theirs = (
        torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (model, whole)
    )
    error = float((ours - theirs).norm() / theirs.norm())
    assert 0 < error < 0.02, "not to the bit, and near"


@pytest.mark.parametrize(
    "damage",
    ["remove", "truncate", "change", "manifest", "kind", "shape", "sum", "code", "name", "step",
     "layers", "sealed", "hash", "betas"],
)  # fmt: skip
def test_a_damaged_state_is_refused_by_name(state, tmp_path, damage):
    folder = copy(state, tmp_path / "state")
    part = Manifest.read(folder).parts[1].file
    data = json.loads((folder / NAME).read_text())
    message = NAME
    if damage == "remove":
        (folder / part).unlink()
        message = f"{part} is missing"
    elif damage == "truncate":
        os.truncate(folder / part, 4000)
        message = f"{part} must have 4096 bytes, not 4000"
    elif damage == "change":
        content = bytearray((folder / part).read_bytes())
        content[100] ^= 1
        (folder / part).write_bytes(content)
        message = f"{part} must be as its manifest says"
    elif damage == "manifest":
        (folder / NAME).write_text((folder / NAME).read_text()[:-50])
    elif damage == "kind":
        data["format"], message = "signacc-shards", "must be of format signacc-compact 1"
    elif damage == "shape":
        data["entries"][0]["shape"][0] += 1
        message = "must name the parameters of the model"
    elif damage == "sum":
        data["entries"][0]["parameter"][0] += 1
        message = "must give whole numbers of bytes that add up"
    elif damage == "code":
        data["entries"][0]["code"] = "other"
        message = "a code is one of exact, bfloat16, not 'other'"
    elif damage == "step":
        data["state"]["step"] = 10**9
        last = data["state"]["settings"]["steps"]
        message = f"must be of a step up to {last}, its last, not 1000000000"
    elif damage == "layers":
        data["state"]["config"]["num_hidden_layers"] = 4096
        message = "must name the parameters of the model"
    elif damage == "hash":
        data["parts"][0]["sha256"] = None
        message = "must have a SHA-256 in hex, not None"
    elif damage == "betas":
        data["state"]["settings"]["betas"] = ["a", 0]
        message = "betas must be two numbers from 0 to below 1, not ['a', 0]"
    elif damage == "sealed":
        data["state"]["step"] += 1
        message = "must be as it was written; it has changed or is damaged"
    else:
        data["parts"][1]["file"] = "../../x"
        message = "a part must be called like"
    if damage != "sealed":
        del data["sha256"], data["files"]  # what is wrong is found without its hash, too
    if damage not in ("remove", "truncate", "change", "manifest"):
        (folder / NAME).write_text(json.dumps(data))
    result = CliRunner().invoke(main, ["restore", str(folder), str(tmp_path / "run")])
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_another_training_and_an_older_step_are_refused(trained, state, tmp_path):
    other, later = tmp_path / "other", tmp_path / "later"
    run(other, replace(SHORT, seed=4), stop_after=8)
    run(later, SHORT, stop_after=16)
    here = copy(state, tmp_path / "state")
    for source, message in (
        (other, "was made with seed 3, not 4"),
        (trained["twin"], "was made with binary True, not False"),
    ):
        with pytest.raises(InputError, match=message):
            save_compact(source, here)
        with pytest.raises(InputError, match="was made with"):
            restore_compact(here, source)
    with pytest.raises(InputError, match=r"holds step 16 already; .* is of step 8"):
        restore_compact(here, later)
    assert restore_compact(here, later, if_newer=True) is None
    save_compact(later, here)
    assert Manifest.read(here).step == 16
    assert all(name == NAME or name.startswith("step-00000016-") for name in names(here))
    with pytest.raises(InputError, match=r"holds step 16 already, later than .*step-00000008"):
        save_compact(trained["fbi"], here)
    smaller = tmp_path / "smaller"
    run(smaller, SHORT, replace(CONFIG, num_hidden_layers=1), stop_after=8)
    with pytest.raises(InputError, match="was made with num_hidden_layers 2, not 1"):
        save_compact(smaller, here)


def test_a_checkpoint_in_a_run_can_be_named(trained, tmp_path):
    path = checkpoints(trained["fbi"])[-1]
    assert save_compact(path, tmp_path / "out").step == 8
    with pytest.raises(InputError, match="must be a checkpoint of training"):
        save_compact(path.with_name("step-00000009"), tmp_path / "out")
    with pytest.raises(InputError, match="must hold a checkpoint; there is none"):
        save_compact(tmp_path, tmp_path / "out")


def test_what_is_killed_or_has_no_room_leaves_the_state_before(state, tmp_path, monkeypatch):
    folder = copy(state, tmp_path / "state")
    later = tmp_path / "later"
    run(later, SHORT, stop_after=16)
    written = []

    def no_room(self):
        if len(written) == 1:
            (folder / TEMPORARY).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(folder / TEMPORARY))
        written.append(None)
        finish(self)

    from model.parts import PartWriter

    finish = PartWriter.finish
    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "finish", no_room)
        result = CliRunner().invoke(main, ["save", str(later), str(folder), "--part-bytes", "4096"])
    assert result.exit_code == 2
    assert "No space left on device" in result.output
    assert Manifest.read(folder).step == 8
    restore_compact(folder, tmp_path / "run")
    save_compact(later, folder)
    assert TEMPORARY not in names(folder)
    assert not any(name.startswith("step-00000008") for name in names(folder))


def test_what_is_not_finite_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("model.compact.read_tensors", broken := _Broken())
    for broken.name, broken.value in (("exp_avg_sq.model.norm.weight", -1.0),
                                      ("parameter.lm_head.weight", float("nan"))):  # fmt: skip
        with pytest.raises(InputError, match=rf"{broken.name} must be finite|\w+ must be finite"):
            save_compact(trained["fbi"], tmp_path / "out")
        assert not (tmp_path / "out" / NAME).exists()


class _Broken:
    def __call__(self, path):
        tensors = read_tensors(path)
        tensors[self.name].view(-1)[0] = self.value
        return tensors


def test_the_command_line(trained, tmp_path):
    out, back = tmp_path / "out", tmp_path / "back"
    result = CliRunner().invoke(main, ["save", str(trained["fbi"]), str(out)])
    assert result.exit_code == 0, result.output
    assert "in 1 parts" in result.output
    assert "not to the bit" in result.output
    result = CliRunner().invoke(main, ["restore", str(out), str(back)])
    assert result.exit_code == 0, result.output
    assert load_trained(back).config.vocab_size == CONFIG.vocab_size
    result = CliRunner().invoke(main, ["restore", str(out), str(back), "--if-newer"])
    assert result.exit_code == 0
    assert "nothing restored" in result.output
    result = CliRunner().invoke(main, ["save", str(back), str(out), "--part-bytes", "10"])
    assert result.exit_code == 2
    assert "part_bytes must be at least 4096, not 10" in result.output


def test_a_run_without_metrics_is_refused(trained, tmp_path):
    path = checkpoints(trained["fbi"])[-1]
    alone = tmp_path / "checkpoints" / path.name
    alone.parent.mkdir()
    copy(path, alone)
    with pytest.raises(InputError, match=r"must hold metrics\.csv"):
        save_compact(alone, tmp_path / "out")
    assert json.loads((alone / STATE).read_text())["step"] == 8


def test_check_reads_every_part(state, tmp_path):
    folder = copy(state, tmp_path / "state")
    manifest = Manifest.read(folder)
    result = CliRunner().invoke(main, ["check", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"step 8, {manifest.bytes:,} bytes in {len(manifest.parts)} parts" in result.output
    last = folder / manifest.parts[-1].file
    data = bytearray(last.read_bytes())
    data[-1] ^= 4
    last.write_bytes(data)
    result = CliRunner().invoke(main, ["check", str(folder)])
    assert result.exit_code == 2
    assert f"{last.name} must be as its manifest says" in "".join(result.output.split("\n"))
