import json
import math

import pytest
import torch
from click.testing import CliRunner

from golden.errors import InputError
from model.evaluate import ratio
from model.loss_files import TextLosses, WindowLosses, main, ratios


def file(losses, *, model="fbi", window=10, tokens=None, name="wiki"):
    tokens = torch.arange(10 * len(losses)) if tokens is None else tokens
    values = torch.tensor(losses, dtype=torch.float64)
    return WindowLosses(model, window, {name: TextLosses.of(tokens, values)})


OURS = [1.1, 5.2, 0.1 + 0.2]
THEIRS = [1.0, 5.0, 0.25]


def test_losses_are_read_back_to_the_bit(tmp_path):
    one = file(OURS)
    one.write(tmp_path / "a.json")
    assert WindowLosses.read(tmp_path / "a.json") == one
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_ratio_of_two_files_is_that_of_the_losses():
    found = ratios(file(OURS), file(THEIRS, model="twin"))["wiki"]
    direct = ratio(*(torch.tensor(v, dtype=torch.float64) for v in (OURS, THEIRS)))
    assert {key: found[key] for key in direct} == direct
    # by hand: the mean of differences 0.1, 0.2, 0.05
    assert found["ratio"] == pytest.approx(math.exp(0.35 / 3), abs=1e-5)
    assert found["perplexity"] == pytest.approx(
        [math.exp(sum(v) / 3) for v in (OURS, THEIRS)], abs=1e-4
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (file(THEIRS, window=11), "windows of one length, not 10 and 11 tokens"),
        (file(THEIRS, name="c4"), "of the same texts, not wiki and c4"),
        (file(THEIRS, tokens=torch.arange(1, 31)), "the same tokens of wiki, not of SHA-256"),
    ],
)
def test_other_text_has_no_ratio(other, message):
    with pytest.raises(InputError, match=message):
        ratios(file(OURS), other)


def test_the_command_writes_what_it_prints(tmp_path):
    for name, losses in (("fbi", OURS), ("twin", THEIRS)):
        file(losses, model=name).write(tmp_path / f"losses-{name}.json")
    out = tmp_path / "ratio.json"
    arguments = [str(tmp_path / f"losses-{name}.json") for name in ("fbi", "twin")]
    result = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == json.loads(out.read_text())
    found = json.loads(out.read_text())
    assert found["models"] == ["fbi", "twin"]
    assert found["window"] == 10
    assert found["texts"]["wiki"]["windows"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a file of losses must be there"),
        ("{", "must be a file of window losses"),
        ("[]", "must be a file of window losses"),
        ('{"format": "x", "version": 1}', "must be of format signacc-window-losses 1, not x 1"),
        (
            '{"format": "signacc-window-losses", "version": 1, "model": "m", "window": 4, '
            '"texts": {"wiki": {"tokens": "", "losses": [1.0, NaN]}}}',
            "the losses of wiki must be finite",
        ),
    ],
)
def test_what_is_no_file_of_losses_is_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(main, [str(path), str(path)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "InputError(" not in result.output, "a message within a message"
    assert "Traceback" not in result.output
