"""The weight code of hw.streams in plain Python: what a row must make of its bits."""

from __future__ import annotations

import random


def weights_of(config, code: int) -> list[int]:
    """Return the k_par weights, -1, 0 or +1, for which one output's bits of a beat stand.

    Bit 0 of a group's code says its sign (group 0) or whether it differs from the sign of the group
    that it is joined to, ``g & (g - 1)``; above stands the index among ``config.entries``. With
    structure triple a bit is a weight, 1 = -1.
    """
    if config.structure == "triple":
        return [-1 if code >> j & 1 else 1 for j in range(config.k_par)]
    signs, weights = [], []
    for g in range(config.groups):
        here = code >> (g * config.code_bits) & ((1 << config.code_bits) - 1)
        if g == 0:
            signs.append(1 if here & 1 else -1)
        else:
            parent = signs[g & (g - 1)]
            signs.append(-parent if here & 1 else parent)
        weights += [signs[-1] * c for c in config.entries[here >> 1]]
    return weights


def random_code(config, source: random.Random) -> int:
    """Return the bits of one output of a beat, each group's index a legal one."""
    code = 0
    for g in range(config.groups):
        here = source.getrandbits(1) | source.randrange(len(config.entries)) << 1
        code |= here << (g * config.code_bits)
    return code


def row_codes(config, beat: int) -> list[int]:
    """Return the bits of every output of a beat."""
    width = config.groups * config.code_bits
    return [beat >> (r * width) & ((1 << width) - 1) for r in range(config.n_par)]


def dot(word: list[int], weights: list[int]) -> int:
    """Return the sum of a word of activations under `weights`."""
    return sum(w * v for w, v in zip(weights, word, strict=True))
