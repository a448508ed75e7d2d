import json
from pathlib import Path

import numpy as np
import pytest

from golden.errors import InputError
from model.tokenizer import Vocabulary, cut_files, pieces, read_vocabulary

from .tiny import MERGES, SIZE, VOCABULARY


def test_pieces_split_tokens_into_what_they_were_merged_from():
    table, count = pieces(VOCABULARY, SIZE)
    names = VOCABULARY.tokens
    spelled = {names[i]: [names[p] for p in table[i, : count[i]]] for i in range(SIZE, len(names))}
    assert spelled == {"thean": ["the", "an"], "then": ["the", "n"], "anthen": ["an", "the", "n"]}
    assert count[:SIZE].tolist() == [1] * SIZE
    assert table[:SIZE, 0].tolist() == list(range(SIZE))


@pytest.mark.parametrize("size", [-1, 0, 5, 11, 20])
def test_pieces_refuse_the_sizes_that_cut_refuses(size):
    with pytest.raises(InputError, match=f"a cut must keep 13 to 19 tokens, not {size}"):
        pieces(VOCABULARY, size)


def test_cut_keeps_ids():
    cut = VOCABULARY.cut(SIZE)
    assert cut.tokens == VOCABULARY.tokens[:SIZE]
    assert cut.merges == MERGES[:3]


@pytest.mark.parametrize("size", [12, 20])
def test_cut_refuses_a_size(size):
    with pytest.raises(InputError, match=f"a cut must keep 13 to 19 tokens, not {size}"):
        VOCABULARY.cut(size)


def test_cut_refuses_ids_out_of_merge_order():
    tokens = (*VOCABULARY.tokens[:13], "the", "th", *VOCABULARY.tokens[15:])
    with pytest.raises(InputError, match="only if ids follow the order of its merges"):
        Vocabulary(tokens, MERGES, VOCABULARY.special).cut(14)


def test_a_token_twice_is_refused():
    with pytest.raises(InputError, match="must not hold a token twice"):
        Vocabulary(("a", "a"), (), ())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"must be a GGUF file; there is none at .*none\.gguf"):
        read_vocabulary(tmp_path / "none.gguf")


TEXT = "The quick brown fox, born in 1987, can't jump over the hydroelectric généralités.\n\n  Ok?"


def test_teacher_tokenizer_and_its_cut_spell_the_same_text(gguf):
    full = read_vocabulary(gguf)
    assert len(full.tokens) == 49152
    tokenizer, cut = full.build(), full.cut(4096).build()
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == TEXT
    small = cut.encode(TEXT, add_special_tokens=False).ids
    assert cut.decode(small) == TEXT
    assert max(small) < 4096
    table, count = pieces(full, 4096)
    assert np.concatenate([table[i, : count[i]] for i in ids]).tolist() == small
    assert tokenizer.encode("<|endoftext|>").ids == cut.encode("<|endoftext|>").ids == [0]


def test_cut_files_are_what_ships(gguf):
    shipped = Path(__file__).parents[2] / "signacc" / "assets" / "fbi-43m"
    files = cut_files(read_vocabulary(gguf), 4096)
    for name, key in (("tokenizer.json", "model"), ("vocabulary_map.json", "end_of_text")):
        text = (shipped / name).read_text(encoding="utf-8")
        assert json.loads(files[name])[key] == json.loads(text)[key]
