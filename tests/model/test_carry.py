import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from golden.errors import InputError
from model.carry import Carrier, take
from model.checkpoint import checkpoints, read_state
from model.compact_manifest import NAME, Manifest
from model.metrics import read_metrics
from model.train_command import main

from .tiny import CONFIG, SETTINGS, rows, run, write_data, write_gguf

SHORT = replace(SETTINGS, steps=12, checkpoint_every=12)


def test_each_machine_goes_on_where_the_one_before_stopped(tmp_path):
    carry, said = tmp_path / "carry", []
    for machine, last in enumerate((4, 8, 12)):
        out = tmp_path / f"machine-{machine}"
        run(out, SHORT, resume=True, carry=carry, stop_after=last, say=said.append)
        assert take(out, carry, last).step == last
    state = read_state(checkpoints(out)[-1])
    assert state["resumed"] == [
        {"step": step, "by": "compact", "same_data": True} for step in (4, 8)
    ]
    assert "compact" not in state, "that of a run that has gone on since"
    assert [row["step"] for row in read_metrics(out)] == [4, 5, 8, 10, 12]
    notes = [json.loads(line) for line in said if "resumed" in line]
    assert notes == [
        {"resumed": step, "by": "compact", "same_data": True, "to_the_bit": False}
        for step in (4, 8)
    ]
    assert json.loads((out / "packed" / "config.json").read_text())["carried_at_steps"] == [4, 8]
    found = Manifest.read(carry)
    assert (found.step, found.state["resumed"]) == (12, state["resumed"])


def test_a_finished_run_is_restored_and_exported_as_it_was(tmp_path):
    carry = tmp_path / "carry"
    run(tmp_path / "one", SHORT)
    before = take(tmp_path / "one", carry, 12)
    model = run(tmp_path / "two", SHORT, resume=True, carry=carry)
    assert take(tmp_path / "two", carry, 12) == before
    assert read_metrics(tmp_path / "one") == read_metrics(tmp_path / "two")
    ours, theirs = (
        load_file(tmp_path / n / "packed" / "model.safetensors") for n in ("one", "two")
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():  # signs, scales and embedding are kept to the bit
        assert torch.equal(value, theirs[name])
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_checkpoint_that_is_further_stays(tmp_path):
    carry, out = tmp_path / "carry", tmp_path / "run"
    run(out, SHORT, stop_after=4)
    take(out, carry, 4)
    run(out, SHORT, resume=True, carry=carry, stop_after=8)
    whole = run(tmp_path / "whole", SHORT)
    model = run(out, SHORT, resume=True, carry=carry)
    state = read_state(checkpoints(out)[-1])
    assert state["resumed"] == [
        {"step": step, "by": "checkpoint", "same_data": True} for step in (4, 8)
    ]
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "config", "message"),
    [
        (replace(SHORT, seed=5), CONFIG, "carry was made with seed 3, not 5"),
        (replace(SHORT, binary=False), CONFIG, "carry was made with binary True, not False"),
        (SHORT, replace(CONFIG, intermediate_size=32), "carry was made with intermediate_size 24"),
    ],
)
def test_the_state_of_another_training_is_not_restored(tmp_path, settings, config, message):
    carry, out = tmp_path / "carry", tmp_path / "run"
    run(tmp_path / "one", SHORT, stop_after=4)
    take(tmp_path / "one", carry, 4)
    with pytest.raises(InputError, match=message):
        run(out, settings, config, resume=True, carry=carry)
    assert not out.exists()


def test_the_command_line_carries(tmp_path):
    write_gguf(tmp_path / "t.gguf")
    data = tmp_path / "data"
    write_data(data, rows(24), group="real", licence="CC0")
    (tmp_path / "shape.json").write_text(json.dumps(CONFIG.to_dict()))

    def call(out, *options):
        return CliRunner().invoke(main, [
            "--teacher", str(tmp_path / "t.gguf"), "--data", str(data), "--out",
            str(tmp_path / out), "--model", str(tmp_path / "shape.json"), "--steps", "6",
            "--batch", "4", "--context", "12", "--warmup", "1", "--loss", "ce", "--carry",
            str(tmp_path / "carry"), *options,
        ])  # fmt: skip

    first = call("one", "--stop-after", "3")
    assert first.exit_code == 0, first.output
    assert json.loads(first.output.splitlines()[-1]) == {"carried": 3}
    second = call("two")
    assert second.exit_code == 0, second.output
    assert json.loads(second.output.splitlines()[0]) == {
        "resumed": 3, "by": "compact", "same_data": True, "to_the_bit": False,
    }  # fmt: skip
    write_data(data, rows(24, seed=7), group="real", licence="CC0")
    other = call("other")
    assert json.loads(other.output.splitlines()[0])["same_data"] is False
    assert Manifest.read(tmp_path / "carry").step == 6
    for options, message in (
        (["--carry-every", "0"], "carry-every must be above 0, not 0.0"),
        (["--minutes", "-1"], "minutes must be above 0, not -1.0"),
    ):
        assert message in " ".join(call("three", *options).output.split())
    (tmp_path / "carry" / NAME).write_text("{")
    refused = call("three")
    assert refused.exit_code == 2
    assert "must be a manifest of a compact state" in " ".join(refused.output.split())


def test_states_are_carried_while_training_goes_on(tmp_path):
    out, carry, said, kept = tmp_path / "run", tmp_path / "carry", [], []
    carrier = Carrier(carry, said.append)

    def keep(path, step):
        if not kept:  # one is enough, and the first is still being saved when the next is there
            assert carrier.start(path, step)
            assert not carrier.start(path, step)
        kept.append(step)
        carrier.finish()
        assert Manifest.read(carry).step == kept[0]

    run(out, SHORT, keep_minutes=1e-9, kept=keep)
    assert len(kept) > 4
    assert kept[-1] < 12, "the last is the command's"
    assert said == [json.dumps({"carried": kept[0]})]
    whole = run(tmp_path / "whole", SHORT)
    back = run(tmp_path / "back", SHORT, resume=True, carry=carry)
    assert [row["step"] for row in read_metrics(tmp_path / "back")][-1] == 12
    for ours, theirs in zip(back.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=0.1)


def test_a_state_that_cannot_be_saved_is_told_and_training_goes_on(tmp_path):
    said = []
    carrier = Carrier(tmp_path / "carry", said.append)
    assert carrier.start(tmp_path / "step-00000004", 4)
    carrier.finish()
    (line,) = map(json.loads, said)
    assert (line["carried"], line["step"]) == (None, 4)
    assert "step-00000004 must be a checkpoint of training" in line["problem"]
    assert "Traceback" not in line["problem"]
