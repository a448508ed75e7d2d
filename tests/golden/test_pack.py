"""Packing of signs: the order and polarity that the contract states, and every refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.errors import InputError
from golden.pack import (
    check_packed,
    is_tensor,
    like,
    pack_signs,
    pack_ternary,
    to_numpy,
    unpack_signs,
    unpack_ternary,
)

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=100)


def test_a_row_of_ten_by_hand():
    # + - - + + + + -   - +   ->  bit j % 8 of byte j // 8:  0b01111001, 0b00000010
    row = [1.0, -1.0, -2.0, 0.5, 3.0, 1.0, 2.0, -0.1, -9.0, 4.0]
    assert pack_signs(np.array([row])).tolist() == [[0b01111001, 0b00000010]]
    want = [[1, -1, -1, 1, 1, 1, 1, -1, -1, 1]]
    assert unpack_signs(np.array([[0b01111001, 0b00000010]], dtype=np.uint8), 10).tolist() == want


def test_zeros_become_plus_one():
    weights = np.array([[0.0, -0.0, -1e-40, np.finfo(np.float64).smallest_subnormal]])
    assert pack_signs(weights).tolist() == [[0b1011]]


def test_integers_have_signs():
    assert pack_signs(np.array([[-3, 0, 3]])).tolist() == [[0b110]]
    assert pack_signs(np.array([[-3, 0, 3]], dtype=np.int8)).tolist() == [[0b110]]


@given(
    n=st.integers(1, 5),
    k=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
    padding=st.integers(0, 255),
)
@REPEATABLE
def test_round_trip_and_padding_is_ignored(n, k, seed, padding):
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), (n, k))
    packed = pack_signs(signs)
    assert packed.shape == (n, -(-k // 8))
    for i in range(n):
        for j in range(k):
            assert packed[i, j // 8] >> (j % 8) & 1 == (signs[i, j] > 0)
    if k % 8:
        assert not (packed[:, -1] >> (k % 8)).any()  # written as 0
        packed[:, -1] |= np.uint8(padding << (k % 8) & 255)
    unpacked = unpack_signs(packed, k)
    assert unpacked.dtype == np.int8
    assert np.array_equal(unpacked, signs)


def test_torch_in_torch_out():
    weights = torch.tensor([[1.0, -1.0, 0.0]], requires_grad=True)
    packed = pack_signs(weights)
    assert isinstance(packed, torch.Tensor)
    assert packed.dtype == torch.uint8
    assert packed.tolist() == [[0b101]]
    unpacked = unpack_signs(packed, 3)
    assert isinstance(unpacked, torch.Tensor)
    assert unpacked.tolist() == [[1, -1, 1]]
    assert is_tensor(weights)
    assert not is_tensor(np.zeros(1))
    assert like(np.ones(2)[::-1], weights).tolist() == [1, 1]
    assert like(np.ones(2), np.zeros(1)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(3), r"weights must have shape \[N, K\] with N, K >= 1, not \(3,\)"),
        (np.zeros((2, 0)), r"weights must have shape \[N, K\] with N, K >= 1, not \(2, 0\)"),
        (np.zeros((0, 2)), r"weights must have shape \[N, K\] with N, K >= 1, not \(0, 2\)"),
        (np.zeros((1, 1), dtype=complex), "weights must be real numbers, not complex128"),
        (np.array([["a"]]), "weights must be real numbers, not <U1"),
        (np.array([[1.0, np.nan]]), "weights must not hold NaN: a NaN has no sign to pack"),
    ],
)
def test_weights_that_break_a_rule(weights, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        pack_signs(weights)


@pytest.mark.parametrize(
    ("signs", "k", "message"),
    [
        (np.zeros((1, 1), np.uint8), 0, "k must be a positive integer, not 0"),
        (np.zeros((1, 1), np.uint8), True, "k must be a positive integer, not True"),
        (np.zeros((1, 1), np.uint8), 2.0, "k must be a positive integer, not 2.0"),
        (np.zeros((1, 1), np.int8), 8, "signs must be uint8 bytes, not int8"),
        (
            np.zeros((1, 1), np.uint8),
            9,
            r"signs for 9 inputs must have shape \[N, 2\] with N >= 1, not \(1, 1\)",
        ),
        (
            np.zeros((1, 2), np.uint8),
            8,
            r"signs for 8 inputs must have shape \[N, 1\] with N >= 1, not \(1, 2\)",
        ),
        (
            np.zeros((0, 1), np.uint8),
            8,
            r"signs for 8 inputs must have shape \[N, 1\] with N >= 1, not \(0, 1\)",
        ),
        (
            np.zeros(1, np.uint8),
            8,
            r"signs for 8 inputs must have shape \[N, 1\] with N >= 1, not \(1,\)",
        ),
    ],
)
def test_packed_signs_that_break_a_rule(signs, k, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        check_packed(signs, k)
    with pytest.raises(InputError, match=f"^{message}$"):
        unpack_signs(signs, k)


def test_only_arrays_and_cpu_tensors():
    with pytest.raises(TypeError, match=r"^x must be a numpy array or a torch tensor, not list$"):
        to_numpy([1.0], "x")
    with pytest.raises(TypeError, match=r"^x must be on the CPU, not on meta$"):
        to_numpy(torch.zeros(1, device="meta"), "x")


def test_no_copy_is_made():
    array = np.zeros(3)
    assert to_numpy(array, "x") is array
    tensor = torch.zeros(3)
    to_numpy(tensor, "x")[0] = 1
    assert tensor[0] == 1


def test_booleans_are_no_weights():
    with pytest.raises(InputError, match="real numbers, not bool"):
        pack_signs(np.array([[True, False]]))


def test_types_that_numpy_lacks_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match=r"must be of a type that numpy has, not torch\.bf"):
        pack_signs(torch.ones(1, 2, dtype=torch.bfloat16))


def test_a_ternary_row_by_hand():
    # + 0 - 0 -0 + - -   0 +
    row = [1.0, 0.0, -2.0, 0.0, -0.0, 3.0, -1.0, -1.0, 0.0, 4.0]
    signs, mask = pack_ternary(np.array([row]))
    assert signs.tolist() == [[0b00100001, 0b00000010]]  # written as 0 where the weight is 0
    assert mask.tolist() == [[0b11100101, 0b00000010]]
    want = [[1, 0, -1, 0, 0, 1, -1, -1, 0, 1]]
    assert unpack_ternary(signs, mask, 10).tolist() == want
    assert unpack_ternary(signs, None, 10).tolist() == unpack_signs(signs, 10).tolist()


@given(n=st.integers(1, 5), k=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
@REPEATABLE
def test_ternary_round_trip_and_what_is_ignored(n, k, seed):
    random = np.random.default_rng(seed)
    weights = random.integers(-1, 2, (n, k)).astype(np.int8)
    signs, mask = pack_ternary(weights)
    for i in range(n):
        for j in range(k):
            assert mask[i, j // 8] >> (j % 8) & 1 == (weights[i, j] != 0)
            assert signs[i, j // 8] >> (j % 8) & 1 == (weights[i, j] > 0)
    if k % 8:
        assert not (mask[:, -1] >> (k % 8)).any()
        mask[:, -1] |= np.uint8(0xFF << (k % 8) & 0xFF)
    signs |= random.integers(0, 256, signs.shape, dtype=np.uint8) & ~pack_ternary(weights)[1]
    unpacked = unpack_ternary(signs, mask, k)
    assert unpacked.dtype == np.int8
    assert np.array_equal(unpacked, weights)


def test_ternary_torch_in_torch_out():
    signs, mask = pack_ternary(torch.tensor([[0.5, 0.0, -0.5]]))
    assert (signs.tolist(), mask.tolist()) == ([[0b001]], [[0b101]])
    assert signs.dtype == mask.dtype == torch.uint8
    unpacked = unpack_ternary(signs, mask, 3)
    assert isinstance(unpacked, torch.Tensor)
    assert unpacked.dtype == torch.int8
    assert unpacked.tolist() == [[1, 0, -1]]


def test_ternary_refusals():
    with pytest.raises(InputError, match=r"^weights must not hold NaN"):
        pack_ternary(np.array([[np.nan]]))
    signs = np.zeros((2, 1), np.uint8)
    message = r"^mask for 2 outputs of 8 inputs must have shape \[2, 1\], not \(1, 1\)$"
    with pytest.raises(InputError, match=message):
        unpack_ternary(signs, np.zeros((1, 1), np.uint8), 8)
    with pytest.raises(InputError, match=r"^mask must be uint8 bytes, not int8$"):
        unpack_ternary(signs, np.zeros((2, 1), np.int8), 8)
