"""The golden FBI-LLM, held against two decoders written here in numpy.

`decoder` below follows the published architecture with dequantized weights. With ``rounded`` it
rounds to float16 where docs/contract.md says, and then agrees to the bit; without, it is plain
float64 from embedding to logits, and the distance is that of float16 roundings.
"""

import numpy as np
import pytest
import torch

from golden.errors import InputError
from golden.folder import load_packed
from golden.model import GoldenModel, KVCache
from golden.reference import fbi_linear_vector

from ..packed_folder import CONFIG, packed_tensors, write_packed_folder

CONFIGS = {
    "plain": CONFIG,
    "grouped": CONFIG | {"num_key_value_heads": 2},
    "one kv head": CONFIG | {"num_key_value_heads": 1, "rope_theta": 100.0},
    "wide heads": CONFIG | {"head_dim": 10, "rms_norm_eps": 0.01},
    "tied": CONFIG | {"tie_word_embeddings": True},
}
TOKENS = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [28, 0, 27, 18, 2, 8, 18, 0]])


def dequantized(tensors, key) -> np.ndarray:
    """Return W~ = alpha * s + beta as float64 [N, K]."""
    scale, shift = (tensors[f"{key}.{p}"].astype(np.float64) for p in ("scale_in", "shift_in"))
    bits = np.unpackbits(tensors[f"{key}.signs"], axis=1, count=len(scale), bitorder="little")
    return np.where(bits == 1, 1.0, -1.0) * scale + shift


def exact_linear(tensors, key, x, act_bits) -> np.ndarray:
    """Apply the contract in Python integers to float16 values [B, T, K]."""
    k = x.shape[-1]
    bits = np.unpackbits(tensors[f"{key}.signs"], axis=1, count=k, bitorder="little")
    signs = np.where(bits == 1, 1, -1).tolist()
    scale, shift = (
        tensors[f"{key}.{part}"].view(np.uint16).tolist() for part in ("scale_in", "shift_in")
    )
    rows = x.reshape(-1, k).astype(np.float16).view(np.uint16).tolist()
    y = [fbi_linear_vector(row, signs, scale, shift, act_bits=act_bits) for row in rows]
    return np.array(y, np.uint16).view(np.float16).astype(np.float64).reshape(*x.shape[:-1], -1)


def decoder(config, tensors, tokens, *, rounded, act_bits=16):
    """Return (final states, logits) in float64; attention with explicit loops over positions."""

    def store(x):
        return x.astype(np.float16).astype(np.float64) if rounded else x

    def linear(key, x):
        if rounded:
            return exact_linear(tensors, key, x, act_bits)
        return x @ dequantized(tensors, key).T

    def norm(x, key):
        weight = tensors[f"{key}.weight"].astype(np.float64)
        return store(x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weight)

    head_dim = config["head_dim"] or config["hidden_size"] // config["num_attention_heads"]
    half = head_dim // 2
    group = config["num_attention_heads"] // config["num_key_value_heads"]

    def rotate(x):  # [B, T, heads, head_dim]; pairs (i, i + half) turn by t * theta**(-2i/d)
        y = np.empty_like(x)
        for t in range(x.shape[1]):
            for i in range(half):
                angle = t * config["rope_theta"] ** (-2 * i / head_dim)
                a, b = x[:, t, :, i], x[:, t, :, i + half]
                y[:, t, :, i] = a * np.cos(angle) - b * np.sin(angle)
                y[:, t, :, i + half] = a * np.sin(angle) + b * np.cos(angle)
        return store(y)

    x = tensors["model.embed_tokens.weight"][tokens].astype(np.float64)
    batch, length = tokens.shape
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        normed = norm(x, f"{prefix}.input_layernorm")
        q, k, v = (
            linear(f"{prefix}.self_attn.{name}_proj", normed).reshape(batch, length, -1, head_dim)
            for name in "qkv"
        )
        q, k = rotate(q), rotate(k)
        mixed = np.empty_like(q)
        for b in range(batch):
            for h in range(config["num_attention_heads"]):
                for t in range(length):
                    scores = k[b, : t + 1, h // group] @ q[b, t, h] / np.sqrt(head_dim)
                    weights = np.exp(scores - scores.max())
                    mixed[b, t, h] = weights / weights.sum() @ v[b, : t + 1, h // group]
        mixed = store(mixed).reshape(batch, length, -1)
        x = store(x + linear(f"{prefix}.self_attn.o_proj", mixed))
        normed = norm(x, f"{prefix}.post_attention_layernorm")
        gate = linear(f"{prefix}.mlp.gate_proj", normed)
        up = linear(f"{prefix}.mlp.up_proj", normed)
        product = store(gate / (1 + np.exp(-gate)) * up)
        x = store(x + linear(f"{prefix}.mlp.down_proj", product))
    x = norm(x, "model.norm")
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return x, x @ tensors[f"{head}.weight"].astype(np.float64).T


def both(tmp_path, name, seed=7, act_bits=16):
    config = CONFIGS[name]
    tensors = packed_tensors(config, seed)
    folder = write_packed_folder(tmp_path, config, tensors=tensors)
    return config, tensors, GoldenModel.from_folder(folder, act_bits=act_bits)


def logit_bound(states, head) -> np.ndarray:
    """Bound on the float32 sum of hidden products: each of them and each sum rounds by 2**-24."""
    k = states.shape[-1]
    return (k + 1) * 2.0**-24 * (np.abs(states) @ np.abs(head.astype(np.float64)).T)


# ---- against the decoders above -----------------------------------------------------------------


@pytest.mark.parametrize(("act_bits", "seed"), [(6, 7), (16, 7), (16, 9)])
@pytest.mark.parametrize("name", CONFIGS)
def test_states_equal_a_decoder_with_the_same_roundings(tmp_path, name, act_bits, seed):
    """To the bit: the operators differ in float64's last bits, far below what float16 sees.

    A second rounding, as of float64 to float32 to float16, shows in one value of a few thousand.
    """
    config, tensors, model = both(tmp_path, name, seed, act_bits=act_bits)
    states = model.hidden_states(torch.from_numpy(TOKENS))
    logits = model(torch.from_numpy(TOKENS)).numpy()
    want, want_logits = decoder(config, tensors, TOKENS, rounded=True, act_bits=act_bits)
    assert states.dtype == torch.float16
    assert np.count_nonzero(states.numpy().astype(np.float64) != want) == 0
    assert logits.dtype == np.float32
    head = tensors["model.embed_tokens.weight" if name == "tied" else "lm_head.weight"]
    assert (np.abs(logits - want_logits) <= logit_bound(want, head)).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_states_are_near_a_decoder_that_never_rounds(tmp_path, name):
    """A value passes 10 roundings a layer in sequence, and 2 more, each within 2**-11 of it.

    (norm, q/k/v, RoPE, attention, o_proj, residual; norm, gate/up, SwiGLU, down_proj, residual: 11,
    of which those inside a branch reach the stream weakened by its norm.) Summed without luck and
    relative to the RMS of a state, that is (11 * layers + 2) * 2**-11. A = 24 takes the quantizer's
    part away.
    """
    config, tensors, model = both(tmp_path, name, act_bits=24)
    want, _ = decoder(config, tensors, TOKENS, rounded=False)
    states = model.hidden_states(torch.from_numpy(TOKENS)).numpy().astype(np.float64)
    bound = (11 * config["num_hidden_layers"] + 2) * 2.0**-11
    error = np.sqrt(((states - want) ** 2).mean() / (want**2).mean())
    assert 0 < error < bound


@pytest.mark.parametrize("act_bits", [4, 8, 12])
def test_fewer_bits_are_farther_from_float(tmp_path, act_bits):
    config, tensors, _ = both(tmp_path, "plain")
    packed = load_packed(tmp_path)
    want, _ = decoder(config, tensors, TOKENS, rounded=False)

    def error(bits):
        states = GoldenModel(packed, act_bits=bits).hidden_states(torch.from_numpy(TOKENS))
        return np.sqrt(((states.numpy().astype(np.float64) - want) ** 2).mean())

    assert error(act_bits) > 1.5 * error(act_bits + 4)


# ---- the cache ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("cuts", [[1] * 8, [5, 1, 1, 1], [3, 4, 1], [8]])
def test_decoding_with_a_cache_equals_one_pass(tmp_path, name, cuts):
    """States are equal to the bit; logits are float32 sums, whose order depends on the shape."""
    config, tensors, model = both(tmp_path, name)
    tokens = torch.from_numpy(TOKENS)
    whole = model.hidden_states(tokens)
    cache, logits_cache = KVCache(), KVCache()
    states, logits = [], []
    for part in tokens.split(cuts, dim=1):
        states.append(model.hidden_states(part, cache))
        logits.append(model(part, logits_cache))
    assert cache.length == logits_cache.length == 8
    assert torch.equal(torch.cat(states, dim=1), whole)
    head = tensors["model.embed_tokens.weight" if name == "tied" else "lm_head.weight"]
    difference = torch.cat(logits, dim=1).double() - model(tokens).double()
    bound = 2 * logit_bound(whole.numpy().astype(np.float64), head)
    assert (difference.abs().numpy() <= bound).all()
    assert len(cache.keys) == len(cache.values) == config["num_hidden_layers"]
    head_dim = config["head_dim"] or 6
    want = (2, config["num_key_value_heads"], 8, head_dim)
    for tensor in (*cache.keys, *cache.values):
        assert tuple(tensor.shape) == want
        assert tensor.dtype == torch.float16


def test_rows_of_a_batch_do_not_see_each_other(tmp_path):
    _, _, model = both(tmp_path, "grouped")
    tokens = torch.from_numpy(TOKENS)
    alone = torch.cat([model.hidden_states(row[None]) for row in tokens])
    assert torch.equal(model.hidden_states(tokens), alone)


def test_the_future_is_not_seen(tmp_path):
    _, _, model = both(tmp_path, "plain")
    changed = TOKENS.copy()
    changed[:, 5:] = (changed[:, 5:] + 7) % 29
    before, after = (model.hidden_states(torch.from_numpy(t)) for t in (TOKENS, changed))
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_an_empty_cache_has_no_length():
    assert KVCache().length == 0


# ---- trace --------------------------------------------------------------------------------------


def test_the_trace_gets_every_linear_in_order_with_what_went_in_and_out(tmp_path):
    _, tensors, model = both(tmp_path, "grouped", act_bits=8)
    seen = []
    model.trace = lambda *call: seen.append(call)
    cache = KVCache()
    tokens = torch.from_numpy(TOKENS[:, :3])
    states = model.hidden_states(tokens, cache)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert [call[:2] for call in seen] == [(layer, n) for layer in range(2) for n in names]
    for layer, name, x, y in seen:
        assert x.dtype == y.dtype == np.float16
        assert len(x) == len(y) == 6  # 2 vectors of 3 tokens
        part = "self_attn" if name in names[:4] else "mlp"
        key = f"model.layers.{layer}.{part}.{name}"
        want = exact_linear(tensors, key, x.astype(np.float64), 8)
        assert np.array_equal(y.astype(np.float64), want)
    # q, k and v see the normed states of the layer; gate and up those of the second norm.
    for layer in range(2):
        calls = {name: x for found, name, x, _ in seen if found == layer}
        assert np.array_equal(calls["q_proj"], calls["k_proj"])
        assert np.array_equal(calls["q_proj"], calls["v_proj"])
        assert np.array_equal(calls["gate_proj"], calls["up_proj"])
    seen.clear()
    model.hidden_states(torch.tensor([[1], [2]]), cache)
    assert len(seen) == 14
    assert {len(call[2]) for call in seen} == {2}
    model.trace = None
    assert torch.equal(model.hidden_states(tokens), states)


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([[0, 29]]), "a token id must be from 0 to 28, not 29"),
        (torch.tensor([[0, -1]]), "a token id must be from 0 to 28, not -1"),
        (torch.tensor([1, 2]), "tokens must be int64 [B, T] with B, T >= 1, not torch.int64 [2]"),
        (
            torch.zeros(1, 0, dtype=torch.int64),
            "tokens must be int64 [B, T] with B, T >= 1, not torch.int64 [1, 0]",
        ),
        (
            torch.zeros(0, 1, dtype=torch.int64),
            "tokens must be int64 [B, T] with B, T >= 1, not torch.int64 [0, 1]",
        ),
        (
            torch.zeros(1, 1, dtype=torch.int32),
            "tokens must be int64 [B, T] with B, T >= 1, not torch.int32 [1, 1]",
        ),
        (
            torch.zeros(1, 17, dtype=torch.int64),
            "prompt and text must fit the context of 16 tokens, not 17",
        ),
    ],
)
def test_a_rule_and_its_message(tmp_path, tokens, message):
    model = GoldenModel.from_folder(write_packed_folder(tmp_path))
    with pytest.raises(InputError) as error:
        model(tokens)
    assert str(error.value) == message


def test_the_context_ends_with_a_cache_too(tmp_path):
    model = GoldenModel.from_folder(write_packed_folder(tmp_path))
    cache = KVCache()
    model(torch.zeros(1, 15, dtype=torch.int64), cache)
    model(torch.zeros(1, 1, dtype=torch.int64), cache)
    with pytest.raises(InputError) as error:
        model(torch.zeros(1, 1, dtype=torch.int64), cache)
    assert str(error.value) == "prompt and text must fit the context of 16 tokens, not 17"
    assert cache.length == 16  # a refused call leaves the cache as it was


@pytest.mark.parametrize("act_bits", [3, 25])
def test_an_illegal_width(tmp_path, act_bits):
    with pytest.raises(InputError, match=f"^act_bits must be from 4 to 24, not {act_bits}$"):
        GoldenModel.from_folder(write_packed_folder(tmp_path), act_bits=act_bits)
