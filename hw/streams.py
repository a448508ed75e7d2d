"""What goes over the engine's streams: order and code of the weights, payloads as integers.

Weights stand in memory exactly in the order in which the array consumes them. A beat covers a word
of k_par inputs for a tile of n_par outputs; words are inside and tiles outside, or the other way
round with structure tables. In a beat, the code of output r and group g of the tile and word has
code_bits bits from ``(r*groups + g) * code_bits``:

- bit 0: for group 0 the sign of the group (1 = +1), for group g > 0 whether its sign differs from
  that of group ``g & (g - 1)``, the one it is joined to in the adder tree;
- above: the index of the group's signed sum among ``config.entries``.

With structure triple it is one bit per weight, 1 = -1; with structure direct and binary weights
one bit per weight as above. Needs only numpy.
"""

from __future__ import annotations

import numpy as np

from .config import ConfigError, EngineConfig


def weight_beats(
    config: EngineConfig,
    signs: np.ndarray,
    k: int,
    *,
    mask: np.ndarray | None = None,
    padding: int = 0,
) -> np.ndarray:
    """Return the weight stream of a layer as bytes ``[beats, ceil(weight_beat_bits/8)]`` (uint8).

    Parameters
    ----------
    signs
        uint8 ``[N, ceil(k/8)]``, least significant bit first, 1 = +1.
    k
        Inputs of the layer.
    mask
        Like `signs`: 0 = the weight is zero. Only for ternary engines; None = all ones.
    padding
        0 or 1: the sign of the weights that pad the layer to whole beats. The engine ignores it.

    Raises
    ------
    ConfigError
        If the layer does not fit the engine, or an array has another shape or type.
    """
    n = len(signs)
    config.check_shape(k, n)
    rows = _padded(config, _unpack(signs, k, "signs"), padding)
    values = rows.astype(np.int8) * 2 - 1
    if mask is not None:
        if not config.ternary:
            raise ConfigError(f"a mask of weights needs an engine with ternary, not {config.name}")
        if mask.shape != signs.shape:
            raise ConfigError(f"mask must have the shape of signs {signs.shape}, not {mask.shape}")
        values *= _padded(config, _unpack(mask, k, "mask"), 1).astype(np.int8)
    groups = values.reshape(len(rows), -1, config.groups, config.group)
    sign, index = _encode(config, groups)
    bits = np.empty((*sign.shape, config.code_bits), dtype=np.uint8)
    if config.structure == "triple":
        bits[..., 0] = 1 - sign
    else:
        # Relative to the group that each is joined to; the first one is absolute.
        parents = [g & (g - 1) for g in range(config.groups)]
        bits[..., 0] = sign ^ sign[..., parents]
        bits[..., 0, 0] = sign[..., 0]
    for i in range(config.index_bits):
        bits[..., 1 + i] = index >> i & 1
    words, tiles = _beats_of(config, k, n)
    bits = bits.reshape(tiles, config.n_par, words, config.groups * config.code_bits)
    order = (2, 0, 1, 3) if config.words_outer else (0, 2, 1, 3)
    beats = bits.transpose(order).reshape(tiles * words, config.weight_beat_bits)
    return np.packbits(beats, axis=1, bitorder="little")


def weights_from_beats(
    config: EngineConfig, beats: np.ndarray, n: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the packed (signs, mask) ``[n, ceil(k/8)]`` of a stream: undoes weight_beats.

    A weight of zero has sign bit 0.

    Raises
    ------
    ConfigError
        If the stream has another shape or type, or holds a code that stands for no weights.
    """
    config.check_shape(k, n)
    words, tiles = _beats_of(config, k, n)
    want = (tiles * words, -(-config.weight_beat_bits // 8))
    if beats.dtype != np.uint8 or beats.shape != want:
        raise ConfigError(f"beats must be uint8 {want}, not {beats.dtype} {beats.shape}")
    bits = np.unpackbits(beats, axis=1, count=config.weight_beat_bits, bitorder="little")
    outer = (words, tiles) if config.words_outer else (tiles, words)
    bits = bits.reshape(*outer, config.n_par, config.groups, config.code_bits)
    bits = bits.transpose((1, 2, 0, 3, 4) if config.words_outer else (0, 2, 1, 3, 4))
    bits = bits.reshape(tiles * config.n_par, words, config.groups, config.code_bits)
    sign = bits[..., 0].copy()
    if config.structure == "triple":
        sign = 1 - sign
    else:
        for g in range(1, config.groups):
            sign[..., g] ^= sign[..., g & (g - 1)]
    index = np.zeros(sign.shape, dtype=np.int64)
    for i in range(config.index_bits):
        index |= bits[..., 1 + i].astype(np.int64) << i
    if (index >= len(config.entries)).any():
        raise ConfigError(
            f"a group's code must be below {len(config.entries)}, not {int(index.max())}"
        )
    values = np.array(config.entries, dtype=np.int8)[index] * (
        sign[..., None].astype(np.int8) * 2 - 1
    )
    rows = values.reshape(tiles * config.n_par, -1)[:n, :k]
    return (
        np.packbits(rows > 0, axis=1, bitorder="little"),
        np.packbits(rows != 0, axis=1, bitorder="little"),
    )


def _beats_of(config: EngineConfig, k: int, n: int) -> tuple[int, int]:
    return -(-k // config.k_par), -(-n // config.n_par)


def _unpack(packed: np.ndarray, k: int, what: str) -> np.ndarray:
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-k // 8):
        raise ConfigError(
            f"{what} for {k} inputs must be uint8 [N, {-(-k // 8)}], "
            f"not {packed.dtype} {packed.shape}"
        )
    return np.unpackbits(packed, axis=1, count=k, bitorder="little")


def _padded(config: EngineConfig, bits: np.ndarray, padding: int) -> np.ndarray:
    n, k = bits.shape
    words, tiles = _beats_of(config, k, n)
    padded = np.full((tiles * config.n_par, words * config.k_par), padding, dtype=np.uint8)
    padded[:n, :k] = bits
    return padded


def _encode(config: EngineConfig, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sign (1 = +) and index among ``config.entries`` of weights ``[..., group]``."""
    places = 3 ** np.arange(config.group)
    signs = np.zeros(3**config.group, dtype=np.uint8)
    indices = np.zeros(3**config.group, dtype=np.int16)
    for i, entry in enumerate(config.entries):
        for sign in (0, 1):  # +1 last: all zeros counts as positive
            number = int(((np.array(entry) * (2 * sign - 1) + 1) * places).sum())
            signs[number], indices[number] = sign, i
    numbers = ((groups + 1) * places).sum(axis=-1)
    return signs[numbers], indices[numbers]


def activation_chunks(config: EngineConfig, x: np.ndarray, *, padding: int = 0) -> list[int]:
    """Return the activation payloads of a vector ``[K]``: float16, or bfloat16 patterns (uint16).

    Lanes past K hold the bit pattern `padding`, which the engine ignores.
    """
    return _payloads(x.view(np.uint16)[:, None], config.act_par, padding)


def coefficient_chunks(
    config: EngineConfig, scale_in: np.ndarray, shift_in: np.ndarray, *, padding: int = 0
) -> list[int]:
    """Return the coefficient payloads of float16 vectors ``[K]``; padding as for activations."""
    pairs = np.stack([scale_in.view(np.uint16), shift_in.view(np.uint16)], axis=1)
    return _payloads(pairs, config.act_par, padding)


def scale_chunks(
    config: EngineConfig, scale_out: np.ndarray, *, vectors: int = 1, padding: int = 0
) -> list[int]:
    """Return the payloads of the output-axis scales for a command of `vectors` token vectors.

    `scale_out` is float16 ``[N]`` or ``[N, groups]``. A tile's scales come group by group, and in
    a group once for every vector; lanes past N hold the bit pattern `padding`.
    """
    columns = scale_out.view(np.uint16).reshape(len(scale_out), -1)
    items = []
    for first in range(0, len(columns), config.n_par):
        tile = columns[first : first + config.n_par]
        for group in range(columns.shape[1]):
            items += _payloads(tile[:, group : group + 1], config.out_par, padding) * vectors
    return items


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
