from dataclasses import replace

import pytest
import torch

from golden.config import linear_key
from golden.errors import InputError
from model.fbi import INIT_STD, FbiLlm
from model.initial import initialise, teacher_weights

from .tiny import CONFIG, TEACHER, teacher

ALIKE = replace(
    CONFIG, hidden_size=24, intermediate_size=32, num_attention_heads=6, num_key_value_heads=2,
    head_dim=None, vocab_size=19, tie_word_embeddings=True, max_position_embeddings=40,
)  # fmt: skip


def made(config=CONFIG, seed=5, **options):
    with torch.device("meta"):
        model = FbiLlm(config, **options)
    model.to_empty(device="cpu")
    initialise(model, seed)
    return model


def test_weights_depend_on_the_seed_alone_and_the_twin_has_the_same():
    torch.manual_seed(1)
    one = made().state_dict()
    torch.manual_seed(2)
    other, twin = made().state_dict(), made(binary=False).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(one[name], twin[name]) for name in twin)
    different = made(seed=6).state_dict()
    assert not torch.equal(one["lm_head.weight"], different["lm_head.weight"])
    assert not torch.equal(one["lm_head.weight"], one["model.embed_tokens.weight"])


def test_statistics_scales_norms_and_rope():
    model = made(replace(CONFIG, hidden_size=64, intermediate_size=96))
    layer = model.model.layers[1]
    weight = layer.mlp.up_proj.weight
    assert weight.std().item() == pytest.approx(INIT_STD, rel=0.05)
    mean = weight.mean(0, keepdim=True)
    assert torch.allclose(layer.mlp.up_proj.wbias, mean)
    assert torch.allclose(layer.mlp.up_proj.wscale, (weight - mean).abs().mean(0, keepdim=True))
    assert torch.equal(layer.input_layernorm.weight, torch.ones(64))
    fresh = FbiLlm(model.config)
    assert torch.equal(model.cos, fresh.cos)
    assert torch.equal(model.sin, fresh.sin)


def test_a_tied_head_stays_tied():
    model = made(ALIKE)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("vocab", [19, 16])
@pytest.mark.parametrize("tied", [True, False])
def test_a_twin_that_starts_from_the_teacher_computes_the_teacher(vocab, tied):
    config = replace(ALIKE, vocab_size=vocab, tie_word_embeddings=tied)
    large = teacher()
    with torch.device("meta"):
        twin = FbiLlm(config, binary=False)
    twin.to_empty(device="cpu")
    initialise(twin, 0, teacher_weights(large, config))
    tokens = torch.randint(vocab, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(twin(tokens), large.logits(tokens)[..., :vocab], atol=1e-4)


def test_an_fbi_llm_that_starts_from_the_teacher_takes_latents_and_their_means():
    large = teacher()
    with torch.device("meta"):
        model = FbiLlm(ALIKE)
    model.to_empty(device="cpu")
    initialise(model, 0, teacher_weights(large, ALIKE))
    state = model.state_dict()
    key = linear_key(1, "k_proj")
    expected = large.layers[1].qkv.weight[24:32]
    assert torch.equal(state[f"{key}.weight"], expected)
    assert torch.allclose(state[f"{key}.wbias"], expected.mean(0, keepdim=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 1}, "must have its layers, 2, not 1"),
        ({"rope_theta": 1e5}, "must have its rope_theta, 10000.0, not 100000.0"),
        ({"vocab_size": 20}, "must be at most 19 tokens, not 20"),
    ],
)
def test_another_shape_is_refused(change, message):
    assert TEACHER.vocab == 19
    with pytest.raises(InputError, match=message):
        teacher_weights(teacher(), replace(ALIKE, **change))
