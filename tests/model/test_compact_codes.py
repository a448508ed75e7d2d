import math

import pytest
import torch

from golden.errors import InputError
from model.compact_codes import (
    BLOCK,
    PARAMETER_CODES,
    decode_bfloat16,
    decode_exact,
    decode_log8,
    decode_ratio8,
    encode_bfloat16,
    encode_exact,
    encode_log8,
    encode_ratio8,
    expand,
    ratio_bound,
    squeeze,
)

BETAS = (0.9, 0.95)
SHAPES = [(5,), (1, BLOCK), (3, BLOCK + 1), (70, 90)]


def normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moments(shape, seed, betas=BETAS, steps=60):
    """Moments as AdamW makes them, of gradients whose size differs by parameter and by step."""
    size = torch.exp(0.8 * normal(shape, seed)) * 1e-5
    first, second = torch.zeros(shape), torch.zeros(shape)
    for step in range(steps):
        gradient = normal(shape, 1000 * seed + step) * size * (20 if step == steps // 2 else 1)
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
    return first, second


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_is_exact(shape):
    value = normal(shape, 1) * torch.exp(20 * normal(shape, 2))
    assert torch.equal(decode_exact(encode_exact(value), shape), value)


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_rounds_to_nearest_and_keeps_signs(shape):
    value = normal(shape, 3) * torch.exp(15 * normal(shape, 4))
    value.reshape(-1)[:4] = torch.tensor([1e-42, -1e-42, 0.0, -1e-45])
    back = decode_bfloat16(encode_bfloat16(value), shape)
    assert torch.equal(back.sign(), value.sign())
    large = value.abs() > 2.0**-126
    assert ((back - value).abs() <= value.abs() * 2.0**-8)[large].all()
    assert torch.equal(decode_bfloat16(encode_bfloat16(back), shape), back)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [1, 2])
def test_errors_of_moments_are_within_half_a_level(shape, seed):
    first, second = moments(shape, seed)
    back = decode_log8(encode_log8(second), shape)
    assert (torch.log2(back / second).abs() <= 1 / 16 + 1e-4).all()
    bound = ratio_bound(BETAS)
    assert (first.abs() <= bound * back.sqrt()).all(), "moments of AdamW have that bound"
    found = decode_ratio8(encode_ratio8(first, back, bound), shape, back, bound)
    assert ((found - first).abs() <= 0.5001 * bound / 127 * back.sqrt()).all()


def test_the_bound_is_reached_by_the_worst_gradients_and_not_passed():
    first, second = BETAS
    # equality in Cauchy-Schwarz: gradients that grow as (b1 / b2)^k into the past
    gradients = torch.tensor([(first / second) ** (400 - i) for i in range(400)]).double()
    m = v = torch.zeros((), dtype=torch.float64)
    for gradient in gradients:
        m = first * m + (1 - first) * gradient
        v = second * v + (1 - second) * gradient**2
    half_a_level = 2 ** (1 / 32)
    share = float(m / v.sqrt()) * half_a_level
    assert share == pytest.approx(ratio_bound(BETAS), rel=1e-6)


def test_second_moments_too_small_for_a_level_grow_and_zeros_stay():
    value = torch.tensor([1.0, 2.0**-31, 2.0**-60, 0.0])
    back = decode_log8(encode_log8(value), (4,))
    assert back.tolist() == pytest.approx([1, 2.0**-31, 2.0**-31.75, 0])
    assert back[3] == 0
    zeros = torch.zeros(3, BLOCK)
    assert torch.equal(decode_log8(encode_log8(zeros), zeros.shape), zeros)
    assert torch.equal(
        decode_ratio8(encode_ratio8(zeros, zeros, 1.0), zeros.shape, zeros, 1.0), zeros
    )


@pytest.mark.parametrize("betas", [(0.9, 0.8), (1.0, 0.99), (0.9, 1.0)])
def test_betas_without_a_bound_are_refused(betas):
    with pytest.raises(InputError, match="compact moments need"):
        ratio_bound(betas)


def test_planes_of_another_size_are_refused():
    stream = squeeze(bytes(range(200)))
    assert expand(stream, 200) == bytes(range(200))
    for size in (199, 201):
        with pytest.raises(InputError, match=f"must hold {size} bytes"):
            expand(stream, size)
    with pytest.raises(InputError, match="must hold 200 bytes"):
        expand(stream[:-5], 200)
    with pytest.raises(InputError, match="must be a zlib stream"):
        expand(b"x" + stream, 200)


def test_codes_take_few_bytes():
    """What the sizes in docs/training.md rest on: an entropy code gains where numbers allow it."""
    shape = (600, 700)
    first, second = moments(shape, 5, steps=30)
    squares = encode_log8(second)
    shares = encode_ratio8(first, decode_log8(squares, shape), ratio_bound(BETAS))
    weights = encode_bfloat16(0.02 * normal(shape, 6))
    for planes, most in ((squares, 7.5), (shares, 7.5), (weights, 11.0)):
        assert 8 * sum(map(len, planes)) / math.prod(shape) < most
    assert all(len(encode(first)) == planes for encode, _, planes in PARAMETER_CODES.values())


def test_a_size_that_no_plane_has():
    with pytest.raises(InputError, match=f"a plane must be a zlib stream of {2**63} bytes: "):
        expand(squeeze(b"abc"), 2**63)
