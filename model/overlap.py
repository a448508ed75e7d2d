"""Keeps held-out text out of training: runs of n tokens that both contain."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from golden.errors import InputError

from .data import read_array

NGRAM = 13
"""Tokens in a row that count as the same text; 13 words is what arXiv 2005.14165, appendix C, took
to clean its training set, and 13 tokens are fewer, so more is dropped here."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing


def ngram_hashes(tokens: np.ndarray, n: int = NGRAM) -> np.ndarray:
    """Return a 64-bit hash of each run of `n` tokens along the last axis.

    Parameters
    ----------
    tokens : unsigned integers ``[..., length]``

    Returns
    -------
    uint64 ``[..., length - n + 1]``; of length 0 if there are fewer than `n` tokens
    """
    if n < 1:
        raise InputError(f"an n-gram must have at least 1 token, not {n}")
    length = tokens.shape[-1]
    if length < n:
        return np.zeros((*tokens.shape[:-1], 0), dtype=np.uint64)
    value = np.zeros((*tokens.shape[:-1], length - n + 1), dtype=np.uint64)
    for start in range(n):
        value *= _FACTOR
        value += tokens[..., start : length - n + 1 + start].astype(np.uint64) + np.uint64(1)
        value ^= value >> np.uint64(29)
    return value


class HeldOut:
    """The runs of `n` tokens of texts that training must not see.

    Attributes
    ----------
    hashes : uint64, sorted, each once
    """

    def __init__(self, hashes: np.ndarray, n: int = NGRAM) -> None:
        self.hashes, self.n = hashes, n

    @classmethod
    def of(cls, texts: Iterable[np.ndarray], n: int = NGRAM) -> HeldOut:
        """Build from token ids of texts, each a one-dimensional array."""
        parts = [ngram_hashes(np.asarray(text), n) for text in texts]
        return cls(np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.uint64), n)

    def save(self, path: Path) -> None:
        """Write the hashes to a ``.npy`` file."""
        np.save(path, self.hashes)

    @classmethod
    def load(cls, path: Path, n: int) -> HeldOut:
        """Read what `save` wrote; raises InputError if that cannot be."""
        try:
            hashes = read_array(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} must hold hashes of held-out text: {error}") from None
        if hashes.dtype != np.uint64 or hashes.ndim != 1:
            raise InputError(f"{path} must hold uint64 hashes, not {hashes.dtype} {hashes.shape}")
        return cls(hashes, n)

    def clean(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows ``[n, length]`` that share no run of tokens with held-out text."""
        if not len(self.hashes) or not len(rows):
            return rows
        keep = np.ones(len(rows), dtype=bool)
        for start in range(0, len(rows), 4096):
            part = ngram_hashes(rows[start : start + 4096], self.n)
            place = np.searchsorted(self.hashes, part).clip(max=len(self.hashes) - 1)
            keep[start : start + 4096] = ~(self.hashes[place] == part).any(1)
        return rows[keep]
