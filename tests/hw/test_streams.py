"""The order of weights in the stream, and payloads as integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ConfigError, EngineConfig
from hw.streams import (
    activation_chunks,
    coefficient_chunks,
    payload_integers,
    signs_from_beats,
    weight_beats,
)

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def engine(k_par=2, n_par=2, act_par=1, k_max=64, n_max=64) -> EngineConfig:
    return EngineConfig(
        name="test", k_par=k_par, n_par=n_par, act_par=act_par, k_max=k_max, n_max=n_max
    )


def test_the_order_of_beats_by_hand():
    # N = 3 outputs, K = 5 inputs, on 2 x 2 lanes: 2 tiles of 3 words; bit r*2 + c of a beat.
    rows = [
        [1, 0, 1, 1, 0],
        [0, 1, 1, 0, 1],
        [1, 1, 0, 1, 1],
    ]
    signs = np.packbits(np.array(rows), axis=1, bitorder="little")
    beats = [
        #  row 1   row 0   (bit 3 ... bit 0)
        0b10_01,  # tile 0, inputs 0 and 1: row 0 = 1, 0; row 1 = 0, 1
        0b01_11,  # tile 0, inputs 2 and 3
        0b01_00,  # tile 0, input 4, one padding input
        0b00_11,  # tile 1: row 2, one padding row
        0b00_10,
        0b00_01,
    ]
    found = weight_beats(engine(), signs, 5)
    assert found.dtype == np.uint8
    assert found[:, 0].tolist() == beats
    assert payload_integers(found) == beats
    assert signs_from_beats(engine(), found, 3, 5).tolist() == signs.tolist()


shapes = st.tuples(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 64), st.integers(1, 64),
    st.integers(0, 2**32 - 1),
)  # fmt: skip


@given(shapes)
@REPEATABLE
def test_round_trip_and_every_bit_in_its_place(shape):
    k_par, n_par, k, n, seed = shape
    config = engine(k_par, n_par)
    rows = np.random.default_rng(seed).integers(0, 2, (n, k), dtype=np.uint8)
    signs = np.packbits(rows, axis=1, bitorder="little")
    beats = weight_beats(config, signs, k)
    assert beats.shape == (config.beats(k, n), -(-k_par * n_par // 8))
    assert signs_from_beats(config, beats, n, k).tolist() == signs.tolist()
    # Plain Python says what each bit of each beat is.
    values = payload_integers(beats)
    words = -(-k // k_par)
    for index, value in enumerate(values):
        tile, word = divmod(index, words)
        assert value >> (k_par * n_par) == 0
        for r in range(n_par):
            for c in range(k_par):
                i, j = tile * n_par + r, word * k_par + c
                want = int(rows[i, j]) if i < n and j < k else 0
                assert value >> (r * k_par + c) & 1 == want


@given(shapes, st.integers(0, 255))
@REPEATABLE
def test_padding_bits_of_the_bytes_are_ignored(shape, noise):
    k_par, n_par, k, n, seed = shape
    rows = np.random.default_rng(seed).integers(0, 2, (n, k), dtype=np.uint8)
    signs = np.packbits(rows, axis=1, bitorder="little")
    noisy = signs.copy()
    if k % 8:
        noisy[:, -1] |= np.uint8(noise << (k % 8) & 255)
    config = engine(k_par, n_par)
    assert np.array_equal(weight_beats(config, noisy, k), weight_beats(config, signs, k))


@given(
    patterns=st.lists(st.tuples(*[st.integers(0, 0xFFFF)] * 3), min_size=1, max_size=20),
    act_par=st.sampled_from([1, 2, 4, 8]),
)
@REPEATABLE
def test_activations_and_coefficients(patterns, act_par):
    config = engine(k_par=8, act_par=act_par)
    x, scale, shift = (np.array(v, np.uint16) for v in zip(*patterns, strict=True))
    chunks = activation_chunks(config, x.view(np.float16))
    pairs = coefficient_chunks(config, scale.view(np.float16), shift.view(np.float16))
    assert len(chunks) == len(pairs) == -(-len(patterns) // act_par)
    padded = [*patterns, *[(0, 0, 0)] * (-len(patterns) % act_par)]
    for i, (a, b, c) in enumerate(padded):
        chunk, lane = divmod(i, act_par)
        assert chunks[chunk] >> (16 * lane) & 0xFFFF == a
        assert pairs[chunk] >> (32 * lane) & 0xFFFF == b
        assert pairs[chunk] >> (32 * lane + 16) & 0xFFFF == c
    assert max(chunks) < 1 << 16 * act_par
    assert max(pairs) < 1 << 32 * act_par


def test_chunks_by_hand():
    config = engine(k_par=2, act_par=2)
    x = np.array([1, -2, 0.5], np.float16)
    assert activation_chunks(config, x) == [0xC000_3C00, 0x0000_3800]
    scale, shift = np.array([1, 1, 1], np.float16), np.array([0, -0.0, 2], np.float16)
    assert coefficient_chunks(config, scale, shift) == [0x8000_3C00_0000_3C00, 0x4000_3C00]


def test_rows_of_bytes_as_integers():
    rows = np.array([[1, 2, 3], [255, 0, 128]], np.uint8)
    assert payload_integers(rows) == [0x030201, 0x8000FF]
    assert payload_integers(rows[:, ::-1]) == [0x010203, 0xFF0080]
    assert payload_integers(rows[:0]) == []


# ---- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signs", "k", "message"),
    [
        (np.zeros((2, 1), np.int8), 8, "signs for 8 inputs must be uint8 [N, 1], not int8 (2, 1)"),
        (
            np.zeros((2, 1), np.uint8),
            9,
            "signs for 9 inputs must be uint8 [N, 2], not uint8 (2, 1)",
        ),
        (np.zeros(2, np.uint8), 8, "signs for 8 inputs must be uint8 [N, 1], not uint8 (2,)"),
        (np.zeros((2, 9), np.uint8), 65, "K must be from 1 to 64 on preset test, not 65"),
        (np.zeros((65, 1), np.uint8), 8, "N must be from 1 to 64 on preset test, not 65"),
        (np.zeros((0, 1), np.uint8), 8, "N must be from 1 to 64 on preset test, not 0"),
        (np.zeros((1, 0), np.uint8), 0, "K must be from 1 to 64 on preset test, not 0"),
    ],
)
def test_signs_that_break_a_rule(signs, k, message):
    with pytest.raises(ConfigError) as error:
        weight_beats(engine(), signs, k)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("beats", "message"),
    [
        (np.zeros((6, 1), np.int8), "beats must be uint8 (6, 1), not int8 (6, 1)"),
        (np.zeros((5, 1), np.uint8), "beats must be uint8 (6, 1), not uint8 (5, 1)"),
        (np.zeros((6, 2), np.uint8), "beats must be uint8 (6, 1), not uint8 (6, 2)"),
    ],
)
def test_beats_that_break_a_rule(beats, message):
    with pytest.raises(ConfigError) as error:
        signs_from_beats(engine(), beats, 3, 5)
    assert str(error.value) == message


def test_a_layer_that_the_beats_cannot_be():
    with pytest.raises(ConfigError, match=r"^K must be from 1 to 64 on preset test, not 65$"):
        signs_from_beats(engine(), np.zeros((1, 1), np.uint8), 1, 65)
