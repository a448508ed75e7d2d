"""The code and the order of weights in the stream, and payloads as integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ConfigError, EngineConfig
from hw.streams import (
    activation_chunks,
    coefficient_chunks,
    payload_integers,
    scale_chunks,
    weight_beats,
    weights_from_beats,
)

from ..structures import structures
from ..weight_code import dot, row_codes, weights_of

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def engine(k_par=2, n_par=2, act_par=1, k_max=64, n_max=64, **more) -> EngineConfig:
    return EngineConfig(
        name="test", k_par=k_par, n_par=n_par, act_par=act_par, k_max=k_max, n_max=n_max, **more
    )


def packed(rows) -> np.ndarray:
    return np.packbits(np.array(rows, dtype=bool), axis=1, bitorder="little")


# ---- by hand ----------------------------------------------------------------------------------


def test_the_order_of_scales_by_hand():
    """N = 5 outputs in tiles of 4, two groups, two vectors, two scales a chunk; NaN fills up."""
    config = engine(n_par=4, out_par=2, m_par=2, scale_out="groups")
    scales = np.arange(1, 11, dtype=np.uint16).reshape(5, 2).view(np.float16)
    nan = 0x7FFF
    first, second = [(1, 3), (5, 7)], [(2, 4), (6, 8)]  # of the first tile, by group
    order = [*first, *first, *second, *second, *[(9, nan)] * 2, *[(10, nan)] * 2]
    chunks = scale_chunks(config, scales, vectors=2, padding=nan)
    assert chunks == [low | high << 16 for low, high in order]
    rows = scale_chunks(config, scales[:, 0].copy())
    assert rows == [low | high << 16 for low, high in [*first, (9, 0)]]


def test_the_order_of_beats_by_hand():
    """N = 3 outputs, K = 5 inputs, on 2 x 2 lanes: 2 tiles of 3 words.

    Bit 0 of a row is the sign of the first input, bit 1 whether that of the second differs.
    """
    rows = [
        [1, 0, 1, 1, 0],
        [0, 1, 1, 0, 1],
        [1, 1, 0, 1, 1],
    ]
    signs = packed(rows)
    beats = [
        #  row 1   row 0   (bit 3 ... bit 0)
        0b10_11,  # tile 0, inputs 0 and 1: row 0 = 1, 0; row 1 = 0, 1
        0b11_01,  # tile 0, inputs 2 and 3
        0b11_00,  # tile 0, input 4, one padding input
        0b00_01,  # tile 1: row 2, one padding row
        0b00_10,
        0b00_11,
    ]
    found = weight_beats(engine(), signs, 5)
    assert found.dtype == np.uint8
    assert found[:, 0].tolist() == beats
    assert payload_integers(found) == beats
    back, mask = weights_from_beats(engine(), found, 3, 5)
    assert back.tolist() == signs.tolist()
    assert mask.tolist() == packed(np.ones((3, 5))).tolist()
    # The same with padding of ones: only the padding's bits change.
    ones = [0b10_11, 0b11_01, 0b01_10, 0b01_01, 0b01_10, 0b01_01]
    assert weight_beats(engine(), signs, 5, padding=1)[:, 0].tolist() == ones


def test_a_row_of_eight_by_hand():
    """Input j is compared with input j & (j - 1): 0 0 2 0 4 4 6 for 1 to 7."""
    signs = packed([[1, 0, 0, 1, 0, 0, 1, 1]])
    #  7 = 6: 0   6 and 4 differ   5 = 4   4 and 0 differ   3 and 2   2 and 0   1 and 0   sign
    assert payload_integers(weight_beats(engine(8, 1), signs, 8)) == [0b0_1_0_1_1_1_1_1]


def test_tables_by_hand():
    """Words outside, tiles inside; two groups of two: sign and index of each, 4 bits a row."""
    config = engine(4, 2, structure="tables", group=2)
    rows = [
        # word 0       word 1 (and two padding inputs, -1)
        [1, 0, 0, 0,   1, 1],
        [0, 0, 1, 0,   0, 1],
        [1, 1, 1, 1,   0, 0],
    ]  # fmt: skip
    beats = [
        # Row 0: (+-) is + and index 1; (--) differs in sign, index 0.
        # Row 1: (--) is -, index 0; (+-) differs, index 1.
        0b1100_0111,
        # Row 2: (++), (++), the same sign. The padding row: (--), (--).
        0b0000_0001,
        # Row 0: (++), then padding (--), which differs.
        # Row 1: (-+) is -, index 1; the padding has the same sign.
        0b0010_0101,
        0b0000_0000,
    ]
    signs = packed(rows)
    found = weight_beats(config, signs, 6)
    assert payload_integers(found) == beats
    assert weights_from_beats(config, found, 3, 6)[0].tolist() == signs.tolist()


def test_triples_by_hand():
    """Every bit is a weight of its own, 1 = -1; padding too."""
    config = engine(structure="triple")
    signs = packed([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 0, 1, 1]])
    beats = [0b01_10, 0b10_00, 0b10_11, 0b11_00, 0b11_01, 0b11_10]
    found = weight_beats(config, signs, 5)
    assert payload_integers(found) == beats
    back, mask = weights_from_beats(config, found, 3, 5)
    assert back.tolist() == signs.tolist()
    assert mask.tolist() == packed(np.ones((3, 5))).tolist()
    ones = [0b01_10, 0b10_00, 0b00_01, 0b00_00, 0b00_01, 0b00_00]
    assert payload_integers(weight_beats(config, signs, 5, padding=1)) == ones


def test_ternary_by_hand():
    """A sign and whether the weight is there at all, for each of four inputs."""
    config = engine(4, 1, ternary=True)
    signs, mask = packed([[1, 0, 0, 0]]), packed([[1, 1, 1, 1]])
    # + - - -: there and +; differs from 0; differs from 0; the same as 2.
    assert payload_integers(weight_beats(config, signs, 4, mask=mask)) == [0b10_11_11_11]
    (value,) = payload_integers(weight_beats(config, signs, 4, mask=packed([[1, 0, 1, 0]])))
    assert [value >> (2 * g + 1) & 1 for g in range(4)] == [1, 0, 1, 0]
    assert weights_of(config, value) == [1, 0, -1, 0]


# ---- any engine -------------------------------------------------------------------------------


@st.composite
def problems(draw):
    """Return (config, k, values [n, k] of -1, 0, +1, noise of the bytes' padding bits)."""
    kind = draw(structures())
    config = engine(
        kind["group"] * draw(st.integers(1, 9)), draw(st.integers(1, 12)), k_max=100, **kind
    )
    k, n = draw(st.integers(1, 100)), draw(st.integers(1, 64))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.choice([-1, 0, 1] if config.ternary else [-1, 1], (n, k))
    return config, k, values, draw(st.integers(0, 255))


def bits_of(config, values, noise=0):
    """Return (signs, mask) of weights; the sign of a zero and the bytes' padding are noise."""
    k = values.shape[1]
    random = np.random.default_rng(noise)
    signs = packed(np.where(values, values > 0, random.integers(0, 2, values.shape)))
    mask = packed(values != 0)
    if k % 8:
        signs[:, -1] |= np.uint8(noise << (k % 8) & 255)
        mask[:, -1] |= np.uint8(noise * 3 << (k % 8) & 255)
    return signs, mask if config.ternary else None


@given(problems(), st.integers(0, 1))
@REPEATABLE
def test_every_weight_in_its_place(problem, padding):
    """Plain Python reads every code of every beat."""
    config, k, values, noise = problem
    n = len(values)
    signs, mask = bits_of(config, values, noise)
    beats = weight_beats(config, signs, k, mask=mask, padding=padding)
    assert beats.shape == (config.beats(k, n), -(-config.weight_beat_bits // 8))
    words, tiles = -(-k // config.k_par), -(-n // config.n_par)
    for index, value in enumerate(payload_integers(beats)):
        if config.structure == "tables":
            word, tile = divmod(index, tiles)
        else:
            tile, word = divmod(index, words)
        assert value >> config.weight_beat_bits == 0
        for r, code in enumerate(row_codes(config, value)):
            found = weights_of(config, code)
            for c, weight in enumerate(found):
                i, j = tile * config.n_par + r, word * config.k_par + c
                want = values[i, j] if i < n and j < k else 2 * padding - 1
                assert weight == want


@given(problems())
@REPEATABLE
def test_round_trip(problem):
    config, k, values, noise = problem
    signs, mask = bits_of(config, values, noise)
    beats = weight_beats(config, signs, k, mask=mask)
    back = weights_from_beats(config, beats, len(values), k)
    assert back[0].tolist() == packed(values > 0).tolist()
    assert back[1].tolist() == packed(values != 0).tolist()
    if config.ternary:  # no mask is a mask of ones
        ones = np.full_like(signs, 255)
        without = weight_beats(config, signs, k)
        assert np.array_equal(without, weight_beats(config, signs, k, mask=ones))


def add_up(config, code: int, word: list[int]) -> int:
    """Return what the adder tree makes of a code: neighbours, level by level, root's sign last.

    With structure triple: flipped bits, and a carry for each.
    """
    if config.structure == "triple":
        flips = [code >> j & 1 for j in range(config.k_par)]
        return sum(v ^ -n for v, n in zip(word, flips, strict=True)) + sum(flips)
    items = []
    for g in range(config.groups):
        here = code >> (g * config.code_bits) & ((1 << config.code_bits) - 1)
        inputs = word[g * config.group : (g + 1) * config.group]
        items.append((dot(inputs, config.entries[here >> 1]), here & 1))
    while len(items) > 1:
        pairs = [
            (a - b if flip_b else a + b, flip_a)
            for (a, flip_a), (b, flip_b) in zip(items[::2], items[1::2], strict=False)
        ]
        items = pairs + ([items[-1]] if len(items) % 2 else [])
    ((value, positive),) = items
    return value if positive else -value


@given(problems(), st.integers(0, 2**32 - 1))
@REPEATABLE
def test_the_adder_tree_gives_the_signed_sum(problem, seed):
    config, _, values, noise = problem
    values = values[:, : config.k_par]
    if values.shape[1] < config.k_par or len(values) < config.n_par:
        values = np.resize(values, (config.n_par, config.k_par))
    values = values[: config.n_par]
    signs, mask = bits_of(config, values, noise)
    random = np.random.default_rng(seed)
    word = random.integers(-(2**20), 2**20, config.k_par).tolist()
    (beat,) = payload_integers(weight_beats(config, signs, config.k_par, mask=mask))
    found = [add_up(config, code, word) for code in row_codes(config, beat)]
    assert found == [dot(word, row) for row in values.tolist()]


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
        (np.zeros((2, 9), np.uint8), 65, "K must be from 1 to 64 on engine test, not 65"),
        (np.zeros((65, 1), np.uint8), 8, "N must be from 1 to 64 on engine test, not 65"),
        (np.zeros((0, 1), np.uint8), 8, "N must be from 1 to 64 on engine test, not 0"),
        (np.zeros((1, 0), np.uint8), 0, "K must be from 1 to 64 on engine test, not 0"),
    ],
)
def test_signs_that_break_a_rule(signs, k, message):
    with pytest.raises(ConfigError) as error:
        weight_beats(engine(), signs, k)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("ternary", "mask", "message"),
    [
        (
            False,
            np.zeros((2, 2), np.uint8),
            "a mask of weights needs an engine with ternary, not test",
        ),
        (
            True,
            np.zeros((2, 1), np.uint8),
            "mask must have the shape of signs (2, 2), not (2, 1)",
        ),
        (True, np.zeros(4, np.uint8), "mask must have the shape of signs (2, 2), not (4,)"),
        (
            True,
            np.zeros((2, 2), bool),
            "mask for 9 inputs must be uint8 [N, 2], not bool (2, 2)",
        ),
    ],
)
def test_masks_that_break_a_rule(ternary, mask, message):
    with pytest.raises(ConfigError) as error:
        weight_beats(engine(ternary=ternary), np.zeros((2, 2), np.uint8), 9, mask=mask)
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
        weights_from_beats(engine(), beats, 3, 5)
    assert str(error.value) == message


@pytest.mark.parametrize("structure", ["shared", "tables"])
def test_a_code_that_stands_for_no_weights(structure):
    """Two ternary inputs have five sums up to sign, in three bits: 5 to 7 are none."""
    config = engine(2, 1, structure=structure, group=2, ternary=True)
    for index in range(8):
        beats = np.array([[index << 1]], np.uint8)
        if index < 5:
            weights_from_beats(config, beats, 1, 2)
            continue
        with pytest.raises(ConfigError) as error:
            weights_from_beats(config, beats, 1, 2)
        assert str(error.value) == f"a group's code must be below 5, not {index}"


def test_a_layer_that_the_beats_cannot_be():
    with pytest.raises(ConfigError, match=r"^K must be from 1 to 64 on engine test, not 65$"):
        weights_from_beats(engine(), np.zeros((1, 1), np.uint8), 1, 65)
