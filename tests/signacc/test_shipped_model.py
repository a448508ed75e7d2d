"""The shipped model through the whole chain: golden, RTL, simulator; and bad copies of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from golden.config import MODELS
from golden.folder import load_packed
from golden.generate import generate, load_tokenizer
from golden.model import GoldenModel
from hw.config import PRESETS
from signacc.cli import main
from signacc.cosim.command import _from_model
from signacc.cosim.job import Writing
from signacc.cosim.operands import golden_result
from signacc.models import SHIPPED, model_folder

FOLDER = model_folder()


def invoke(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def packed():
    return load_packed(FOLDER)


def test_shape_is_the_named_one(packed):
    assert packed.config == MODELS[SHIPPED]


def test_size():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 16_000_000


def test_it_is_trained(packed):
    """A random stand-in has no structure: scales of its inputs differ, and it predicts text."""
    tokenizer = load_tokenizer(FOLDER)
    model = GoldenModel(packed)
    text = (
        "The sun is a star at the center of the solar system. It is the most important source of "
        "energy for life on Earth, and people have looked at it for thousands of years."
    )
    ids = torch.tensor([tokenizer.encode(text).ids])
    logits = model(ids)[0, :-1].double()
    nll = torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item()
    assert nll < 0.5 * np.log(packed.config.vocab_size), nll


def test_tokenizer_gives_text_back():
    tokenizer = load_tokenizer(FOLDER)
    for text in ("The river Nile is 6,650 km long.", "naïve café — 東京", " spaces  and\nlines\t"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_text_is_reproducible(packed):
    tokenizer = load_tokenizer(FOLDER)
    prompt = tokenizer.encode("A telescope is").ids
    first = list(generate(GoldenModel(packed), prompt, 8, temperature=0.7, seed=3))
    assert first == list(generate(GoldenModel(packed), prompt, 8, temperature=0.7, seed=3))


@pytest.mark.rtl
def test_cosim_json():
    result = invoke(
        "cosim", "--prompt", "The sea", "--layers", "3", "--positions", "5", "--write", "3",
        "--stall", "0.05", "--json",
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    # 5 positions of q, k, v, o, down (512 outputs) and gate, up (1,408 outputs)
    assert report["values_compared"] == 5 * (5 * 512 + 2 * 1408)
    assert report["mismatches"] == 0
    assert report["rtl_cycles"] == report["simulated_cycles"]
    assert [layer["name"] for layer in report["layers"]] == [
        f"3.{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")
    ]
    energy = report["estimate"]["energy_per_token_j"]
    assert energy["low"] <= energy["nominal"] <= energy["high"]
    assert report["gpu"]["mark"] == "measured"
    assert report["estimate"]["context"] == 512
    whole = invoke("simulate", "--model", SHIPPED, "--preset", "kv260", "--json")
    assert report["estimate"]["tokens_per_second"] == json.loads(whole.stdout)["tokens_per_second"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--layers", "12"], "layers must be from 0 to 11"),
        (["--prompt", ""], "a prompt must have at least one token"),
        (["--prompt", "word " * 600], "context of 512 tokens"),
        (["--write", "600"], "context of 512 tokens"),
        (["--positions", "600"], "context of 512 tokens"),
        (["--prompt", "\udcff"], "a prompt must be valid Unicode text"),
        (["--layers", "9" * 5000], "layers must be 'all' or numbers"),
        (["--temperature", "-1"], "temperature must be from 0 to 100"),
        (["--top-p", "0"], "top_p must be above 0"),
        (["--preset", "tiny"], "K must be from 1 to 256 on engine tiny, not 512"),
    ],
)
def test_cosim_refuses(arguments, part):
    result = invoke("cosim", *arguments)
    assert result.exit_code == 2, result.output
    assert part in result.stderr


@pytest.mark.parametrize("kind", [{"scale_out": "row"}, {"scale_out": "groups", "ternary": True}])
def test_the_model_runs_on_engines_with_more_than_it_needs(kind):
    """Scales of 1 and no zero: golden says the same as for the engine that the model is for."""
    engine = replace(PRESETS["kv260"], name="own", structure="shared", group=2, **kind)
    writing = Writing(count=2, temperature=0.0, top_p=1.0, seed=0)
    _, jobs, outputs = _from_model(engine, None, "The sea was calm", "0", 2, writing)
    assert len(jobs) == 7
    for job, output in zip(jobs, outputs, strict=True):
        assert job.scale_out.tolist() == [1] * job.n
        np.testing.assert_array_equal(
            golden_result(engine, job).view(np.uint16), output.view(np.uint16)
        )


class TestBadFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        return shutil.copytree(FOLDER, tmp_path / "model")

    @pytest.mark.parametrize("command", ["cosim", "generate", "eval"])
    def test_truncated_weights(self, folder, command):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1_000_000])
        arguments = {"generate": ["--prompt", "x"], "eval": ["--text", str(folder / "config.json")]}
        result = invoke(command, "--model", str(folder), *arguments.get(command, []))
        assert result.exit_code == 2, result.output
        assert "complete safetensors file" in result.stderr

    def test_wrong_shape(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 256}))
        result = invoke("generate", "--model", str(folder), "--prompt", "x")
        assert result.exit_code == 2
        assert "must be F16 [4096, 256], not F16 [4096, 512]" in result.stderr

    def test_absurd_context(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps(config | {"max_position_embeddings": 10**12})
        )
        result = invoke("generate", "--model", str(folder), "--prompt", "x")
        assert result.exit_code == 2
        assert "max_position_embeddings must be at most" in result.stderr

    def test_names_are_printed_as_they_are(self, tmp_path):
        path = tmp_path / "[red]a[/b].txt"
        path.parent.mkdir()
        path.write_text("one two three four five six seven eight nine ten")
        result = invoke("eval", "--text", str(path), "--window", "8", "--arithmetic", "float")
        assert result.exit_code == 0, result.output
        assert "[red]a[/b].txt" in "".join(result.output.split())

    def test_corrupt_tokenizer(self, folder):
        (folder / "tokenizer.json").write_text("{")
        result = invoke("generate", "--model", str(folder), "--prompt", "x")
        assert result.exit_code == 2
        assert "must be a tokenizer" in result.stderr

    def test_text_that_is_no_text(self, folder, tmp_path):
        path = tmp_path / "x.bin"
        path.write_bytes(b"\xff\xfe\x00")
        result = invoke("eval", "--text", str(path))
        assert result.exit_code == 2
        assert "UTF-8" in result.stderr
