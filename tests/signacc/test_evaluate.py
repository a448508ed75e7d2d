"""Perplexity on files: what is counted, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import signacc.evaluate
from golden.errors import InputError
from signacc.evaluate import evaluate, read_tokens
from signacc.models import model_folder

FOLDER = model_folder()


def measure(path, **options):
    settings = {"arithmetic": "float", "window": 64, "windows": 1} | options
    return evaluate(FOLDER, path, **settings)


def test_bits_per_byte_is_of_what_was_predicted(tmp_path):
    """The same head with another tail that no window reaches gives the same figures."""
    head = "the of and " * 40
    plain, mixed = tmp_path / "plain.txt", tmp_path / "mixed.txt"
    plain.write_text(head + "a" * 400)
    mixed.write_text(head + "東京都渋谷区" * 200)
    first, second = measure(plain), measure(mixed)
    assert first.result == second.result
    assert first.bits_per_byte == second.bits_per_byte


def test_bits_per_byte_by_hand(tmp_path):
    """Tokens of one byte each: bits per byte are nats per token over ln 2."""
    path = tmp_path / "digits.txt"
    path.write_text("7310592684" * 20)  # digits are split one by one
    tokens = read_tokens(FOLDER, path)
    assert len(tokens.ids) == 200
    found = measure(path)
    assert found.bits_per_byte == pytest.approx(found.result.nll / math.log(2))
    assert tokens.predicted_bytes(64, 2) == 2 * 63


def test_golden_is_near_float(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The sun is a star, and the Earth is a planet that moves around it. " * 6)
    results = [measure(path, arithmetic=a).result.perplexity for a in ("float", "A16", "A8")]
    assert results[1] == pytest.approx(results[0], rel=1e-3)
    assert results[2] == pytest.approx(results[0], rel=2e-2)
    assert len(set(results)) == 3


def test_window_beyond_the_context(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("word " * 2000)
    with pytest.raises(InputError, match="context of 512 tokens, not 513"):
        measure(path, window=513)


def test_a_text_without_an_end(monkeypatch):
    """It was read until memory was full."""
    monkeypatch.setattr(signacc.evaluate, "MOST_TEXT", 1000)
    with pytest.raises(InputError) as error:
        read_tokens(FOLDER, Path("/dev/zero"))
    assert str(error.value) == "/dev/zero must have at most 1,000 characters; it has more"


def test_the_longest_text(tmp_path, monkeypatch):
    path = tmp_path / "text"
    path.write_text("é" * 1000, encoding="utf-8")
    monkeypatch.setattr(signacc.evaluate, "MOST_TEXT", 1000)
    assert len(read_tokens(FOLDER, path).content) == 1000
