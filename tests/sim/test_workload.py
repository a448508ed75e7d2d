"""Counts of a decode step, each spelled out from the architecture."""

from types import SimpleNamespace

import pytest

from golden.config import MODELS, ModelConfig, named_model
from sim.errors import InputError
from sim.workload import (
    BYTE_CATEGORIES,
    STEPS,
    decode_step,
    packed_bytes,
    resident_bytes,
    weight_beats,
)

BEAT = SimpleNamespace(k_par=32, n_par=32)


def by_name(work):
    return {operator.name: operator for operator in work.operators}


# A grouped-query model small enough to count on paper: 3 layers, 4 query heads on 2 key/value
# heads of 6, hidden 20, ffn 50, vocabulary 100.
SMALL = ModelConfig(
    hidden_size=20,
    intermediate_size=50,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    vocab_size=100,
)
SMALL_BEAT = SimpleNamespace(k_par=8, n_par=4)


def test_small_model_by_hand():
    work = decode_step(SMALL, SMALL_BEAT, context=10)
    operators = by_name(work)
    # q: 20 -> 4 heads * 6 = 24; k, v: 20 -> 2 * 6 = 12; o: 24 -> 20; gate, up: 20 -> 50; down back
    shapes = {
        "q_proj": (20, 24),
        "k_proj": (20, 12),
        "v_proj": (20, 12),
        "o_proj": (24, 20),
        "gate_proj": (20, 50),
        "up_proj": (20, 50),
        "down_proj": (50, 20),
    }
    # beats of 8 inputs * 4 outputs: ceil(K/8) * ceil(N/4)
    beats = {
        "q_proj": 3 * 6,
        "k_proj": 3 * 3,
        "v_proj": 3 * 3,
        "o_proj": 3 * 5,
        "gate_proj": 3 * 13,
        "up_proj": 3 * 13,
        "down_proj": 7 * 5,
    }
    for name, (k, n) in shapes.items():
        operator = operators[name]
        assert operator.kind == "fbi-linear"
        assert operator.shape == (k, n)
        assert operator.count == 3
        assert operator.sign_accumulates == k * n
        assert operator.weight_beats == beats[name]
        assert operator.dram_bytes == {
            "packed_weights": beats[name] * 32 // 8,  # 32 bits a beat
            "coefficients": 4 * k,  # alpha and beta, 2 bytes each
        }
    # 10 positions attended to: 9 come from DRAM; keys of a layer: 12 numbers of 2 bytes each
    assert operators["attention_scores"].macs == 4 * 6 * 10
    assert operators["attention_values"].macs == 4 * 6 * 10
    assert operators["attention_scores"].dram_bytes == {"kv_read": 9 * 12 * 2}
    assert operators["attention_values"].dram_bytes == {"kv_read": 9 * 12 * 2}
    assert operators["kv_write"].dram_bytes == {"kv_write": 2 * 12 * 2}
    assert operators["attention_softmax"].vector_ops == 6 * 4 * 10
    assert operators["rope"].vector_ops == 3 * (24 + 12)
    assert operators["swiglu"].vector_ops == 5 * 50
    assert operators["input_norm"].macs == 20
    assert operators["input_norm"].vector_ops == 2 * 20
    assert operators["attention_residual"].vector_ops == 20
    assert operators["mlp_residual"].count == 3
    assert operators["final_norm"].count == 1
    assert operators["lm_head"].kind == "dense-linear"
    assert operators["lm_head"].shape == (20, 100)
    assert operators["lm_head"].macs == 20 * 100
    assert operators["sampling"].vector_ops == 100
    assert work.bytes_by_category() == {
        "packed_weights": 3 * (18 + 9 + 9 + 15 + 39 + 39 + 35) * 4,
        "coefficients": 3 * 4 * (20 + 20 + 20 + 24 + 20 + 20 + 50),
        "head": 20 * 100 * 2,
        "kv_read": 3 * 2 * 9 * 12 * 2,
        "kv_write": 3 * 2 * 12 * 2,
        "norms": (2 * 3 + 1) * 20 * 2,
        "embedding": 20 * 2,
    }
    assert work.bytes == sum(work.bytes_by_category().values())
    assert tuple(work.bytes_by_category()) == BYTE_CATEGORIES
    # held: sign bits, coefficients, norms, head and embedding table, cache of 10 positions
    assert work.resident_bytes == (
        3 * 164 * 4 + 3 * 4 * 174 + 7 * 20 * 2 + 2 * 20 * 100 * 2 + 3 * 2 * 10 * 12 * 2
    )


@pytest.mark.parametrize(
    ("name", "packed_mb", "head_mb"),
    [("fbi-130m", 10.6, 49.2), ("fbi-1.3b", 154, 131), ("fbi-7b", 810, 262)],
)
def test_published_shapes_read_the_known_megabytes(name, packed_mb, head_mb):
    amounts = decode_step(named_model(name), BEAT, context=512).bytes_by_category()
    assert amounts["packed_weights"] / 1e6 == pytest.approx(packed_mb, rel=5e-3)
    assert amounts["head"] / 1e6 == pytest.approx(head_mb, rel=5e-3)


def test_fbi_7b_bytes_by_hand():
    work = decode_step(named_model("fbi-7b"), BEAT, context=512)
    # 32 layers; 4 attention linears of 4096 * 4096, 3 of 4096 * 11008; nothing to pad to 32 * 32
    weights = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert weights == 6_476_005_376
    assert work.sign_accumulates == weights
    amounts = work.bytes_by_category()
    assert amounts["packed_weights"] == weights // 8
    assert amounts["coefficients"] == 32 * 4 * (6 * 4096 + 11008)
    assert amounts["head"] == 4096 * 32000 * 2
    assert amounts["kv_read"] == 32 * 2 * 511 * 4096 * 2
    assert amounts["kv_write"] == 32 * 2 * 4096 * 2
    assert amounts["norms"] == 65 * 4096 * 2
    assert amounts["embedding"] == 4096 * 2
    # attention at 512 positions, norms, head
    assert work.macs == 32 * (2 * 512 * 4096) + 65 * 4096 + 4096 * 32000


@pytest.mark.parametrize(
    ("name", "gib"), [("fbi-130m", 0.102), ("fbi-1.3b", 0.390), ("fbi-7b", 1.247)]
)
def test_resident_weights_match_the_known_storage(name, gib):
    model = named_model(name)
    no_cache = resident_bytes(model, BEAT, context=0)
    assert no_cache / 2**30 == pytest.approx(gib, abs=1e-3)


def test_tied_tables_are_held_once():
    values = {**SMALL.to_dict(), "tie_word_embeddings": True}
    tied = ModelConfig.from_dict(values)
    saved = resident_bytes(SMALL, SMALL_BEAT, context=4) - resident_bytes(
        tied, SMALL_BEAT, context=4
    )
    assert saved == 20 * 100 * 2
    same = decode_step(tied, SMALL_BEAT, context=4).bytes
    assert same == decode_step(SMALL, SMALL_BEAT, context=4).bytes


@pytest.mark.parametrize("name", MODELS)
def test_every_fbi_linear_is_there_once_in_running_order(name):
    work = decode_step(MODELS[name], BEAT, context=1)
    found = [o.name for o in work.operators if o.kind == "fbi-linear"]
    assert found == [linear for group in STEPS for linear in group]
    assert work.sign_accumulates == MODELS[name].binary_weights
    assert by_name(work)["attention_scores"].bytes == 0  # nothing is cached before the first token


def test_padding_is_whole_beats():
    odd = SimpleNamespace(k_par=3, n_par=3)
    assert weight_beats(4, 4, odd) == 2 * 2
    assert packed_bytes(4, 4, odd) == 5  # 4 beats of 9 bits = 36 bits


@pytest.mark.parametrize("context", [0, -1, 2049, 1.0, True, "512"])
def test_context_outside_the_model_is_refused(context):
    with pytest.raises(InputError, match="context must be an integer from 1 to "
                                         "max_position_embeddings = 2048, not "):
        decode_step(named_model("fbi-130m"), BEAT, context=context)


def test_the_last_context_is_legal():
    assert decode_step(named_model("fbi-130m"), BEAT, context=2048).context == 2048
