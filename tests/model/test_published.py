"""Configurations of published checkpoints: which are taken, and what is refused."""

import pytest

from model.importer import import_checkpoint

from .published_files import CONFIG, state, write_checkpoint
from .refusal import refused


@pytest.fixture
def tensors():
    return state()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral"}, 'model_type must be "llama", not \'mistral\''),
        ({"hidden_act": "gelu"}, 'hidden_act must be "silu"'),
        ({"attention_bias": True}, "attention_bias must be false, not True"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling must be null"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type must be default, not 'yarn'"),
        ({"rope_parameters": 3}, "rope_parameters must be a JSON object or null, not 3"),
        (
            {"rope_parameters": {"rope_theta": 5e5}},
            "rope_theta must be the same in rope_parameters, not 10000.0 and 500000.0",
        ),
        ({"num_hidden_layers": 4194304}, "num_hidden_layers must be at most 4096, not 4194304"),
        ({"num_attention_heads": 5}, "hidden_size must be a multiple of num_attention_heads"),
        ({"hidden_size": None}, "hidden_size must be a positive integer"),
    ],
)
def test_a_configuration_that_is_none_of_ours(tensors, tmp_path, change, message):
    refused(write_checkpoint(tmp_path / "c", tensors, config=CONFIG | change), message)


@pytest.mark.parametrize("key", ["rms_norm_eps", "max_position_embeddings", "hidden_size"])
def test_a_configuration_without_what_it_must_say(tensors, tmp_path, key):
    config = {k: v for k, v in CONFIG.items() if k != key}
    refused(write_checkpoint(tmp_path / "c", tensors, config=config), key)


def test_configurations_of_other_versions_of_transformers(tensors, tmp_path):
    """Without key-value heads (before 4.31); RoPE settings in one object (from 5.0)."""
    old = {k: v for k, v in CONFIG.items() if k not in ("num_key_value_heads", "rope_theta")}
    new = {k: v for k, v in CONFIG.items() if k not in ("rope_theta", "rope_scaling")}
    new["rope_parameters"] = {"rope_theta": 5000.0, "rope_type": "default"}
    for name, config, theta in (("old", old, 10000.0), ("new", new, 5000.0)):
        checkpoint = write_checkpoint(tmp_path / name, tensors, config=config)
        report = import_checkpoint(checkpoint, tmp_path / "m")
        assert (report.config.num_key_value_heads, report.config.rope_theta) == (4, theta)


def test_a_key_that_stands_twice(tensors, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    path = checkpoint / "config.json"
    path.write_text(path.read_text().replace("{", '{"rope_theta": 7.0,', 1))
    refused(checkpoint, "must be valid JSON: a key must stand once in its object")
