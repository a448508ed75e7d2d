import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from golden.errors import InputError
from golden.generate import generate
from model import measure as measure_module
from model.compact import restore_compact, save_compact
from model.data import save_shard
from model.loss_files import WindowLosses, ratios
from model.measure import Text, main, read_rows, read_texts, score_rows, uncached

from .tiny import SETTINGS, SIZE, VOCABULARY, rows, run, teacher, write_gguf


def test_text_is_cut_to_whole_windows_in_both_vocabularies():
    full, cut = VOCABULARY.build(), VOCABULARY.cut(SIZE).build()
    text = Text.read("then a then the end then", cut, full, 9, 4)
    assert len(text.student) == 8
    assert full.decode(text.teacher.tolist()) == cut.decode(text.student.tolist())
    assert text.bytes == len(cut.decode(text.student.tolist()))


def test_rows_are_scored_per_student_token():
    def uniform(tokens):
        return torch.zeros(*tokens.shape, SIZE)

    model = teacher()
    torch.nn.init.zeros_(model.embedding)  # the teacher is uniform over its 19 tokens
    data = rows(5)
    result = score_rows({"fbi": uniform}, model, VOCABULARY, data, SIZE, 40, "cpu")
    assert result["fbi"]["perplexity"] == pytest.approx(SIZE)
    pieces = {16: 2, 17: 2, 18: 3}
    spelled = sum(pieces.get(t, 1) for row in data[:, 1:].tolist() for t in row)
    expected = math.exp(math.log(19) * data[:, 1:].size / spelled)
    assert result["teacher"]["perplexity_per_student_token"] == pytest.approx(expected, abs=1e-3)


def test_uncached_decoder_sees_all_tokens():
    lengths = []

    def logits(tokens):
        lengths.append(tokens.shape[1])
        return torch.nn.functional.one_hot((tokens + 1) % 8, 8).float()

    assert list(generate(uncached(logits, "cpu"), [1, 2], 3)) == [3, 4, 5]
    assert lengths == [2, 3, 4]


def test_missing_files_are_named(tmp_path):
    arguments = ["--teacher", "t", "--packed", str(tmp_path), "--slices", str(tmp_path)]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "o")])
    assert result.exit_code == 2
    assert "there is none in" in result.output


def test_two_calls_give_the_ratio_of_one(tmp_path, monkeypatch):
    """Both models in one call, and each alone: the same losses, and from them the same ratio."""
    monkeypatch.setattr(measure_module, "PROMPTS", ("then",))  # a context of 12 tokens
    write_gguf(tmp_path / "t.gguf")
    settings = replace(SETTINGS, steps=4, checkpoint_every=4)
    run(tmp_path / "fbi", settings)
    run(tmp_path / "twin", replace(settings, binary=False))
    (tmp_path / "slice.utf8").write_text("then a ten\nthe bad hen " * 200)
    save_shard(tmp_path / "held.npy", rows(5))
    models = {
        "fbi": ["--packed", str(tmp_path / "fbi/packed")],
        "twin": ["--twin", str(tmp_path / "twin")],
    }

    def measure(out, *options):
        result = CliRunner().invoke(main, [
            "--teacher", str(tmp_path / "t.gguf"), "--slices", str(tmp_path), "--held-out",
            str(tmp_path / "held.npy"), "--out", str(tmp_path / out), "--tokens", "600",
            "--new-tokens", "2", *options,
        ])  # fmt: skip
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / out / "eval.json").read_text())

    both = measure("both", *models["fbi"], *models["twin"])
    files = {}
    for name, options in models.items():
        alone = measure(name, *options)
        assert "fbi_over_twin" not in alone["slice"]
        assert alone["slice"][name] == both["slice"][name]
        assert alone["held_out_sampled"][name] == both["held_out_sampled"][name]
        files[name] = WindowLosses.read(tmp_path / name / f"losses-{name}.json")
        assert files[name] == WindowLosses.read(tmp_path / "both" / f"losses-{name}.json")
    found = ratios(files["fbi"], files["twin"])["slice"]
    assert found | both["slice"]["fbi_over_twin"] == found
    assert both["slice"]["fbi_over_twin"]["windows"] == 50
    assert "twin_weights" not in both
    save_compact(tmp_path / "twin", tmp_path / "carried")  # to a machine that has nothing else
    restore_compact(tmp_path / "carried", tmp_path / "back")
    back = measure("elsewhere", "--twin", str(tmp_path / "back"))
    assert back["twin_weights"]["step"] == 4
    assert back["twin_weights"]["decoder linears' weights"].startswith("bfloat16")
    here, there = (v["slice"]["twin"]["perplexity"] for v in (both, back))
    assert here == pytest.approx(there, rel=2e-3)
    assert here != there
    none = CliRunner().invoke(main, ["--teacher", str(tmp_path / "t.gguf"), "--slices",
                                     str(tmp_path), "--out", str(tmp_path / "o")])  # fmt: skip
    assert none.exit_code == 2
    assert "a model is needed: --packed, --twin or both" in " ".join(none.output.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", r"a\.utf8 must be UTF-8 text: "),
        (b"", r"a\.utf8 must have a window of 4 tokens of the student; .* hold 0"),
        (b"the", r"a\.utf8 must have a window of 4 tokens of the student; .* hold 0"),
        (b"then a then", r"a\.utf8 must have a window of 384 tokens of the teacher; .* hold "),
    ],
)
def test_a_text_that_cannot_be_measured(tmp_path, content, message):
    (tmp_path / "a.utf8").write_bytes(content)
    full, cut = VOCABULARY.build(), VOCABULARY.cut(SIZE).build()
    with pytest.raises(InputError, match=message):
        read_texts(tmp_path, cut, full, 64, 4)
    with pytest.raises(InputError, match="tokens must be at least a window of 4, not -5"):
        read_texts(tmp_path, cut, full, -5, 4)


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ((3, 1), 1, "must hold rows of 2 to 64 tokens, not 1"),
        ((3, 65), 1, "must hold rows of 2 to 64 tokens, not 65"),
        ((3, 8), 19, "must hold ids below 19, not 19"),
    ],
)
def test_rows_that_the_teacher_cannot_read(tmp_path, shape, value, message):
    save_shard(tmp_path / "h.npy", np.full(shape, value, np.uint16))
    with pytest.raises(InputError, match=message):
        read_rows(tmp_path / "h.npy", 19, 64)
    save_shard(tmp_path / "h.npy", np.full((600, 2), 18, np.uint16))
    assert read_rows(tmp_path / "h.npy", 19, 64).shape == (512, 2)
