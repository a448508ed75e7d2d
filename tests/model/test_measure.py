import math

import pytest
import torch
from click.testing import CliRunner

from golden.generate import generate
from model.measure import Text, main, score_rows, uncached

from .tiny import SIZE, VOCABULARY, rows, teacher


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
