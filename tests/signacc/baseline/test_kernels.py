"""Triton kernels in Triton's interpreter, held to float64 and to golden; skipped without Triton."""

import os
from types import SimpleNamespace

import pytest
import torch

os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from golden.config import ModelConfig
from golden.errors import InputError
from model.fbi import FbiLlm
from signacc.baseline import gate, ops, vectors, weights
from signacc.baseline.decoder import LIBRARY_BATCH, Decoder
from signacc.baseline.errors import GateError
from signacc.baseline.paths import DensePath, dense_int4, quantize_int4
from signacc.baseline.plan import EARLY, ONE_LAUNCH
from signacc.baseline.reference import Reference
from signacc.baseline.sign_path import SignPath, split_for
from signacc.baseline.step import StepShape

from . import grid_stand_in
from .stand_in import install

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    hidden_size=256, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=48, max_position_embeddings=160,
)


def path(name, seed):
    torch.manual_seed(seed)
    if name == "bf16":
        return DensePath(CONFIG, CPU)
    return SignPath(CONFIG, CPU, act_bits=int(name), gemv_limit=0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["bf16", "16", "8"])
def test_a_decoder_passes_the_check(name, batch):
    checks = gate.check_model(path(name, seed=batch), batch=batch, past=130, length=3)
    assert [check.passed for check in checks] == [True, True], checks


@pytest.mark.parametrize("name", ["16", "8"])
def test_one_bit_linears_are_goldens(name):
    assert gate.check_linears(path(name, seed=5), count=2).error < 0.9


@pytest.mark.parametrize("part", ["qkv", "gate_up"])
@pytest.mark.parametrize("made", [vectors.fold, vectors.quantize])
def test_sets_of_scales_one_by_one_are_those_at_once(monkeypatch, made, part):
    torch.manual_seed(12)
    signs = weights.random_signs(CONFIG, part, CPU)
    x = torch.randn(3, CONFIG.hidden_size).half()
    gain = torch.rand(CONFIG.hidden_size).half()
    once = made(x, signs, ops.NORM, gain, 1e-5)
    monkeypatch.setattr(vectors, "_AT_ONCE", 2)
    each = made(x, signs, ops.NORM, gain, 1e-5)
    assert len(signs.rows) == len(once.values) == {"qkv": 3, "gate_up": 2}[part]
    for name, one in vars(once).items():
        torch.testing.assert_close(getattr(each, name), one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [16, 8])
def test_a_decoder_with_the_warpgroup_gemm_passes_the_check(monkeypatch, bits):
    """The kernel itself, on its stand-in; needs g++."""
    install(monkeypatch)
    torch.manual_seed(11)
    whole = SignPath(CONFIG, CPU, act_bits=bits, gemv_limit=0, gemm="warpgroup")
    assert gate.check_linears(whole, count=3).error < 0.9
    checks = gate.check_model(whole, batch=2, past=130, length=3)
    assert [check.passed for check in checks] == [True, True], checks


@pytest.mark.parametrize("bits", [16, 8])
def test_a_step_in_one_launch_passes_the_check(monkeypatch, bits):
    """The kernel itself, on its stand-in; needs g++."""
    grid_stand_in.install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    torch.manual_seed(13)
    whole = SignPath(CONFIG, CPU, act_bits=bits, gemv_limit=0)
    whole.step_shape = StepShape(CONFIG, bits, blocks=7)
    whole.one_launch = True  # and no early starts, which the interpreter lacks
    checks = gate.check_model(whole, batch=1, past=130, length=3)
    assert [check.passed for check in checks] == [True, True], checks
    assert whole._step is not None
    whole.frame.head[7, 9] = torch.nan
    with pytest.raises(GateError, match="the output of the step in one launch must be finite"):
        gate.check_model(whole, batch=1, past=130, length=3)


def test_kernels_start_early_in_the_way_that_is_asked_for(monkeypatch):
    """A CPU can none; the launches of a step of many vectors say what a GPU would be asked."""
    dense = path("bf16", seed=1)
    assert dense.early_ways == ("none",)
    asked = []

    def early(overlap):
        asked.append(overlap)
        return {"early": False}

    monkeypatch.setattr(ops, "early", early)
    monkeypatch.setattr(ops, "can_overlap", lambda device: True)
    assert dense.early_ways == ("all", "all but RoPE", "none")
    capability = [8, 0]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: tuple(capability))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(multi_processor_count=132)
    )
    assert ONE_LAUNCH not in path("16", seed=1).early_ways  # for compute capability 9.0 alone
    capability[:] = 9, 0
    sign = path("16", seed=1)
    assert sign.early_ways == EARLY
    chosen = {}
    for way in EARLY:
        sign.start_early(way)
        chosen[way] = (sign.overlap, sign.late, sign.one_launch)
    assert chosen == {
        "all": (True, True, False), "all but RoPE": (True, True, False),
        "all, at once": (True, False, False), ONE_LAUNCH: (True, True, True),
        "none": (False, False, False),
    }
    decoder = Decoder(dense)
    cache = dense.cache(LIBRARY_BATCH, 9)
    tokens = torch.zeros(LIBRARY_BATCH, dtype=torch.int64)
    # norm, RoPE, norm, SwiGLU, norm
    for way, launches in (("all", [1, 1, 1, 1, 1]), ("all but RoPE", [1, 0, 1, 1, 1]),
                          ("none", [0, 0, 0, 0, 0])):
        asked.clear()
        dense.start_early(way)
        decoder.decode(tokens, cache, 8)
        assert asked == launches


def test_a_wrong_weight_bit_fails_the_check():
    wrong = path("16", seed=6)
    wrong.weights[0]["qkv"].words[3, 5] ^= 4
    check = gate.check_linears(wrong, count=1)
    assert not check.passed
    with pytest.raises(GateError, match="linears against golden, batch 1: the error must be at"):
        gate.require([check])


@pytest.mark.parametrize("batch", [1, 2])
def test_nan_in_a_layer_ends_the_check_and_names_it(batch):
    spoilt = path("bf16", seed=6)
    spoilt.weights[0]["gate_up"][3, 5] = torch.nan
    with pytest.raises(GateError, match=r"decode at position 130, batch .: the output of layer 0, "
                                        r"gate_up must be finite, but .* the first is nan"):
        gate.check_model(spoilt, batch=batch, past=130, length=3)


def test_a_check_whose_error_is_no_number_fails():
    for error, allowed in ((float("nan"), 1.0), (0.5, float("nan")), (float("inf"), 1.0)):
        with pytest.raises(GateError, match=f"must be at most {allowed:.3g}, not {error:.3g}"):
            gate.require([gate.Check("decode", error, allowed)])


def test_attention_does_not_depend_on_the_splits():
    torch.manual_seed(7)
    last, dim = 130, 16
    qkv = torch.randn(2, 8 * dim)
    table = torch.randn(2, 160, dim // 2)
    keys, values = torch.randn(2, 2, 2, 160, dim)
    results = [
        ops.attend(qkv, *table, keys.clone(), values.clone(), last, heads=4, splits=splits)
        for splits in (1, 3)
    ]
    torch.testing.assert_close(*results)
    assert ops.splits_for(32, 511, 132) == 8
    assert ops.splits_for(8192, 511, 132) == 1
    assert ops.splits_for(32, 0, 132) == 1


def test_the_reference_is_the_training_model():
    """The oracle of the check, held to the model that trains, on the same matrices."""
    torch.manual_seed(8)
    dense = DensePath(CONFIG, CPU)
    model = FbiLlm(CONFIG, binary=False).double()
    frame, layer = dense.frame, model.model.layers[0]
    attention, mlp = layer.self_attn, layer.mlp
    q, k, v = dense.weights[0]["qkv"].split([256, 128, 128])
    gate_rows, up_rows = dense.weights[0]["gate_up"].chunk(2)
    pairs = [
        (attention.q_proj, q), (attention.k_proj, k), (attention.v_proj, v),
        (attention.o_proj, dense.weights[0]["out"]), (mlp.gate_proj, gate_rows),
        (mlp.up_proj, up_rows), (mlp.down_proj, dense.weights[0]["down"]),
        (layer.input_layernorm, frame.norms[0][0]),
        (layer.post_attention_layernorm, frame.norms[0][1]),
        (model.model.norm, frame.final_norm), (model.lm_head, frame.head),
        (model.model.embed_tokens, frame.embedding),
    ]
    with torch.no_grad():
        for module, value in pairs:
            module.weight.copy_(value)
        tokens = torch.randint(0, 48, (2, 7))
        empty = [torch.zeros(2, 2, 0, 64)]
        # the training model's norms take their statistics in fp32
        torch.testing.assert_close(
            Reference(dense)(tokens, empty, empty), model(tokens)[:, -1], rtol=1e-4, atol=1e-6
        )


def test_int4_codes_are_within_half_a_step():
    torch.manual_seed(9)
    weight = torch.randn(8, 256)
    packed, scales = quantize_int4(weight)
    error = (dense_int4(packed, scales) - weight).abs()
    step = scales[..., 0].T.double().repeat_interleave(128, 1)
    # half a step, and bf16's rounding of scale and zero point (2^-8 of 8 steps each)
    assert (error <= step * (0.5 + 16 * 2**-8)).all()


def test_signs_stand_for_their_dense_matrix():
    torch.manual_seed(10)
    signs = weights.random_signs(CONFIG, "qkv", CPU)
    dense = weights.dense_of(signs)
    assert dense.shape == (512, 256)
    bit = (int(signs.packed[300, 2]) >> 5) & 1  # output 44 of k_proj, input 21
    sign = 1 if bit else -1
    assert dense[300, 21] == sign * signs.alpha[1, 21].double() + signs.beta[1, 21].double()


def test_blocks_of_a_gemv_stay_in_one_linear():
    assert split_for(12288, 4096, (4096,) * 3) == 2
    assert split_for(4096, 11008, (4096,)) == 4
    assert split_for(2304, 768, (768,) * 3) in (1, 2, 4, 8)
    for rows in ((48, 48, 48), (4096, 128, 128)):
        split = split_for(sum(rows), 4096, rows)
        assert all(n // 16 % (8 // split) == 0 for n in rows)


def test_an_unknown_gemm_is_refused():
    with pytest.raises(InputError, match="a GEMM is one of triton, warpgroup, not 'cublas'"):
        SignPath(CONFIG, CPU, gemm="cublas")


def test_other_activation_widths_are_refused():
    with pytest.raises(InputError, match="must be 8 or 16, not 12"):
        SignPath(CONFIG, CPU, act_bits=12)
