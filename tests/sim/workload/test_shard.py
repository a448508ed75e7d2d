"""Counts of a pass, each spelled out from the architecture."""

from dataclasses import replace

import pytest

from golden.config import MODELS, ModelConfig, named_model
from hw.config import EngineConfig, named_preset
from sim.errors import InputError
from sim.workload import (
    STEPS,
    Formats,
    Operator,
    Shard,
    activation_bytes_per_token,
    packed_bytes,
    resident_bytes,
    weight_beats,
)

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
TINY = EngineConfig(name="small", k_par=8, n_par=4, k_max=64, n_max=128)
KV260 = named_preset("kv260")


def small(**changes):
    return Shard(**{"model": SMALL, "engine": TINY, **changes})


def operators(shard, tokens, attended, cached, outputs):
    """Return all operators of a pass by name, in order."""
    found: list[Operator] = [
        shard.embedding(tokens),
        *shard.before_attention(tokens),
        *shard.attention(attended, cached),
        *shard.after_attention(tokens),
        *shard.head(outputs),
    ]
    return {operator.name: operator for operator in found}


# 20 -> 4 heads * 6 = 24 for q; 20 -> 2 * 6 = 12 for k, v; 24 -> 20; 20 -> 50 twice; 50 -> 20
SHAPES = {
    "q_proj": (20, 24),
    "k_proj": (20, 12),
    "v_proj": (20, 12),
    "o_proj": (24, 20),
    "gate_proj": (20, 50),
    "up_proj": (20, 50),
    "down_proj": (50, 20),
}
# beats of 8 inputs * 4 outputs: ceil(K/8) * ceil(N/4)
BEATS = {
    "q_proj": 3 * 6,
    "k_proj": 3 * 3,
    "v_proj": 3 * 3,
    "o_proj": 3 * 5,
    "gate_proj": 3 * 13,
    "up_proj": 3 * 13,
    "down_proj": 7 * 5,
}


def test_a_decoded_token_by_hand():
    # one token that attends to 10 positions, 9 of them from memory
    found = operators(small(), 1, 10, 9, 1)
    for name, (k, n) in SHAPES.items():
        operator = found[name]
        assert operator.kind == "fbi-linear"
        assert operator.per_layer
        assert operator.shape == (k, n)
        assert operator.runs == ((k, n, 1, k),)
        assert operator.sign_accumulates == k * n
        assert operator.weight_beats == operator.vector_beats == BEATS[name]
        assert operator.bytes_by_category == {
            "packed_weights": BEATS[name] * 32 // 8,  # 32 bits a beat
            "coefficients": 4 * k,  # alpha and beta, 2 bytes each
        }
    # keys of a position in a layer: 12 numbers of 2 bytes
    assert found["attention_scores"].macs == 4 * 6 * 10
    assert found["attention_values"].macs == 4 * 6 * 10
    assert found["attention_scores"].bytes_by_category == {"kv_read": 9 * 12 * 2}
    assert found["attention_values"].bytes_by_category == {"kv_read": 9 * 12 * 2}
    assert found["kv_write"].bytes_by_category == {"kv_write": 2 * 12 * 2}
    assert found["attention_softmax"].vector_ops == 6 * 4 * 10
    assert found["rope"].vector_ops == 3 * (24 + 12)
    assert found["swiglu"].vector_ops == 5 * 50
    assert found["input_norm"].macs == 20
    assert found["input_norm"].vector_ops == 2 * 20
    assert found["input_norm"].bytes == 20 * 2
    assert found["attention_residual"].vector_ops == 20
    assert found["mlp_residual"].per_layer
    assert not found["final_norm"].per_layer
    assert found["lm_head"].kind == "dense-linear"
    assert found["lm_head"].shape == (20, 100)
    assert found["lm_head"].macs == 20 * 100
    assert found["lm_head"].bytes == 20 * 100 * 2
    assert found["sampling"].vector_ops == 100
    assert found["embedding"].bytes == 20 * 2
    assert not [name for name in found if found[name].kind == "link"]


def test_a_pass_of_several_tokens_by_hand():
    # 7 tokens, 2 of them with outputs, attending to 40 positions in all, 15 read from memory
    found = operators(small(), 7, 40, 15, 2)
    q = found["q_proj"]
    assert q.sign_accumulates == 7 * 20 * 24
    # one token vector a command: the weights are streamed seven times, alpha and beta read once
    assert q.runs == ((20, 24, 7, 20),)
    assert q.weight_beats == q.vector_beats == 7 * 18
    assert q.bytes_by_category == {"packed_weights": 7 * 18 * 4, "coefficients": 4 * 20}
    assert found["attention_scores"].macs == 24 * 40
    assert found["attention_scores"].bytes == 15 * 12 * 2
    assert found["attention_softmax"].vector_ops == 6 * 4 * 40
    assert found["kv_write"].bytes == 7 * 2 * 12 * 2
    assert found["rope"].vector_ops == 7 * 3 * 36
    assert found["swiglu"].vector_ops == 7 * 250
    assert found["input_norm"].macs == 7 * 20
    assert found["input_norm"].bytes == 20 * 2  # its weights once
    assert found["embedding"].bytes == 7 * 40
    # head: weights once, MACs for every output
    assert found["lm_head"].macs == 2 * 2000
    assert found["lm_head"].bytes == 4000
    assert found["sampling"].vector_ops == 200
    assert "lm_head" not in operators(small(), 7, 40, 15, 0)


def test_token_vectors_share_weight_beats():
    # 3 token vectors a command: 7 tokens are 3 commands
    engine = EngineConfig(name="wide", k_par=8, n_par=4, m_par=3, k_max=64, n_max=128)
    q = operators(small(engine=engine), 7, 40, 15, 2)["q_proj"]
    assert (q.weight_beats, q.vector_beats) == (3 * 18, 7 * 18)
    assert q.bytes_by_category["packed_weights"] == 3 * 18 * 4


def test_a_linear_that_fits_the_buffer_is_fetched_once():
    # q takes 18 beats of 4 bytes = 72; gate 39 * 4 = 156
    found = operators(small(kept_bytes=72), 7, 40, 15, 2)
    assert found["q_proj"].bytes_by_category["packed_weights"] == 72
    assert found["gate_proj"].bytes_by_category["packed_weights"] == 7 * 156


def test_engines_split_the_outputs():
    # 50 outputs on 3 engines: 17 each, 5 tiles of 4; 3 words of 8 inputs
    gate = operators(small(engines=3), 1, 1, 0, 1)["gate_proj"]
    assert gate.shape == (20, 17)
    assert gate.weight_beats == 3 * 5
    assert gate.bytes_by_category["packed_weights"] == 3 * 15 * 4
    assert gate.sign_accumulates == 20 * 17


def test_tensor_parallel_by_hand():
    # 2 chips: 2 query heads and 1 key/value head each
    found = operators(small(split=2), 7, 40, 15, 2)
    shapes = {name: found[name].shape for name in SHAPES}
    assert shapes == {
        "q_proj": (20, 12),
        "k_proj": (20, 6),
        "v_proj": (20, 6),
        "o_proj": (12, 20),  # half of the inputs, all outputs
        "gate_proj": (20, 25),
        "up_proj": (20, 25),
        "down_proj": (25, 20),
    }
    assert found["attention_scores"].macs == 12 * 40
    assert found["attention_scores"].bytes == 15 * 6 * 2
    assert found["swiglu"].vector_ops == 7 * 5 * 25
    assert found["lm_head"].shape == (20, 50)
    # ring of 2: 2 messages of half of 7 * 20 * 2 bytes
    for name in ("attention_all_reduce", "mlp_all_reduce"):
        assert found[name].kind == "link"
        assert (found[name].link_bytes, found[name].link_hops) == (2 * 140, 2)
    assert found["sampling_gather"].link_bytes == 8 * 2
    with pytest.raises(InputError, match="must divide num_key_value_heads = 2, not 4"):
        small(split=4)
    with pytest.raises(InputError, match="must divide num_attention_heads = 4, not 3"):
        small(split=3)


def test_an_eight_bit_cache_by_hand():
    found = operators(small(formats=Formats(kv_bits=8)), 7, 40, 15, 2)
    # a key of a head: 6 bytes and a scale of 2; 2 heads
    assert found["attention_scores"].bytes == 15 * 2 * 8
    assert found["kv_write"].bytes == 7 * 2 * 2 * 8
    assert found["kv_write"].vector_ops == 2 * 7 * 24  # two operations an entry
    assert found["attention_scores"].vector_ops == 4 * 40  # times the key's scale
    assert found["attention_values"].vector_ops == 4 * 40


def test_heads_by_hand():
    eight = operators(small(formats=Formats(head="int8")), 1, 1, 0, 3)["lm_head"]
    assert eight.bytes == 100 * (20 + 2)  # a byte a weight and a 16-bit scale a row
    assert eight.macs == 3 * 2000
    binary = operators(small(formats=Formats(head="binary")), 1, 1, 0, 3)["lm_head"]
    assert binary.kind == "fbi-linear"
    assert not binary.per_layer
    assert binary.weight_beats == 3 * 3 * 25
    # more outputs than the engine takes at once: two commands
    narrow = replace(TINY, n_max=64)
    split = operators(
        small(engine=narrow, formats=Formats(head="binary")), 1, 1, 0, 3
    )["lm_head"]
    assert split.runs == ((20, 64, 3, 20), (20, 36, 3, 20))
    assert split.shape == (20, 100)


def test_scales_on_the_output_axis_are_read():
    row = replace(TINY, scale_out="row")
    assert small(engine=row).coefficient_bytes("q_proj") == 4 * 20 + 2 * 24
    groups = replace(TINY, scale_out="groups")
    shard = small(engine=groups, formats=Formats(scale_group=8))
    assert shard.coefficient_bytes("q_proj") == 4 * 20 + 2 * 24 * 3  # 20 inputs: 3 groups of 8
    assert shard.linear("q_proj", 2).runs == ((20, 24, 2, 8),)


def test_ternary_streams_take_their_code():
    ternary = replace(TINY, ternary=True)  # 2 bits a weight
    assert packed_bytes(20, 24, ternary) == 18 * 64 // 8


@pytest.mark.parametrize(
    ("name", "packed_mb", "head_mb"),
    [("fbi-130m", 10.6, 49.2), ("fbi-1.3b", 154, 131), ("fbi-7b", 810, 262)],
)
def test_published_shapes_read_the_known_megabytes(name, packed_mb, head_mb):
    model = named_model(name)
    found = operators(Shard(model=model, engine=KV260), 1, 512, 511, 1)
    packed = model.num_hidden_layers * sum(
        found[linear].bytes_by_category["packed_weights"] for group in STEPS for linear in group
    )
    assert packed / 1e6 == pytest.approx(packed_mb, rel=5e-3)
    assert found["lm_head"].bytes / 1e6 == pytest.approx(head_mb, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "gib"), [("fbi-130m", 0.102), ("fbi-1.3b", 0.390), ("fbi-7b", 1.247)]
)
def test_resident_weights_match_the_known_storage(name, gib):
    held = resident_bytes(Shard(model=named_model(name), engine=KV260), positions=0)
    assert sum(held.values()) / 2**30 == pytest.approx(gib, abs=1e-3)
    assert held["kv_cache"] == 0


def test_what_a_chip_holds_by_hand():
    held = resident_bytes(small(), positions=10)
    assert held == {
        "packed_weights": 3 * sum(BEATS.values()) * 4,
        "coefficients": 3 * 4 * (20 + 20 + 20 + 24 + 20 + 20 + 50),
        "head": 4000,
        "kv_cache": 3 * 2 * 10 * 12 * 2,
        "norms": 7 * 20 * 2,
        "embedding": 4000,
    }
    # the second of two pipeline stages: one layer, no table, final norm and head
    last = resident_bytes(small(), positions=10, layers=1, first=False)
    assert (last["embedding"], last["head"]) == (0, 4000)
    assert last["norms"] == 3 * 20 * 2
    assert last["packed_weights"] * 3 == held["packed_weights"]


def test_tied_tables_are_held_once():
    tied = small(model=replace(SMALL, tie_word_embeddings=True))
    assert resident_bytes(tied, positions=4)["head"] == 0
    # a chip without the table needs its own copy; so does a head in another format
    assert resident_bytes(tied, positions=4, first=False)["head"] == 4000
    other = replace(tied, formats=Formats(head="int8"))
    assert resident_bytes(other, positions=4)["head"] == 2200
    same = operators(tied, 1, 4, 3, 1)["lm_head"]
    assert same == operators(small(), 1, 4, 3, 1)["lm_head"]


@pytest.mark.parametrize("name", MODELS)
def test_every_fbi_linear_is_there_once_in_running_order(name):
    found = operators(Shard(model=MODELS[name], engine=KV260), 1, 1, 0, 1)
    linears = [o for o in found.values() if o.kind == "fbi-linear"]
    assert [o.name for o in linears] == [linear for group in STEPS for linear in group]
    weights = sum(o.sign_accumulates for o in linears) * MODELS[name].num_hidden_layers
    assert weights == MODELS[name].binary_weights
    assert found["attention_scores"].bytes == 0  # nothing is cached before the first token


def test_activations_by_hand():
    # 16 bit: residual 20, and gate and up of 50 with their input of 20
    assert activation_bytes_per_token(small()) == 2 * (20 + 20 + 100)
    # 2 chips: half of ffn; queries, keys, values and output of half the heads are less
    assert activation_bytes_per_token(small(split=2)) == 2 * (20 + 20 + 50)


def test_padding_is_whole_beats():
    odd = EngineConfig(name="odd", k_par=3, n_par=3, k_max=8, n_max=8)
    assert weight_beats(4, 4, odd) == 2 * 2
    assert packed_bytes(4, 4, odd) == 5  # 4 beats of 9 bits = 36 bits


def test_a_layer_with_too_many_inputs_is_refused():
    with pytest.raises(InputError, match="down_proj of 50 inputs and 20 outputs: K must be from 1"):
        small(engine=EngineConfig(name="small", k_par=8, n_par=4, k_max=48, n_max=128))


def test_an_engine_without_outputs_is_refused():
    # gate and up have 50 outputs, the widest; half of them on each of 2 chips
    assert operators(small(engines=50), 1, 1, 0, 1)["gate_proj"].shape == (20, 1)
    with pytest.raises(InputError, match=r"at most 50, the outputs of gate_proj, .* not 51"):
        small(engines=51)
    with pytest.raises(InputError, match="engines must be at most 25"):
        small(engines=26, split=2)
    small(engines=51, formats=Formats(head="binary"))  # the head has 100
