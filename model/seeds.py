"""Beginnings from which the teacher writes training text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

SEED_WIDTH = 24
"""Most tokens of a beginning, the end-of-text token before it included."""

PADDING = 65535


def lemmas(folder: Path, name: str) -> list[str]:
    """Return WordNet's words of one part of speech, those with most tagged senses first."""
    words = []
    for line in (folder / f"index.{name}").read_text(encoding="latin-1").splitlines():
        parts = line.split()
        if not line.startswith(" ") and len(parts[0]) > 2 and parts[0].replace("_", "").isalpha():
            tagged = int(parts[5 + int(parts[3])])
            words.append((-tagged, parts[0].replace("_", " ")))
    return [word for _, word in sorted(words)]


NOUN_LEADS = (
    "The {}", "A {} is", "What is {}?", "The history of {}", "In the study of {},",
    "Once upon a time, there was a {}", "One day, a {}", "The word {} means",
    "Here are some facts about {}.", "Why is {} important?", "People use {}", "How does {} work?",
    "# {}\n\n", "There are many kinds of {}", "It was a cold morning, and the {}",
)  # fmt: skip
VERB_LEADS = (
    "How to {}", "When people {}", "She wanted to {}", "To {} is to", "It is easy to {}",
    "He said that he would {}", "Children learn to {}", "We should {} because",
)  # fmt: skip


def seed_texts(folder: Path, real: list[str], rng: np.random.Generator) -> list[str]:
    """Return beginnings for sampling: a word of WordNet in a phrase, or the start of a sentence."""
    texts = []
    for name, leads, repeat in (("noun", NOUN_LEADS, 2), ("verb", VERB_LEADS, 2)):
        words = lemmas(folder, name)[: 12000 if name == "noun" else 5000]
        for rank, word in enumerate(words):
            times = repeat * (4 if rank < 1500 else 1)
            for lead in rng.choice(len(leads), min(times, len(leads)), replace=False):
                text = leads[lead].format(word)
                texts.append(re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text))
    for text in real:
        sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text.split("\n\n", 1)[-1])
        for sentence in sentences[:1] + [s for s in sentences[1:] if rng.random() < 0.15]:
            if len(sentence) > 60:
                texts.append(sentence[:160])
    return texts


def seed_rows(texts: list[str], tokenizer: Tokenizer, end: int) -> np.ndarray:
    """Return uint16 ``[len(texts), SEED_WIDTH]``: `end`, then tokens, padded with `PADDING`."""
    rows = np.full((len(texts), SEED_WIDTH), PADDING, dtype=np.uint16)
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    for row, item in zip(rows, encoded, strict=True):
        ids = [end, *item.ids][:SEED_WIDTH]
        row[: len(ids)] = ids
    return rows
