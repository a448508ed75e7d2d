"""Sampling, with a model that is a table; and tokenizers of a folder."""

import json
from dataclasses import replace

import pytest
import torch

from golden.config import ModelConfig
from golden.errors import InputError
from golden.generate import generate, load_tokenizer, prompt_tokens, stream_text
from golden.model import GoldenModel, KVCache

from ..packed_folder import write_packed_folder


class Table:
    """Logits that depend on the last token only; records how it is called."""

    def __init__(self, rows):
        self.rows = torch.tensor(rows, dtype=torch.float32)
        self.calls = []
        self.caches = []

    def __call__(self, tokens, cache):
        assert isinstance(cache, KVCache)
        self.calls.append(tokens.tolist())
        self.caches.append(cache)
        return self.rows[tokens]


CYCLE = [[0.0, 2.0, 1.0], [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]  # 0 -> 1 -> 2 -> 0


def test_greedy_takes_the_likeliest_and_feeds_it_back():
    model = Table(CYCLE)
    assert list(generate(model, [2, 0], 5)) == [1, 2, 0, 1, 2]
    # The prompt once, then one token at a time into the same cache.
    assert model.calls == [[[2, 0]], [[1]], [[2]], [[0]], [[1]]]
    assert all(cache is model.caches[0] for cache in model.caches)


def test_greedy_takes_the_first_of_equals():
    assert list(generate(Table([[1.0, 1.0]] * 2), [1], 3)) == [0, 0, 0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_end_the_text_by_name(temperature, bad):
    tokens = generate(Table([[0.0, 9.0], [bad, 1.0]]), [0], 9, temperature=temperature)
    assert next(tokens) == 1
    with pytest.raises(InputError, match="a model's logits must be finite, not NaN or infinite"):
        next(tokens)


def test_the_least_temperature_takes_the_likeliest():
    assert list(generate(Table(CYCLE), [2, 0], 5, temperature=5e-324)) == [1, 2, 0, 1, 2]


def test_tokens_come_as_they_are_made():
    model = Table(CYCLE)
    tokens = generate(model, [0], 100)
    assert next(tokens) == 1
    assert len(model.calls) == 1


def test_stop_tokens_end_the_text_and_are_not_yielded():
    assert list(generate(Table(CYCLE), [0], 9, stop=frozenset({0}))) == [1, 2]
    assert list(generate(Table(CYCLE), [0], 9, stop=frozenset({1}))) == []


def draws(rows, seed=0, count=2000, **kwargs):
    return list(generate(Table(rows), [0], count, seed=seed, **kwargs))


def test_a_seed_repeats_and_another_differs():
    rows = [[0.0] * 8] * 8
    first = draws(rows, seed=1, count=30, temperature=1.0)
    assert first == draws(rows, seed=1, count=30, temperature=1.0)
    assert first != draws(rows, seed=2, count=30, temperature=1.0)


def test_draws_follow_the_probabilities():
    probabilities = [0.5, 0.3, 0.2]
    rows = [[float(torch.tensor(p).log()) for p in probabilities]] * 3
    found = draws(rows, temperature=1.0)
    for token, probability in enumerate(probabilities):
        sigma = (2000 * probability * (1 - probability)) ** 0.5
        assert abs(found.count(token) - 2000 * probability) < 4 * sigma
    # Temperature 0.5 squares them: 25, 9 and 4 of 38.
    found = draws(rows, temperature=0.5)
    for token, weight in enumerate([25, 9, 4]):
        sigma = (2000 * weight / 38) ** 0.5
        assert abs(found.count(token) - 2000 * weight / 38) < 4 * sigma


@pytest.mark.parametrize(
    ("top_p", "kept"),
    # Stop once the likeliest tokens before it hold top_p; the first always stays.
    [(1.0, {0, 1, 2}), (0.9, {0, 1, 2}), (0.79, {0, 1}), (0.51, {0, 1}), (0.49, {1}), (1e-9, {1})],
)
def test_top_p_cuts_the_tail(top_p, kept):
    rows = [[float(torch.tensor(p).log()) for p in (0.3, 0.5, 0.2)]] * 3
    assert set(draws(rows, count=300, temperature=1.0, top_p=top_p)) == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": []}, "a prompt must have at least one token, not none"),
        ({"count": 0}, "the count of tokens to write must be at least 1, not 0"),
        ({"temperature": -0.1}, "temperature must be from 0 to 100, not -0.1"),
        ({"temperature": 100.5}, "temperature must be from 0 to 100, not 100.5"),
        ({"temperature": float("nan")}, "temperature must be from 0 to 100, not nan"),
        ({"top_p": 0}, "top_p must be above 0 and at most 1, not 0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, not 1.1"),
        ({"top_p": float("nan")}, "top_p must be above 0 and at most 1, not nan"),
    ],
)
def test_a_rule_and_its_message(change, message):
    with pytest.raises(InputError) as error:
        list(generate(Table(CYCLE), **({"prompt": [0], "count": 1} | change)))
    assert str(error.value) == message


def test_a_golden_model_writes_the_same_as_without_a_cache(tmp_path):
    model = GoldenModel.from_folder(write_packed_folder(tmp_path))
    text = [3, 1, 4]
    written = list(generate(model, text, 6))
    for token in written:
        assert token == int(model(torch.tensor([text]))[0, -1].argmax())
        text.append(token)


# ---- tokenizers ---------------------------------------------------------------------------------


def test_a_tokenizer_is_read(tmp_path):
    tokenizer = load_tokenizer(write_packed_folder(tmp_path))
    assert tokenizer.encode("w3 w1 w28").ids == [3, 1, 28]


def test_no_tokenizer(tmp_path):
    with pytest.raises(InputError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        f"a model folder must hold tokenizer.json; there is none in {tmp_path}"
    )


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"model": {"type": "X"}}'])
def test_a_tokenizer_that_is_none(tmp_path, raw):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(raw)
    with pytest.raises(InputError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value).startswith(f"{path} must be a tokenizer of the tokenizers library: ")


def bpe(prefix, vocabulary, merges):
    """Return the text of a BPE tokenizer; as the library writes it, but with any prefix."""
    ids = {token: i for i, token in enumerate(vocabulary)}
    model = {"type": "BPE", "vocab": ids, "merges": merges, "continuing_subword_prefix": prefix}
    return json.dumps({"model": model, "added_tokens": []})


@pytest.mark.parametrize(
    ("prefix", "vocabulary", "merges", "message"),
    [
        # What the library does with them: panics; cuts without looking; ends the whole process.
        ("##", ["a", "b", "ab"], [["a", "b"]], "must begin with .* '##', not be 'b'"),
        ("##", ["a", "b", "ab"], ["a b"], "must begin with .* '##', not be 'b'"),
        ("##", ["a", "bcd", "ad"], [["a", "bcd"]], "must begin with .* '##', not be 'bcd'"),
        ("#", ["a", "éé", "aéé"], [["a", "éé"]], "must begin with .* '#', not be 'éé'"),
        ("é", ["a", "éb", "ab"], [["a", "éb"]], "must be ASCII, not 'é'"),
    ],
)
def test_merges_at_which_the_library_ends_are_refused(
    tmp_path, prefix, vocabulary, merges, message
):
    (tmp_path / "tokenizer.json").write_text(bpe(prefix, vocabulary, merges), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("prefix", "merges"), [("##", [["a", "##b"]]), ("##", []), ("", [["a", "b"]]), (None, [])]
)
def test_merges_that_fit_the_prefix_are_read(tmp_path, prefix, merges):
    vocabulary = ["a", "b", "ab", "##b"]
    (tmp_path / "tokenizer.json").write_text(bpe(prefix, vocabulary, merges), encoding="utf-8")
    assert load_tokenizer(tmp_path).encode("ab").ids == ([2] if merges else [0, 3 if prefix else 1])


def test_a_panic_of_the_library_is_a_refusal(tmp_path, monkeypatch):
    """It is no Exception: it would end the program with a traceback."""

    class PanicException(BaseException):
        pass

    class Library:
        @staticmethod
        def from_buffer(content):
            raise PanicException("out of range")

    monkeypatch.setattr("golden.generate.Tokenizer", Library)
    folder = write_packed_folder(tmp_path)
    with pytest.raises(InputError, match=r"must be a tokenizer .* library: out of range"):
        load_tokenizer(folder)


def test_a_text_that_the_tokenizer_cannot_spell(tmp_path):
    """A word list without a word for the unknown: the library raises a bare Exception."""
    config = ModelConfig.from_folder(write_packed_folder(tmp_path))
    path = tmp_path / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"] = {"w1": 1}
    path.write_text(json.dumps(data))
    tokenizer = load_tokenizer(tmp_path)
    assert prompt_tokens(tokenizer, config, "w1") == [1]
    with pytest.raises(InputError, match="tokenizer must spell every text; it cannot: WordLevel"):
        prompt_tokens(tokenizer, config, "w1 w2")


def test_a_tokenizer_of_another_vocabulary_than_the_model_s(tmp_path):
    folder = write_packed_folder(tmp_path)  # its tokenizer has 29 words
    config = ModelConfig.from_folder(folder)
    assert load_tokenizer(folder, config).get_vocab_size() == config.vocab_size == 29
    small = replace(config, vocab_size=28)
    with pytest.raises(InputError, match="model's vocabulary of 28 tokens; it has a token 28"):
        load_tokenizer(folder, small)


# ---- text as it comes ---------------------------------------------------------------------------


class Spelling:
    """A tokenizer of bytes: token i is byte i."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


def stream(text, prompt="go: ", stop=()):
    taken = []

    def tokens():
        for byte in text.encode():
            taken.append(byte)
            yield byte

    pieces = list(stream_text(Spelling(), list(prompt.encode()), tokens(), stop=stop))
    assert all(pieces)
    return pieces, len(taken)


def test_text_comes_token_by_token():
    assert stream("abc") == (["a", "b", "c"], 3)


def test_characters_stay_whole():
    assert stream("é→x") == (["é", "→", "x"], 6)
    pieces, _ = stream("a")
    assert pieces == ["a"]
    cut = list("é→".encode())[:-1]
    assert list(stream_text(Spelling(), [], iter(cut))) == ["é", "\ufffd"]


def test_a_stop_text_ends_it_and_nothing_is_taken_after_it():
    assert stream("one. two", stop=(".",)) == (["o", "n", "e"], 4)
    assert stream("one\n\ntwo", stop=("\n\n",)) == (["o", "n", "e"], 5)
    assert stream("a##b###c", stop=("###",)) == (["a", "##b"], 7)
    # Of two the one that begins first, though the other ends with the same token.
    assert stream("xabc", stop=("c", "abc")) == (["x"], 4)


def test_what_was_held_back_comes_at_the_end():
    assert stream("a##", stop=("###",)) == (["a", "##"], 3)


def test_a_stop_text_of_the_prompt_does_not_count():
    assert stream(" b", prompt="a.", stop=(".",)) == ([" ", "b"], 2)


def test_an_empty_stop_text():
    with pytest.raises(InputError, match="a text that ends the writing must not be empty"):
        stream("abc", stop=("x", ""))
