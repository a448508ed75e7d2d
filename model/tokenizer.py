"""The teacher's byte-level BPE tokenizer, rebuilt from its GGUF file, and its cut.

The cut keeps the first `size` ids: special tokens, bytes, and the first merges. BPE applies merges
in order, so the cut tokenization of a text is the full tokenization with each token split into the
pieces from which it was merged. `pieces` gives that split for every teacher token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from golden.errors import InputError

from .gguf_reader import reading
from .teacher import gguf_reader

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, merges in order, and which tokens are special (never produced by merging)."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    special: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.tokens)) != len(self.tokens):
            raise InputError("a vocabulary must not hold a token twice")

    def cut(self, size: int) -> Vocabulary:
        """Return the vocabulary of the first `size` ids; ids keep their meaning.

        Raises
        ------
        InputError
            If `size` would drop a special token or a byte, or exceeds the vocabulary.
        """
        base = len(self.tokens) - len(self.merges)
        if not base <= size <= len(self.tokens):
            raise InputError(f"a cut must keep {base} to {len(self.tokens)} tokens, not {size}")
        kept = set(self.tokens[:size])
        merges = self.merges[: size - base]
        if any(left + right not in kept for left, right in merges):
            raise InputError("a vocabulary can be cut only if ids follow the order of its merges")
        return Vocabulary(self.tokens[:size], merges, self.special)

    def build(self) -> Tokenizer:
        """Return the tokenizer: digits one by one, GPT-2 byte-level pre-tokenizer, BPE."""
        tokenizer = Tokenizer(
            models.BPE({token: i for i, token in enumerate(self.tokens)}, list(self.merges))
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(
            [AddedToken(token, special=True, normalized=False) for token in self.special]
        )
        return tokenizer


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the vocabulary of a GGUF file; raises InputError if there is no byte-level BPE in it."""
    fields = gguf_reader(path).fields
    with reading(path):
        kind = fields["tokenizer.ggml.model"].contents()
        if kind != "gpt2":
            raise InputError(
                f"the teacher's tokenizer must be byte-level BPE ('gpt2'), not {kind!r}"
            )
        tokens = fields["tokenizer.ggml.tokens"].contents()
        types = fields["tokenizer.ggml.token_type"].contents()
        merges = [tuple(m.split(" ", 1)) for m in fields["tokenizer.ggml.merges"].contents()]
        control = 3
        special = [t for t, kind in zip(tokens, types, strict=True) if kind == control]
    return Vocabulary(tuple(tokens), tuple(merges), tuple(special))


def pieces(full: Vocabulary, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Split every token of `full` into ids below `size`.

    Returns
    -------
    table : uint16 ``[vocab, longest]``, unused places 0
    count : int64 ``[vocab]``, how many pieces each token has

    Raises
    ------
    InputError
        If `full` cannot be cut to `size` (`Vocabulary.cut`).
    """
    full.cut(size)
    ids = {token: i for i, token in enumerate(full.tokens)}
    split: list[Sequence[int]] = [(i,) for i in range(len(full.tokens))]
    base = len(full.tokens) - len(full.merges)
    for left, right in full.merges[size - base :]:
        a, b = ids[left], ids[right]
        split[ids[left + right]] = (*split[a], *split[b])
    count = np.array([len(s) for s in split], dtype=np.int64)
    table = np.zeros((len(split), count.max()), dtype=np.uint16)
    for row, parts in zip(table, split, strict=True):
        row[: len(parts)] = parts
    if table.max() >= size:
        raise InputError(f"a token has no split into the first {size} ids")
    return table, count


def cut_files(full: Vocabulary, size: int) -> dict[str, str]:
    """Return the text of ``tokenizer.json`` and ``vocabulary_map.json`` of the cut, by name."""
    cut = full.cut(size)
    data = {
        "rule": "student id i is teacher id i",
        "student_vocab_size": size,
        "teacher_vocab_size": len(full.tokens),
        "end_of_text": cut.tokens.index(END_OF_TEXT),
    }
    return {
        "tokenizer.json": cut.build().to_str(),
        "vocabulary_map.json": json.dumps(data, indent=1) + "\n",
    }
