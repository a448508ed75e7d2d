import json
import math
import re
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
from model.kept import Kept
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


@pytest.fixture
def short(monkeypatch):
    """The prompts fit a context of 12 tokens."""
    monkeypatch.setattr(measure_module, "PROMPTS", ("then",))


def test_two_calls_give_the_ratio_of_one(tmp_path, short):
    """Both models in one call, and each alone: the same losses, and from them the same ratio."""
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


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return a folder with teacher, models, texts and rows."""
    folder = tmp_path_factory.mktemp("given")
    write_gguf(folder / "t.gguf")
    settings = replace(SETTINGS, steps=4, checkpoint_every=4)
    run(folder / "fbi", settings)
    run(folder / "twin", replace(settings, binary=False))
    run(folder / "other", replace(settings, binary=False, lr=2e-2))
    for name, text in (("one", "then a ten\nthe bad hen "), ("two", "a bad hen\nthen ten ")):
        (folder / "slices").mkdir(exist_ok=True)
        (folder / "slices" / f"{name}.utf8").write_text(text * 200)
    save_shard(folder / "held.npy", rows(5))
    save_shard(folder / "rows.npy", rows(5, seed=1))
    return folder


PARTS = ["samples.txt, fbi"] + [
    f"{where}, {who}"
    for where in ("one", "two", "held_out_sampled")
    for who in ("fbi", "twin", "teacher")
]


@pytest.fixture
def measure(given, short, monkeypatch):
    """Return a function that measures, up to so many parts; it gives the result and its parts."""

    def call(out, *, stop=None, **changes):
        options = {
            "teacher": given / "t.gguf", "packed": given / "fbi/packed", "twin": given / "twin",
            "slices": given / "slices", "held-out": given / "held.npy", "tokens": 600,
            "new-tokens": 2, "out": out,
        } | changes  # fmt: skip
        computed = []

        def counted(self, name, of, compute):
            def counting():
                if len(computed) == stop:
                    raise KeyboardInterrupt
                computed.append(name)
                return compute()

            return original(self, name, of, counting)

        original = Kept.part
        with monkeypatch.context() as patch:
            patch.setattr(Kept, "part", counted)
            words = [str(w) for name, value in options.items() for w in (f"--{name}", value)]
            return CliRunner().invoke(main, words), computed

    return call


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def unbroken(measure, tmp_path):
    result, computed = measure(tmp_path / "unbroken")
    assert result.exit_code == 0, result.output
    assert computed == PARTS
    found = contents(tmp_path / "unbroken")
    assert sorted(found) == ["eval.json", "losses-fbi.json", "losses-twin.json", "samples.txt"]
    return found


def test_what_is_stopped_anywhere_goes_on_and_ends_as_if_it_had_not(measure, unbroken, tmp_path):
    for done in range(len(PARTS)):
        out = tmp_path / str(done)
        stopped, computed = measure(out, stop=done)
        assert stopped.exit_code == 1
        assert computed == PARTS[:done]
        assert out.exists() == bool(done)
        assert not (out / "eval.json").exists()
        result, computed = measure(out)
        assert result.exit_code == 0, result.output
        assert computed == PARTS[done:]
        assert result.output.count(f"kept in {out / 'eval-parts.json'}") == done
        assert contents(out) == unbroken


@pytest.mark.parametrize(
    ("changes", "what", "anew"),
    [
        ({"twin": "other"}, "model", lambda part: part.endswith("twin")),
        ({"tokens": 540}, "tokens", lambda part: part.startswith(("one", "two"))),
        ({"new-tokens": 3}, "new_tokens", lambda part: part.startswith("samples")),
        ({"held-out": "rows.npy"}, "rows", lambda part: part.startswith("held")),
        ({"slices": "swapped"}, "tokens", lambda part: part.startswith(("one", "two"))),
        ({"slices": "moved"}, None, lambda part: False),
    ],
)
def test_parts_of_something_else_are_not_mixed_in(measure, given, tmp_path, changes, what, anew):
    """Neither do names of files tell them apart: their contents do."""
    for name, order in (("swapped", ("two", "one")), ("moved", ("one", "two"))):
        if not (given / name).exists():
            (given / name).mkdir()
            for path, text in zip(("one", "two"), order, strict=True):
                content = (given / "slices" / f"{text}.utf8").read_bytes()
                (given / name / f"{path}.utf8").write_bytes(content)
    changes = {k: given / v if isinstance(v, str) else v for k, v in changes.items()}
    assert measure(tmp_path / "a", stop=len(PARTS) - 1)[0].exit_code == 1
    result, computed = measure(tmp_path / "a", **changes)
    assert result.exit_code == 0, result.output
    assert computed == [part for part in PARTS[:-1] if anew(part)] + PARTS[-1:]
    said = [line for line in result.output.splitlines() if line.endswith("computed anew")]
    assert [line.partition(": in ")[0] for line in said] == computed[:-1]
    assert all(what in line for line in said)
    assert measure(tmp_path / "b", **changes)[0].exit_code == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    ("where", "what"), [("model.measure.code_hash", "code"), ("torch.__version__", "torch")]
)
def test_parts_of_other_programs_are_not_mixed_in(
    measure, unbroken, tmp_path, monkeypatch, where, what
):
    with monkeypatch.context() as patch:
        patch.setattr(where, (lambda: "another") if what == "code" else "2.99.0")
        measure(tmp_path / "o", stop=4)
    result, computed = measure(tmp_path / "o")
    assert result.exit_code == 0, result.output
    assert computed == PARTS
    assert result.output.count(f"is of other {what}; computed anew") == 4
    assert contents(tmp_path / "o") == unbroken


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-9], "must hold parts of a measurement (remove it to begin anew): "),
        (lambda text: "[]", "must hold parts of a measurement (remove it to begin anew): "),
        (lambda text: "{}", "must hold parts of a measurement (remove it to begin anew): "),
        (lambda text: re.sub(r'"sha256": "\w+"', '"a": "b"', text),
         "must be as it was written; it has changed or is damaged"),
        (lambda text: text.replace('"result": [', '"result": [1.5, ', 1),
         "must be as it was written; it has changed or is damaged"),
    ],
)  # fmt: skip
def test_parts_that_are_damaged_are_refused_before_anything_is_computed(
    measure, tmp_path, damage, message
):
    out, parts = tmp_path / "o", tmp_path / "o" / "eval-parts.json"
    measure(out, stop=3)
    damaged = damage(parts.read_text())
    assert damaged != parts.read_text()
    parts.write_text(damaged)
    before = contents(out)
    result, computed = measure(out)
    assert result.exit_code == 2
    assert f"Error: {parts} {message}" in result.output
    assert not computed
    assert contents(out) == before
