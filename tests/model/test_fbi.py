from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import SDPBackend

from golden.config import FBI_LINEARS, linear_key
from golden.errors import InputError
from model import fbi
from model.fbi import FbiLinear, FbiLlm, binarize
from model.parallel import exact_backward, repeat_to_the_bit

from .tiny import CONFIG


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)  # noqa: E731
    return make(5, 3), make(1, 3), make(1, 3)


def test_forward_is_scale_times_sign_plus_shift():
    weight, scale, shift = parameters()
    weight[1, 2] = 0.0
    scale[0, 0] = -0.5
    expected = torch.empty_like(weight)
    for i in range(5):
        for j in range(3):
            sign = float(weight[i, j] > 0) - float(weight[i, j] < 0)
            expected[i, j] = scale[0, j] * sign + shift[0, j]
    assert torch.equal(binarize(weight, scale, shift), expected)
    assert binarize(weight, scale, shift)[1, 2] == shift[0, 2]  # sign(0) = 0 in training


def test_gradients_are_the_straight_through_formulas():
    weight, scale, shift = (p.requires_grad_() for p in parameters())
    upstream = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    (binarize(weight, scale, shift) * upstream).sum().backward()
    assert torch.equal(weight.grad, upstream * scale)  # identity: not clipped anywhere
    assert torch.allclose(scale.grad, (upstream * weight.detach().sign()).sum(0, keepdim=True))
    assert torch.allclose(shift.grad, upstream.sum(0, keepdim=True))


def test_scale_and_shift_gradients_equal_finite_differences():
    weight, scale, shift = parameters(1)
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def loss(scale, shift):
        return torch.tanh(x @ binarize(weight, scale, shift).t()).square().sum()

    scale, shift = scale.requires_grad_(), shift.requires_grad_()
    assert torch.autograd.gradcheck(loss, (scale, shift), eps=1e-6, atol=1e-6)


def test_large_latent_weights_still_get_a_gradient():
    weight = torch.full((1, 1), 50.0, requires_grad=True)
    binarize(weight, torch.full((1, 1), 2.0), torch.zeros(1, 1)).sum().backward()
    assert weight.grad.item() == 2.0


def test_linear_starts_with_column_means():
    torch.manual_seed(0)
    linear = FbiLinear(6, 40)
    mean = linear.weight.mean(0)
    assert torch.allclose(linear.wbias[0], mean)
    assert torch.allclose(linear.wscale[0], (linear.weight - mean).abs().mean(0))
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.15)
    x = torch.randn(2, 6)
    dense = linear.wscale * linear.weight.sign() + linear.wbias
    assert torch.allclose(linear(x), x @ dense.t())


def test_linear_refuses_an_empty_shape():
    with pytest.raises(InputError, match=r"inputs and outputs must be positive, not 0 and 4"):
        FbiLinear(0, 4)


def test_names_and_shapes_are_those_of_published_checkpoints():
    names = {name: tuple(p.shape) for name, p in FbiLlm(CONFIG).named_parameters()}
    expected = {
        "model.embed_tokens.weight": (16, 16),
        "model.norm.weight": (16,),
        "lm_head.weight": (16, 16),
    }
    for layer in range(2):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            expected[f"model.layers.{layer}.{norm}.weight"] = (16,)
        for linear in FBI_LINEARS:
            outputs, inputs = CONFIG.linear_shape(linear)
            prefix = linear_key(layer, linear)
            expected[f"{prefix}.weight"] = (outputs, inputs)
            expected[f"{prefix}.wscale"] = expected[f"{prefix}.wbias"] = (1, inputs)
    assert names == expected


def test_twin_has_the_same_weights_without_scales():
    names = {name for name, _ in FbiLlm(CONFIG, binary=False).named_parameters()}
    binary = {name for name, _ in FbiLlm(CONFIG).named_parameters()}
    assert names == {n for n in binary if not n.endswith(("wscale", "wbias"))}


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_decoder_is_causal(kv_heads):
    from dataclasses import replace

    torch.manual_seed(0)
    model = FbiLlm(replace(CONFIG, num_attention_heads=4, num_key_value_heads=kv_heads, head_dim=4))
    tokens = torch.randint(0, 16, (2, 9), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 16
    with torch.no_grad():
        one, other = model(tokens), model(changed)
    assert one.shape == (2, 9, 16)
    assert torch.allclose(one[:, :6], other[:, :6], atol=1e-6)
    assert not torch.allclose(one[:, 6:], other[:, 6:], atol=1e-3)


def test_a_sequence_beyond_the_context_is_refused():
    with pytest.raises(InputError, match="a sequence must have at most 12 tokens, not 13"):
        FbiLlm(CONFIG)(torch.zeros(1, 13, dtype=torch.int64))


@pytest.mark.parametrize(
    ("axis", "shape"), [("column", (1, 3)), ("row", (5, 1)), ("single", (1, 1)), ("both", (1, 3))]
)
def test_scale_axes_by_hand(axis, shape):
    torch.manual_seed(1)
    linear = FbiLinear(3, 5, axis)
    assert linear.wscale.shape == linear.wbias.shape == shape
    weight, scale, shift = linear.weight.detach(), linear.wscale.detach(), linear.wbias.detach()
    over = {"column": [0], "both": [0], "row": [1], "single": [0, 1]}[axis]
    assert torch.allclose(shift, weight.mean(over, keepdim=True))
    row = torch.arange(1.0, 6.0)[:, None] if axis == "both" else torch.ones(5, 1)
    if axis == "both":
        linear.wrow.data.copy_(row)
    x = torch.randn(4, 3)
    expected = torch.empty(4, 5)
    for n in range(4):
        for i in range(5):
            terms = (
                x[n, j] * (row[i, 0] * scale.expand(5, 3)[i, j] * weight[i, j].sign()
                           + shift.expand(5, 3)[i, j])
                for j in range(3)
            )
            expected[n, i] = sum(terms)
    y = linear(x)
    assert torch.allclose(y, expected, atol=1e-6)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in linear.parameters())


def test_another_axis_is_refused():
    with pytest.raises(InputError, match="a scale axis is one of column, row, single, both, not"):
        FbiLinear(3, 5, "diagonal")


@contextmanager
def repeating(wanted=True):
    """As in a process that called `repeat_to_the_bit`, or did not, and as before afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(False)  # a training before may have called it
        if wanted:
            repeat_to_the_bit()
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.utils.deterministic.fill_uninitialized_memory = filled


@pytest.mark.parametrize(
    ("device", "wanted", "learning", "excluded"),
    [
        ("cuda", True, True, True),
        ("cuda", True, False, False),  # a forward pass repeats with any kernel
        ("cuda", False, True, False),  # --fast
        ("cpu", True, True, False),
    ],
)
def test_training_that_is_to_repeat_does_without_cudnns_attention(
    monkeypatch, device, wanted, learning, excluded
):
    allowed = torch.nn.attention._cur_sdpa_kernel_backends
    before, seen = set(allowed()), []
    assert SDPBackend.CUDNN_ATTENTION in before
    monkeypatch.setattr(
        fbi.F, "scaled_dot_product_attention", lambda *a, **k: seen.append(set(allowed()))
    )
    q = SimpleNamespace(device=torch.device(device))
    with repeating(wanted), torch.set_grad_enabled(learning):
        fbi.attend(q, q, q, None, grouped=False)
    (asked,) = seen
    assert asked >= set(fbi.REPEATING)
    assert (SDPBackend.CUDNN_ATTENTION in asked) is not excluded
    assert set(allowed()) == before


def test_only_the_backward_pass_refuses_what_cannot_repeat():
    warned = torch.is_deterministic_algorithms_warn_only_enabled
    with repeating():
        assert warned()
        with exact_backward():
            assert torch.are_deterministic_algorithms_enabled()
            assert not warned()
        assert warned()
    with repeating(wanted=False), exact_backward():
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("heads", "kv_heads"), [(12, 12), (9, 3)])
def test_attentions_gradients_repeat_on_a_gpu(heads, kv_heads):
    torch.manual_seed(0)
    # a batch so large that cuDNN's own do not (measured on an H200: docs/design/0021)
    q, k, v = (
        torch.randn(64, n, 1024, 64, device="cuda", dtype=torch.bfloat16).requires_grad_()
        for n in (heads, kv_heads, kv_heads)
    )
    upstream = torch.randn_like(q)
    found = []
    with repeating():
        for _ in range(6):
            y = fbi.attend(q, k, v, None, grouped=heads != kv_heads)
            with exact_backward():
                found.append(torch.autograd.grad(y, (q, k, v), upstream))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
