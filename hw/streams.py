"""What goes over the engine's streams: the order of weights, and payloads as integers.

Weights stand in memory exactly in the order in which the array consumes them: tiles of n_par
outputs outside, words of k_par inputs inside; in a beat, bit ``r*k_par + c`` is output r of the
tile and input c of the word. Needs only numpy.
"""

from __future__ import annotations

import numpy as np

from .config import ConfigError, EngineConfig


def weight_beats(
    config: EngineConfig, signs: np.ndarray, k: int, *, padding: int = 0
) -> np.ndarray:
    """Return the weight stream of a layer as bytes ``[beats, ceil(k_par*n_par/8)]`` (uint8).

    Parameters
    ----------
    signs
        uint8 ``[N, ceil(k/8)]``, least significant bit first, 1 = +1.
    k
        Inputs of the layer.
    padding
        0 or 1: the bits that pad the layer to whole beats. The engine ignores what they say.

    Raises
    ------
    ConfigError
        If the layer does not fit the engine or `signs` has another shape or type.
    """
    if signs.dtype != np.uint8 or signs.ndim != 2 or signs.shape[1] != -(-k // 8):
        raise ConfigError(
            f"signs for {k} inputs must be uint8 [N, {-(-k // 8)}], "
            f"not {signs.dtype} {signs.shape}"
        )
    n = len(signs)
    config.check_shape(k, n)
    words, tiles = -(-k // config.k_par), -(-n // config.n_par)
    bits = np.full((tiles * config.n_par, words * config.k_par), padding, dtype=np.uint8)
    bits[:n, :k] = np.unpackbits(signs, axis=1, count=k, bitorder="little")
    beats = bits.reshape(tiles, config.n_par, words, config.k_par).transpose(0, 2, 1, 3)
    return np.packbits(
        beats.reshape(tiles * words, config.weight_beat_bits), axis=1, bitorder="little"
    )


def signs_from_beats(config: EngineConfig, beats: np.ndarray, n: int, k: int) -> np.ndarray:
    """Return the packed signs ``[n, ceil(k/8)]`` of a weight stream: undoes weight_beats."""
    config.check_shape(k, n)
    words, tiles = -(-k // config.k_par), -(-n // config.n_par)
    want = (tiles * words, -(-config.weight_beat_bits // 8))
    if beats.dtype != np.uint8 or beats.shape != want:
        raise ConfigError(f"beats must be uint8 {want}, not {beats.dtype} {beats.shape}")
    bits = np.unpackbits(beats, axis=1, count=config.weight_beat_bits, bitorder="little")
    rows = bits.reshape(tiles, words, config.n_par, config.k_par).transpose(0, 2, 1, 3)
    rows = rows.reshape(tiles * config.n_par, words * config.k_par)[:n, :k]
    return np.packbits(rows, axis=1, bitorder="little")


def activation_chunks(config: EngineConfig, x: np.ndarray, *, padding: int = 0) -> list[int]:
    """Return the activation payloads of a float16 vector ``[K]``.

    Lanes past K hold the bit pattern `padding`, which the engine ignores.
    """
    return _payloads(x.view(np.uint16)[:, None], config.act_par, padding)


def coefficient_chunks(
    config: EngineConfig, scale_in: np.ndarray, shift_in: np.ndarray, *, padding: int = 0
) -> list[int]:
    """Return the coefficient payloads of float16 vectors ``[K]``; padding as for activations."""
    pairs = np.stack([scale_in.view(np.uint16), shift_in.view(np.uint16)], axis=1)
    return _payloads(pairs, config.act_par, padding)


def payload_integers(rows: np.ndarray) -> list[int]:
    """Return every row of bytes as one little-endian integer."""
    width = rows.shape[1]
    raw = np.ascontiguousarray(rows).tobytes()
    return [int.from_bytes(raw[i : i + width], "little") for i in range(0, len(raw), width)]


def _payloads(elements: np.ndarray, per_chunk: int, padding: int) -> list[int]:
    count = -(-len(elements) // per_chunk)
    padded = np.full((count * per_chunk, elements.shape[1]), padding, dtype="<u2")
    padded[: len(elements)] = elements
    return payload_integers(padded.reshape(count, -1).view(np.uint8))
