"""ModelConfig: every rule with its message, shapes by arithmetic, files."""

import json
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from golden.config import (
    FBI_LINEARS,
    MODELS,
    ModelConfig,
    linear_key,
    linear_module,
    named_model,
)
from golden.errors import InputError

SHAPE = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 29,
}
SIZES = [*SHAPE, "max_position_embeddings"]


def test_defaults_are_those_of_llama():
    config = ModelConfig(**SHAPE)
    assert config.head_dim == 6
    assert config.max_position_embeddings == 2048
    assert config.rms_norm_eps == 1e-5
    assert config.rope_theta == 10000.0
    assert config.tie_word_embeddings is False


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        ModelConfig(**SHAPE).hidden_size = 1


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "8", None])
def test_sizes_are_positive_integers(name, value):
    with pytest.raises(InputError) as error:
        ModelConfig(**(SHAPE | {name: value}))
    assert str(error.value) == f"{name} must be a positive integer, not {value!r}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"hidden_size": 26},
            "hidden_size must be a multiple of num_attention_heads when head_dim is not given, "
            "not 26 with 4 heads",
        ),
        ({"head_dim": 3}, "head_dim must be a positive even integer, not 3"),
        ({"head_dim": 10**30}, f"head_dim must be at most 4194304, not {10**30}"),
        (
            {"num_hidden_layers": 4097},
            "num_hidden_layers must be at most 4096, not 4097",
        ),
        (
            {"max_position_embeddings": 1 << 22, "head_dim": 64},
            "max_position_embeddings times head_dim must be at most 134217728, not 4194304 times "
            "64",
        ),
        ({"head_dim": 0}, "head_dim must be a positive even integer, not 0"),
        ({"head_dim": -2}, "head_dim must be a positive even integer, not -2"),
        ({"head_dim": "4"}, "head_dim must be a positive even integer, not '4'"),
        ({"head_dim": 6.0}, "head_dim must be a positive even integer, not 6.0"),
        ({"hidden_size": 20}, "head_dim must be a positive even integer, not 5"),
        (
            {"num_key_value_heads": 3},
            "num_attention_heads must be a multiple of num_key_value_heads, not 4 and 3",
        ),
        (
            {"num_key_value_heads": 8},
            "num_attention_heads must be a multiple of num_key_value_heads, not 4 and 8",
        ),
        ({"rms_norm_eps": 0}, "rms_norm_eps must be a positive number, not 0"),
        ({"rms_norm_eps": -1e-5}, "rms_norm_eps must be a positive number, not -1e-05"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps must be a positive number, not '1e-5'"),
        ({"rope_theta": float("nan")}, "rope_theta must be a positive number, not nan"),
        ({"rope_theta": float("inf")}, "rope_theta must be a positive number, not inf"),
        ({"rope_theta": True}, "rope_theta must be a positive number, not True"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false, not 1"),
        ({"tie_word_embeddings": None}, "tie_word_embeddings must be true or false, not None"),
    ],
)
def test_a_rule_and_its_message(change, message):
    with pytest.raises(InputError) as error:
        ModelConfig(**(SHAPE | change))
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["rms_norm_eps", "rope_theta"])
def test_numbers_are_floats(name):
    """An integer beyond 64 bits is legal JSON, and none to PyTorch."""
    value = getattr(ModelConfig(**(SHAPE | {name: 10**20})), name)
    assert (value, type(value)) == (1e20, float)


def test_linear_shapes_with_grouped_queries_and_a_wide_head():
    config = ModelConfig(**SHAPE, head_dim=8)
    assert {name: config.linear_shape(name) for name in FBI_LINEARS} == {
        "q_proj": (32, 24),
        "k_proj": (16, 24),
        "v_proj": (16, 24),
        "o_proj": (24, 32),
        "gate_proj": (40, 24),
        "up_proj": (40, 24),
        "down_proj": (24, 40),
    }
    by_hand = 2 * (32 * 24 + 2 * 16 * 24 + 24 * 32 + 3 * 40 * 24)
    assert config.binary_weights == by_hand


def test_an_unknown_linear():
    with pytest.raises(InputError) as error:
        ModelConfig(**SHAPE).linear_shape("lm_head")
    assert str(error.value) == (
        "an FBI-linear is one of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, "
        "not 'lm_head'"
    )


def test_names_in_checkpoints():
    assert [linear_module(name) for name in FBI_LINEARS] == ["self_attn"] * 4 + ["mlp"] * 3
    assert linear_key(3, "o_proj") == "model.layers.3.self_attn.o_proj"
    assert linear_key(0, "down_proj") == "model.layers.0.mlp.down_proj"


@pytest.mark.parametrize(
    ("name", "hidden", "ffn", "layers", "heads", "vocab"),
    [
        ("fbi-130m", 768, 2048, 12, 12, 32000),  # arXiv 2407.07093, table 1
        ("fbi-1.3b", 2048, 5632, 24, 32, 32000),
        ("fbi-7b", 4096, 11008, 32, 32, 32000),
        ("fbi-43m", 512, 1408, 12, 8, 4096),
        ("fbi-110m", 768, 2048, 12, 12, 32000),
    ],
)
def test_named_models(name, hidden, ffn, layers, heads, vocab):
    config = named_model(name)
    assert config is MODELS[name]
    assert (config.hidden_size, config.intermediate_size) == (hidden, ffn)
    assert (config.num_hidden_layers, config.num_attention_heads) == (layers, heads)
    assert config.num_key_value_heads == heads
    assert config.vocab_size == vocab
    assert config.binary_weights == layers * (4 * hidden**2 + 3 * hidden * ffn)


def test_an_unknown_model():
    with pytest.raises(InputError) as error:
        named_model("fbi-9t")
    assert str(error.value) == f"a model is one of {', '.join(MODELS)}, not 'fbi-9t'"


# ---- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [ModelConfig(**SHAPE, head_dim=10), *MODELS.values()])
def test_dictionary_and_file_round_trip(config, tmp_path):
    assert ModelConfig.from_dict(config.to_dict()) == config
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    assert ModelConfig.from_folder(tmp_path) == config


def test_keys_of_other_tools_are_ignored():
    data = SHAPE | {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float16"}
    assert ModelConfig.from_dict(data) == ModelConfig(**SHAPE)


def test_missing_keys_are_all_named():
    data = {key: value for key, value in SHAPE.items() if key not in ("vocab_size", "hidden_size")}
    with pytest.raises(InputError) as error:
        ModelConfig.from_dict(data, where="here")
    assert str(error.value) == (
        f"here must give {', '.join(sorted(SHAPE))}; missing: hidden_size, vocab_size"
    )


def test_a_broken_rule_names_the_source():
    with pytest.raises(InputError, match=r"^here: vocab_size must be a positive integer, not 0$"):
        ModelConfig.from_dict(SHAPE | {"vocab_size": 0}, where="here")


@pytest.mark.parametrize(("text", "kind"), [("[]", "list"), ("3", "int"), ("null", "NoneType")])
def test_a_config_is_an_object(text, kind, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError) as error:
        ModelConfig.from_folder(tmp_path)
    assert str(error.value) == f"{tmp_path / 'config.json'} must be a JSON object, not {kind}"


@pytest.mark.parametrize("raw", [b"", b"{", b'{"hidden_size": 24,}', b"\xff\xfe{}", b"{'a': 1}"])
def test_a_config_is_json(raw, tmp_path):
    (tmp_path / "config.json").write_bytes(raw)
    with pytest.raises(InputError) as error:
        ModelConfig.from_folder(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'config.json'} must be valid JSON: ")


def test_a_config_has_a_key_once(tmp_path):
    """The last of two would count, silently."""
    text = json.dumps(asdict(MODELS["fbi-130m"]))
    (tmp_path / "config.json").write_text(text[:-1] + ', "vocab_size": 9}')
    with pytest.raises(InputError) as error:
        ModelConfig.from_folder(tmp_path)
    assert str(error.value) == (
        f"{tmp_path / 'config.json'} must be valid JSON: a key must stand once in its object"
    )


def test_no_config(tmp_path):
    with pytest.raises(InputError) as error:
        ModelConfig.from_folder(tmp_path)
    assert str(error.value) == f"a model folder must hold config.json; there is none in {tmp_path}"


def test_replace_keeps_the_rules():
    with pytest.raises(InputError, match="not 3 "):
        replace(ModelConfig(**SHAPE), head_dim=None, hidden_size=3)


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 200_000], ids=["huge number", "deep nesting"])
def test_json_that_python_cannot_hold(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="must be valid JSON"):
        ModelConfig.from_folder(tmp_path)
