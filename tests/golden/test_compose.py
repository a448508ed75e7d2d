"""Residual passes: concatenated operands give what two passes say, in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.compose import Pass, compose, residual
from golden.errors import InputError
from golden.linear import fbi_linear
from golden.pack import pack_signs, pack_ternary
from golden.reference import fp16_value, round_to_fp16

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def exact(values) -> list[Fraction]:
    return [fp16_value(b) for b in np.asarray(values, dtype=np.float16).view(np.uint16).tolist()]


def small(random, *shape) -> np.ndarray:
    """Return float16 numbers of few bits: their products are exact at A = 24."""
    return (random.integers(-8, 9, shape) / 8).astype(np.float16)


def passes_formula(x, shift, passes) -> list[int]:
    """Return RN16(sum of passes a_i * sum_j t_ij * c_j * x_j + sum_j b_j * x_j), term by term.

    `passes` are (inputs, weights [N, k], scale_in, scale_out or None).
    """
    xs = exact(x)
    beta_x = sum(b * v for b, v in zip(exact(shift), xs, strict=True))
    outputs = []
    for i in range(len(passes[0][1])):
        total = beta_x
        for inputs, weights, scale_in, scale_out in passes:
            terms = zip(weights[i].tolist(), exact(scale_in), inputs, strict=True)
            part = sum(t * c * xs[j] for t, c, j in terms)
            total += part if scale_out is None else part * exact(scale_out)[i]
        outputs.append(round_to_fp16(total))
    return outputs


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from([(True, True), (True, False), (False, True), (False, False)]),
    st.sampled_from([1, 4]),
)
@REPEATABLE
def test_a_residual_layer_is_the_sum_of_its_two_passes(seed, k, n, scaled, align):
    random = np.random.default_rng(seed)
    salient = random.permutation(k)[: random.integers(1, k + 1)]
    first, second = random.choice([-1, 1], (n, k)), random.choice([-1, 1], (n, len(salient)))
    c1, c2, shift = small(random, k), small(random, len(salient)), small(random, k)
    a1, a2 = (small(random, n) if s else None for s in scaled)
    layer = residual(
        pack_signs(first), c1, shift, salient=salient, salient_signs=pack_signs(second),
        salient_scale_in=c2, scale_out=a1, salient_scale_out=a2, align=align,
    )  # fmt: skip
    x = small(random, 2, k)
    y = fbi_linear(layer.expand(x), **layer.operands(), act_bits=24)
    want = [
        passes_formula(row, shift, [(range(k), first, c1, a1), (salient.tolist(), second, c2, a2)])
        for row in x
    ]
    assert y.view(np.uint16).tolist() == want
    # The layout that the contract states.
    size = -(-k // align) * align
    if any(scaled):
        assert layer.group_size == size
        assert layer.scale_out.shape == (n, 2)
        assert layer.inputs.tolist() == [*range(k), *[-1] * (size - k), *salient.tolist()]
    else:
        assert layer.group_size is None
        assert layer.scale_out is None
        assert layer.inputs.tolist() == [*range(k), *salient.tolist()]
    assert layer.mask is None
    assert layer.shift_in[:k].tolist() == shift.tolist()
    assert not layer.shift_in[k:].any()


@given(st.integers(0, 2**32 - 1), st.integers(2, 10), st.integers(1, 3))
@REPEATABLE
def test_several_ternary_passes_over_the_same_inputs(seed, k, n):
    """A split by magnitude is two masked passes; a third is the residual of some columns."""
    random = np.random.default_rng(seed)
    signs, inner = random.choice([-1, 1], (n, k)), random.choice([0, 1], (n, k))
    columns = random.permutation(k)[:2]
    third = random.choice([-1, 1], (n, 2))
    scales = [small(random, n) for _ in range(3)]
    ones, shift = np.ones(k, np.float16), small(random, k)
    weights = [signs * inner, signs * (1 - inner), third]
    packed = [pack_ternary(w) for w in weights]
    layer = compose(
        Pass(signs=packed[0][0], mask=packed[0][1], scale_in=ones, scale_out=scales[0]),
        [
            Pass(signs=packed[2][0], scale_in=ones[:2], scale_out=scales[2], inputs=columns),
            Pass(signs=packed[1][0], mask=packed[1][1], scale_in=ones, scale_out=scales[1]),
        ],
        shift,
    )
    x = small(random, 1, k)
    y = fbi_linear(layer.expand(x), **layer.operands(), act_bits=24)
    want = passes_formula(
        x[0], shift,
        [(range(k), weights[0], ones, scales[0]),
         (columns.tolist(), weights[2], ones[:2], scales[2]),
         (range(k), weights[1], ones, scales[1])],
    )  # fmt: skip
    assert y.view(np.uint16).tolist() == [want]
    assert layer.inputs.tolist() == [*range(k), *columns.tolist(), *[-1] * (k - 2), *range(k)]


def test_one_pass_is_the_layer_itself():
    signs, scale = pack_signs(np.array([[1, -1, 1]])), np.float16([1, 2, 3])
    layer = compose(Pass(signs=signs, scale_in=scale, scale_out=np.float16([4])), [], scale)
    assert layer.signs.tolist() == signs.tolist()
    assert (layer.mask, layer.group_size) == (None, None)
    assert layer.scale_out.tolist() == [4]
    assert layer.inputs.tolist() == [0, 1, 2]


def test_inputs_are_gathered_in_every_format():
    ones = np.ones(3, np.float16)
    layer = residual(
        pack_signs(np.ones((1, 3))), ones, ones, salient=np.array([2, 0]),
        salient_signs=pack_signs(np.ones((1, 2))), salient_scale_in=ones[:2],
        scale_out=ones[:1], align=4,
    )  # fmt: skip
    want = [[5, 6, 7, 0, 7, 5]]
    for dtype in (np.float16, np.uint16):
        x = np.array([[5, 6, 7]], dtype=dtype)
        assert layer.expand(x).dtype == dtype
        assert layer.expand(x).tolist() == want
    x = torch.tensor([[5, 6, 7]], dtype=torch.bfloat16)
    assert layer.expand(x).dtype == torch.bfloat16
    assert layer.expand(x).tolist() == want
    assert x.tolist() == [[5, 6, 7]]
    with pytest.raises(InputError, match=r"^x must have shape \[M, 3\], not \(1, 4\)$"):
        layer.expand(np.zeros((1, 4), np.float16))


def test_a_bad_input_poisons_although_only_the_second_pass_reads_it_twice():
    ones = np.ones(2, np.float16)
    layer = residual(
        pack_signs(np.ones((1, 2))), ones, ones, salient=np.array([1]),
        salient_signs=pack_signs(np.ones((1, 1))), salient_scale_in=ones[:1],
    )  # fmt: skip
    x = np.float16([[1, np.inf], [1, 2]])
    y = fbi_linear(layer.expand(x), **layer.operands()).view(np.uint16)
    assert y.tolist() == [[0x7E00], np.float16([3 + 2 + 3]).view(np.uint16).tolist()]


ONES = np.ones(3, np.float16)
FIRST = Pass(signs=pack_signs(np.ones((2, 3))), scale_in=ONES)
SIGNS = pack_signs(np.ones((2, 2)))


@pytest.mark.parametrize(
    ("further", "options", "message"),
    [
        ({"signs": SIGNS, "inputs": np.array([0])}, {},
         "pass 1 must read one input per scale and at most 3, not (1,) with 2 scales"),
        ({"signs": SIGNS, "inputs": np.array([0, 3])}, {},
         "inputs of pass 1 must be integers from 0 to 2"),
        ({"signs": SIGNS, "inputs": np.array([0, -1])}, {},
         "inputs of pass 1 must be integers from 0 to 2"),
        ({"signs": SIGNS, "inputs": np.array([0.0, 1.0])}, {},
         "inputs of pass 1 must be integers from 0 to 2"),
        ({"signs": SIGNS, "inputs": np.array([], int), "scale_in": ONES[:0]}, {},
         "pass 1 must read at least one input, not 0"),
        ({"signs": SIGNS[:1], "inputs": np.array([0, 1])}, {},
         "signs for 2 outputs of 2 inputs must have shape [2, 1], not (1, 1)"),
        ({"signs": SIGNS, "inputs": np.array([0, 1]), "scale_out": ONES}, {},
         "scale_out of pass 1 must have shape [2], not (3,)"),
        ({"signs": SIGNS, "inputs": np.array([0, 1])}, {"align": 0},
         "align must be a positive integer, not 0"),
        ({"signs": SIGNS, "inputs": np.array([0, 1])}, {"shift_in": ONES[:2]},
         "shift_in must have shape [3], not (2,)"),
        ({"signs": SIGNS, "inputs": np.array([0, 1])},
         {"first": Pass(signs=SIGNS, scale_in=ONES[:2], inputs=np.array([0, 1]))},
         "the first pass must read all inputs in order; its inputs must be None"),
    ],
)  # fmt: skip
def test_passes_that_do_not_fit(further, options, message):
    arguments = {"first": FIRST, "shift_in": ONES} | options
    with pytest.raises(InputError) as error:
        compose(further=[Pass(**({"scale_in": ONES[:2]} | further))], **arguments)
    assert str(error.value) == message
