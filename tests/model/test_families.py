"""Quantizers of the 1-bit family: as good as they can be, and golden computes what they mean."""

import itertools
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from golden.errors import InputError
from golden.linear import fbi_linear, quantize
from golden.pack import unpack_signs, unpack_ternary
from model import families
from model.fbi import FbiLinear

ROOT = Path(__file__).parents[2]
ASSET = ROOT / "signacc/assets/fbi-43m/model.safetensors"
PAGE = ROOT / "docs/families.md"

ALL = {
    "fbi": families.fbi,
    "row_scaled": families.row_scaled,
    "tensor_scaled": families.tensor_scaled,
    "bitnet_b1": families.bitnet_b1,
    "onebit": families.onebit,
    "bitnet_b158": families.bitnet_b158,
    "grouped": families.grouped,
    "billm": lambda weight: families.billm(weight, max(1, weight.shape[1] // 20)),
    "billm_aligned": lambda weight: families.billm(weight, 3, align=64),
}


def gaussian(seed: int, n: int = 24, k: int = 300) -> torch.Tensor:
    """Random weights of an LLM's size, with a few columns ten times as large."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=generator) * 0.02
    weight[:, torch.randperm(k, generator=generator)[: max(k // 50, 1)]] *= 10
    return weight


def trained() -> torch.Tensor:
    """64 rows of the shipped model's embedding: trained weights that were never binarized."""
    with safe_open(ASSET, "pt") as file:
        return file.get_slice("model.embed_tokens.weight")[100:164].float()


def error(weights: families.BinaryWeights, weight: torch.Tensor) -> float:
    return float((weights.dequantize() - weight.double()).square().sum())


def is_best_scale(scale: torch.Tensor, magnitudes: torch.Tensor) -> bool:
    """Whether no float16 a has a smaller sum of (|w| - a)**2, exactly: a convex function of a."""
    w = [Fraction(v) for v in magnitudes.double().flatten().tolist()]
    pattern = int(scale.view(torch.int16))
    near = range(max(pattern - 1, 0), min(pattern + 2, 0x7C00))
    values = torch.tensor(near).to(torch.int16).view(torch.float16).tolist()
    # less the sum of w**2
    errors = {p: len(w) * Fraction(a) ** 2 - 2 * Fraction(a) * sum(w)
              for p, a in zip(near, values, strict=True)}  # fmt: skip
    return errors[pattern] == min(errors.values())


WEIGHTS = [gaussian(0), gaussian(1, 7, 130), trained()]
SOME_WEIGHTS = pytest.mark.parametrize("weight", WEIGHTS, ids=["gaussian", "small", "trained"])


# ---- what they say is what golden computes -----------------------------------------------------


def to_float64(y: torch.Tensor) -> torch.Tensor:
    assert y.isfinite().all()
    return y.double()


@SOME_WEIGHTS
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(("act_bits", "dtype"), [(8, "fp16"), (16, "fp16"), (16, "bf16")])
def test_golden_computes_the_dequantized_matrix_within_the_contract(
    weight, method, act_bits, dtype
):
    layer = ALL[method](weight)
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(3, weight.shape[1], generator=generator)
    x[:, ::41] *= 20  # activations have outliers too
    x = x.to(torch.bfloat16 if dtype == "bf16" else torch.float16)
    wide = layer.expand(x)
    y = to_float64(
        fbi_linear(wide, **layer.operands(), act_bits=act_bits, act_format=dtype)
    ).numpy()
    dequantized = layer.dequantize()
    assert dequantized.shape == weight.shape
    exact = (x.double() @ dequantized.T).numpy()

    # The bound of docs/contract.md, from the integers that golden itself quantized to.
    patterns = wide.view(torch.int16).numpy().view(np.uint16)
    grid = quantize(
        patterns if dtype == "bf16" else patterns.view(np.float16),
        layer.scale_in.numpy(), act_bits, act_format=dtype,
    )  # fmt: skip
    unit = np.ldexp(1.0, grid.exponent)[:, None]
    products = (wide.double() * layer.scale_in.double()).numpy()
    saturated = np.abs(products) / unit >= 2 ** (act_bits - 1) - 0.5
    used = unpack_ternary(layer.signs, layer.mask, len(layer.scale_in)).abs().double()
    if layer.scale_out is not None:
        scales = layer.scale_out.double().reshape(len(used), -1).abs()
        size = layer.group_size or len(layer.scale_in)
        used = used * scales.repeat_interleave(size, dim=1)[:, : used.shape[1]]
    near = ((1 + saturated) * unit / 2) @ used.numpy().T
    # Slack for the two float64 matrix products above.
    slack = 1e-12 * (x.double().abs() @ dequantized.abs().T).numpy()
    bits = 8 if dtype == "bf16" else 11
    step = np.exp2(np.floor(np.log2(np.abs(exact) + near)) - (bits - 1))
    assert (np.abs(y - exact) <= near + slack + step / 2).all()
    if act_bits == 16:  # one wrong sign, of the input that counts most, would break it
        most = (used.numpy() * np.abs(products)[:, None]).max(axis=2)
        assert (near + slack + step / 2 < most).all()


@pytest.mark.parametrize("method", ALL)
def test_formats_are_those_of_the_contract(method):
    weight = gaussian(3, 5, 130)
    layer = ALL[method](weight)
    length = len(layer.scale_in)
    assert layer.signs.dtype == torch.uint8
    assert layer.signs.shape == (5, -(-length // 8))
    assert layer.scale_in.dtype == layer.shift_in.dtype == torch.float16
    assert layer.shift_in.shape == (length,)
    assert (layer.mask is not None) == (method == "bitnet_b158")
    assert (layer.inputs is not None) == method.startswith("billm")
    if layer.inputs is None:
        assert length == 130
        x = torch.ones(1, 130).half()
        assert layer.expand(x) is x
    if layer.scale_out is not None:
        assert layer.scale_out.dtype == torch.float16
    if method in ("row_scaled", "tensor_scaled", "bitnet_b1", "bitnet_b158", "grouped"):
        assert layer.scale_in.tolist() == [1] * 130
    if method != "fbi":
        assert not layer.shift_in.any()
    if method not in ("bitnet_b1", "bitnet_b158"):
        signs = unpack_signs(layer.signs, length)
        assert torch.equal(signs[:, :130] > 0, weight >= 0)


@pytest.mark.parametrize("method", ALL)
def test_a_matrix_of_zeros_stays_one(method):
    layer = ALL[method](torch.zeros(3, 70))
    assert torch.equal(layer.dequantize(), torch.zeros(3, 70).double())


@pytest.mark.parametrize("method", ALL)
def test_a_single_weight_and_other_types(method):
    if method != "billm_aligned":
        layer = ALL[method](torch.tensor([[-0.5]], requires_grad=True))
        # The only column is its own mean: FBI's shift carries it; BitNet b1 takes 0 for +1.
        want = 0.5 if method == "bitnet_b1" else -0.5
        assert layer.dequantize().item() == pytest.approx(want, rel=2**-10)
    weight = gaussian(2, 4, 70).bfloat16()
    assert torch.equal(ALL[method](weight).dequantize(), ALL[method](weight.double()).dequantize())


# ---- as good as they can be --------------------------------------------------------------------


@SOME_WEIGHTS
def test_the_row_scale_is_the_best_float16(weight):
    layer = families.row_scaled(weight)
    for scale, row in zip(layer.scale_out, weight, strict=True):
        assert is_best_scale(scale, row.abs())


@SOME_WEIGHTS
def test_the_scale_of_the_matrix_is_the_best_float16(weight):
    layer = families.tensor_scaled(weight)
    (scale,) = layer.scale_out.unique()
    assert is_best_scale(scale, weight.abs())
    assert error(families.row_scaled(weight), weight) < error(layer, weight)


def test_scales_are_rounded_once():
    # Just above the middle of two float16; float32 would round it to the middle, then to even.
    layer = families.row_scaled(torch.tensor([[1 + 2.0**-11 + 2.0**-30]], dtype=torch.float64))
    assert layer.scale_out.tolist() == [1 + 2.0**-10]


def test_no_other_signs_are_better():
    """All 2**8 sign patterns of a row, each with its own best scale."""
    weight = gaussian(4, 6, 8)
    layer = families.row_scaled(weight)
    for i, row in enumerate(weight.double()):
        least = min(
            float(row.square().sum() - (row * torch.tensor(s)).sum().square() / 8)
            for s in itertools.product([-1.0, 1.0], repeat=8)
        )
        got = float((layer.dequantize()[i] - row).square().sum())
        rounding = 8 * (row.abs().mean() * 2.0**-11).square()  # the scale's, to float16
        assert least * (1 - 1e-12) <= got <= least * (1 + 1e-12) + rounding


@SOME_WEIGHTS
@pytest.mark.parametrize("size", [1, 32, 128])
def test_groups_are_rows_of_their_own(weight, size):
    layer = families.grouped(weight, size)
    parts = [families.row_scaled(part) for part in weight.split(size, dim=1)]
    assert torch.equal(layer.scale_out, torch.stack([p.scale_out for p in parts], dim=1))
    assert torch.equal(layer.dequantize(), torch.cat([p.dequantize() for p in parts], dim=1))
    assert error(layer, weight) < error(families.row_scaled(weight), weight)


def test_the_formats_group_is_128_wide():
    layer = families.grouped(gaussian(0))
    assert layer.group_size == 128
    assert layer.scale_out.shape == (24, 3)


def test_fbi_starts_as_the_trained_layer_does():
    torch.manual_seed(5)
    module = FbiLinear(19, 16)
    with torch.no_grad():  # multiples of 2**-10: every mean below is exact in float32
        module.weight.copy_((module.weight * 1024).round() / 1024)
    module.reset_scales()
    layer = families.fbi(module.weight)
    assert torch.equal(layer.scale_in, module.wscale[0].half())
    assert torch.equal(layer.shift_in, module.wbias[0].half())
    assert torch.equal(unpack_signs(layer.signs, 19) > 0, module.weight >= 0)
    x = torch.eye(19)
    rounded = layer.scale_in.double() * unpack_signs(layer.signs, 19) + layer.shift_in.double()
    assert torch.equal(layer.dequantize(), rounded)
    zero = module.weight == 0  # +1 here, 0 in training
    off = (module(x).T.double() - layer.dequantize())[~zero]
    assert off.abs().max() < 2.0**-9 * module.wscale.abs().max()


def test_bitnet_b1_by_hand():
    layer = families.bitnet_b1(torch.tensor([[1.0, 2.0, 3.0], [4.0, -1.0, 3.0]]))  # mean 2
    scale = float(np.float16(14 / 6))  # of |W|, not of |W - 2|
    want = [[-scale, scale, scale], [scale, -scale, scale]]
    assert layer.dequantize().tolist() == want


@SOME_WEIGHTS
def test_svid_is_the_best_rank_one(weight):
    layer = families.onebit(weight)
    u, s, vt = torch.linalg.svd(weight.double().abs())
    best = (s[0] * u[:, :1] @ vt[:1]).abs()
    got = layer.dequantize().abs()
    # g and h are rounded to float16 once each.
    assert ((got - best).abs() <= 2.0**-9.9 * best + 2.0**-24).all()
    least = float(s[1:].square().sum())
    assert least * (1 - 1e-9) <= error(layer, weight) <= least * (1 + 1e-4)
    # A scale per row, or per matrix, is a rank one too.
    assert error(layer, weight) < error(families.row_scaled(weight), weight)
    assert float(layer.scale_in.double().norm() / layer.scale_out.double().norm()) == (
        pytest.approx(1, abs=1e-3)
    )


def test_absmean_ternary_by_hand():
    row = [0.5, -0.5, 0.75, -0.51, 0.0, -0.0, 1.5, -4.0]
    layer = families.bitnet_b158(torch.tensor([row, [1.0] * 8], dtype=torch.float64))
    gamma = float(np.float16((sum(abs(v) for v in row) + 8) / 16))
    assert 0.96 < gamma < 1.0  # so 0.5 is more than half of it
    unpacked = unpack_ternary(layer.signs, layer.mask, 8)
    assert unpacked.tolist() == [[1, -1, 1, -1, 0, 0, 1, -1], [1] * 8]
    assert layer.dequantize().tolist() == (unpacked.double() * gamma).tolist()
    # gamma = 1 exactly; halves round to even: 0.5 -> 0, 1.5 -> 2 -> 1.
    even = families.bitnet_b158(torch.tensor([[0.5, -0.5, 1.5, -1.5]]))
    assert even.scale_out.tolist() == [1]
    assert even.dequantize().tolist() == [[0, 0, 1, -1]]


@SOME_WEIGHTS
def test_absmean_ternary_takes_the_nearest_level(weight):
    layer = families.bitnet_b158(weight)
    gamma = weight.double().abs().mean()
    ternary = unpack_ternary(layer.signs, layer.mask, weight.shape[1]).double()
    levels = torch.tensor([-1.0, 0.0, 1.0]).double()[:, None, None] * gamma
    distances = (levels - weight.double()).abs()
    assert torch.equal((ternary * gamma - weight.double()).abs(), distances.min(0).values)
    assert layer.scale_out.unique().tolist() == [gamma.half().item()]
    assert error(layer, weight) < error(families.tensor_scaled(weight), weight)


@SOME_WEIGHTS
@pytest.mark.parametrize("columns", [1, 6, 50, None])
def test_a_residual_pass_halves_what_the_first_leaves(weight, columns):
    k = weight.shape[1]
    columns = k if columns is None else columns
    layer = families.billm(weight, columns)
    assert layer.inputs[:k].tolist() == list(range(k))
    salient = layer.inputs[k:]
    # The largest columns, in order.
    energy = weight.double().square().sum(0)
    assert salient.tolist() == sorted(salient.tolist())
    rest = torch.tensor([j for j in range(k) if j not in salient.tolist()], dtype=torch.int64)
    if len(rest):
        assert energy[salient].min() >= energy[rest].max()
    # Each pass has the best float16 scale for its own columns.
    base = weight[:, rest] if len(rest) else weight
    assert layer.scale_out.shape == (len(weight), 2)
    for i in range(len(weight)):
        first, second = layer.scale_out[i]
        assert is_best_scale(first, base[i].abs())
        left = weight[i, salient].double()
        left = left - first.double() * torch.where(left >= 0, 1.0, -1.0)
        assert is_best_scale(second, left.abs())
    # Never worse than one scale for all, but for what float16 scales lose.
    plain = weight.double().abs()
    single = float((plain - plain.mean(1, keepdim=True)).square().sum())
    assert error(layer, weight) <= single * (1 + 1e-6)


def test_salient_columns_pay_off_where_there_are_outliers():
    weight = gaussian(0)
    assert error(families.billm(weight, 6), weight) < 0.5 * error(
        families.row_scaled(weight), weight
    )


def test_the_score_decides_and_ties_keep_their_order():
    weight = gaussian(6, 3, 20)
    score = torch.zeros(20)
    score[[11, 4]] = 1
    assert families.billm(weight, 2, score=score).inputs[20:].tolist() == [4, 11]
    assert families.billm(weight, 4, score=score).inputs[20:].tolist() == [0, 1, 4, 11]
    layer = families.billm(weight, 2, score=score, align=8)
    assert layer.inputs.tolist() == [*range(20), -1, -1, -1, -1, 4, 11]
    assert layer.group_size == 24
    plain = families.billm(weight, 2, score=score)
    assert torch.equal(layer.dequantize(), plain.dequantize())
    x = torch.randn(2, 20, generator=torch.Generator().manual_seed(0)).half()
    assert layer.expand(x)[:, 20:].tolist() == [[0, 0, 0, 0, row[4], row[11]] for row in x.tolist()]
    outputs = [fbi_linear(each.expand(x), **each.operands()) for each in (layer, plain)]
    assert torch.equal(*outputs)


def test_salience_follows_the_hessian():
    weight = gaussian(8, 5, 12)
    assert torch.equal(families.salience(weight), weight.double().square().sum(0))
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    x[:, 3] *= 30
    hessian = 2 * x.double().numpy().T @ x.double().numpy()
    hessian += 0.01 * np.mean(np.diag(hessian)) * np.eye(12)
    inverse = np.diag(np.linalg.inv(hessian))
    want = np.square(weight.double().numpy() / inverse).sum(0)
    score = families.salience(weight, x)
    np.testing.assert_allclose(score.numpy(), want, rtol=1e-9)
    assert score.argmax() == 3


# ---- the page ----------------------------------------------------------------------------------


def stored_bits(layer: families.BinaryWeights) -> int:
    bits = layer.signs.numel() * (8 if layer.mask is None else 16)
    if layer.scale_out is not None:
        bits += 16 * layer.scale_out.numel()
    for values, plain in ((layer.scale_in, 1), (layer.shift_in, 0)):
        if (values != plain).any():
            bits += 16 * len(values)
    return bits


def test_the_example_of_the_page_runs():
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, "docs/families.md", "exec"), {})


def test_the_table_of_the_page_holds():
    with safe_open(ASSET, "pt") as file:
        embedding = file.get_tensor("model.embed_tokens.weight").float()
    generator = torch.Generator().manual_seed(0)
    outliers = torch.randn(512, 1408, generator=generator) * 0.02
    outliers[:, torch.randperm(1408, generator=generator)[:28]] *= 10
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in PAGE.read_text(encoding="utf-8").split("## What is lost")[1].splitlines()
        if line.startswith("| `")
    ]
    found = []
    for first, *_ in rows:
        name = first.split("`")[1]
        cells = [first]
        for weight in (embedding, outliers):
            n, k = weight.shape
            method = getattr(families, name)
            layer = method(weight, k // 20) if name == "billm" else method(weight)
            lost = error(layer, weight) / float(weight.double().square().sum())
            cells += [f"{lost:.3f}", f"{stored_bits(layer) / (n * k):.3f}"]
        found.append(cells)
    assert len(rows) == 7
    assert rows == found


# ---- files of others -----------------------------------------------------------------------------


def test_q1_0_blocks_byte_by_byte():
    random = np.random.default_rng(9)
    rows, blocks = 3, 2
    scales = random.choice(np.float16([0.0125, -0.5, 2.0**-24, 3.0]), (rows, blocks))
    bits = random.integers(0, 2, (rows, blocks, 128))
    data, want = b"", []
    for i in range(rows):
        for b in range(blocks):
            value = sum(int(bit) << j for j, bit in enumerate(bits[i, b]))
            data += struct.pack("<e", scales[i, b]) + value.to_bytes(16, "little")
            want += [float(scales[i, b]) * (1 if bit else -1) for bit in bits[i, b]]
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(rows, blocks, 18)
    layer = families.from_q1_0(raw)
    assert layer.dequantize().flatten().tolist() == want
    x = torch.eye(256).half()
    assert torch.equal(fbi_linear(x, **layer.operands()).T, layer.dequantize().half())


def test_our_groups_are_q1_0():
    weight = gaussian(10, 4, 256)
    layer = families.grouped(weight)
    scales = layer.scale_out.view(torch.uint8).view(4, 2, 2)
    blocks = torch.cat([scales, layer.signs.view(4, 2, 16)], dim=2)
    again = families.from_q1_0(blocks)
    assert torch.equal(again.signs, layer.signs)
    assert torch.equal(again.dequantize(), layer.dequantize())


def test_onebit_files_have_the_other_polarity():
    weight = gaussian(11, 3, 16)
    layer = families.onebit(weight)
    bits = (weight < 0).int().view(3, 2, 8)  # 1 means -1 there
    packed = (bits << torch.arange(8)).sum(2).to(torch.int8)
    again = families.from_onebit(packed, layer.scale_in, layer.scale_out.float())
    assert torch.equal(again.signs, layer.signs)
    assert torch.equal(again.dequantize(), layer.dequantize())


def test_a_token_of_binary_mos_is_a_layer_with_mixed_scales():
    weight = gaussian(12, 4, 30)
    generator = torch.Generator().manual_seed(3)
    gates = torch.rand(3, generator=generator).softmax(0)
    h, g = torch.rand(3, 30, generator=generator), torch.rand(3, 4, generator=generator)
    scale_in, scale_out = families.mixed_scale(gates, h), families.mixed_scale(gates, g)
    assert scale_in.dtype == torch.float16
    want = sum(float(r) * e.double() for r, e in zip(gates, h, strict=True))
    assert torch.allclose(scale_in.double(), want, rtol=2.0**-10.9, atol=0)
    x = torch.randn(1, 30, generator=generator).half()
    signs = families.onebit(weight).signs
    y = fbi_linear(x, signs, scale_in, torch.zeros(30).half(), scale_out=scale_out)
    plain = unpack_signs(signs, 30).double()
    exact = scale_out.double() * ((x.double() * scale_in.double()) @ plain.T)
    assert torch.allclose(y.double(), exact, rtol=2.0**-11, atol=2e-3)


# ---- rules and their messages ------------------------------------------------------------------

W = torch.ones(2, 16)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(3), "weight must have shape [N, K] with N, K >= 1, not [3]"),
        (torch.ones(3, 0), "weight must have shape [N, K] with N, K >= 1, not [3, 0]"),
        (torch.ones(3, 70).int(), "weight must be of a floating-point type, not torch.int32"),
        (torch.full((3, 70), torch.nan), "weight must be finite; it holds NaN or Inf"),
        (torch.full((3, 70), -torch.inf), "weight must be finite; it holds NaN or Inf"),
    ],
)
def test_matrices_that_break_a_rule(method, weight, message):
    if not method.startswith("billm"):
        with pytest.raises(InputError) as caught:
            ALL[method](weight)
        assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        families.billm(weight, 1)
    assert str(caught.value) == message


def test_arrays_are_refused():
    with pytest.raises(TypeError, match=r"^weight must be a torch tensor, not ndarray$"):
        families.fbi(np.ones((2, 2)))


@pytest.mark.parametrize("method", sorted(ALL.keys() - {"onebit"}))
def test_scales_must_fit_float16(method):
    weight = torch.full((2, 70), 1e6)
    weight[:, ::2] *= -1
    with pytest.raises(InputError, match=r"must be finite in fp16; it holds NaN, Inf or above"):
        ALL[method](weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: families.grouped(W, 0), "group_size must be a positive integer, not 0"),
        (lambda: families.grouped(W, 2.0), "group_size must be a positive integer, not 2.0"),
        (lambda: families.billm(W, 0), "columns must be from 1 to 16, not 0"),
        (lambda: families.billm(W, 17), "columns must be from 1 to 16, not 17"),
        (lambda: families.billm(W, 1, score=torch.ones(3)),
         "score must have shape [16] and no NaN, not [3]"),
        (lambda: families.billm(W, 1, score=torch.full((16,), torch.nan)),
         "score must have shape [16] and no NaN, not [16]"),
        (lambda: families.salience(W, torch.ones(3, 4)),
         "activations must have shape [samples, 16], not [3, 4]"),
        (lambda: families.salience(W, torch.ones(0, 16)),
         "activations must have shape [samples, 16], not [0, 16]"),
        (lambda: families.salience(W, torch.full((1, 16), torch.inf)),
         "activations must be finite; they hold NaN or Inf"),
        (lambda: families.salience(W, torch.zeros(3, 16)),
         "activations must not be all 0 and damping must be above 0, not 0.01: "
         "their Hessian is singular"),
        (lambda: families.from_q1_0(torch.zeros(2, 18).byte()),
         "blocks must be a uint8 tensor [N, K/128, 18]"),
        (lambda: families.from_q1_0(torch.zeros(2, 1, 18)),
         "blocks must be a uint8 tensor [N, K/128, 18]"),
        (lambda: families.from_q1_0(torch.zeros(2, 1, 34).byte()),
         "blocks must have shape [N, K/128, 18], not [2, 1, 34]"),
        (lambda: families.from_onebit(torch.zeros(2, 2).byte(), W[0], W[:, 0]),
         "weight must be int8 [N, K/8] with N, K >= 1, not torch.uint8 [2, 2]"),
        (lambda: families.from_onebit(torch.zeros(2, 2).char(), W[0, :15], W[:, 0]),
         "input_factor must have shape [16], not [15]"),
        (lambda: families.from_onebit(torch.zeros(2, 2).char(), W[0], W[0]),
         "weight_scale must have shape [2], not [16]"),
        (lambda: families.mixed_scale(torch.ones(3), torch.ones(2, 4)),
         "gates and scales must have shapes [E] and [E, L] with E >= 1, not [3] and [2, 4]"),
        (lambda: families.mixed_scale(torch.ones(1), torch.full((1, 2), 1e6)),
         "the mixed scale must be finite in fp16; it holds NaN, Inf or above 65504"),
    ],
)  # fmt: skip
def test_a_rule_and_its_message(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
