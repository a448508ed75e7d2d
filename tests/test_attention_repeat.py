"""What each kernel of attention says of itself, on a CPU: what it cannot do is in the record."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def call(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("attention_repeat")

    def run(*options):
        return module, CliRunner().invoke(module.main, [*options, "--out", "a.json"])

    return run


def test_kernels_are_compared_and_nothing_stays_switched_on(call, tmp_path):
    _, result = call("--model", "fbi-135m", "--micro", "1", "--context", "16", "--repeats", "1")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "a.json").read_text())["results"]
    rows = {(row["kernel"], row["asked"]): row for row in found["kernels"]}
    assert len(rows) == len(found["kernels"]) == 11
    for kernel in ("any", "flash", "math"):
        for asked in ("nothing", "an error"):
            assert rows[kernel, asked]["repeats"] == {"q": True, "k": True, "v": True}
            assert rows[kernel, asked]["backward_ms"] > 0
    assert "error" in rows["cuDNN", "nothing"], "there is none on a CPU"
    assert not torch.are_deterministic_algorithms_enabled()


def test_gradients_that_change_are_told_from_those_that_do_not(call, monkeypatch):
    module, _ = call("--help")
    made = []

    def grad(y, operands, upstream, **options):
        made.append(len(made))
        return [torch.zeros(2), torch.zeros(2) + made[-1], torch.zeros(2)]

    monkeypatch.setattr(module.torch.autograd, "grad", grad)
    operands = [torch.randn(1, 2, 4, 8, requires_grad=True) for _ in range(3)]
    timer = module.Timer(torch.device("cpu"), 1)
    row = module.measure("math", "nothing", operands, operands[0], timer, 3)
    assert row["repeats"] == {"q": True, "k": False, "v": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--times", "1"), "Invalid value for '--times'"),
        (("--model", "fbi-2m"), "fbi-2m"),
        (("--micro", "0"), "Invalid value for '--micro'"),
    ],
)
def test_bad_input_is_one_sentence(call, tmp_path, options, message):
    _, result = call(*options)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert list(tmp_path.iterdir()) == []
