"""The published FBI-LLM checkpoint: its configuration, and the names and shapes of its tensors.

The layout is that of Hugging Face's ``LlamaForCausalLM.save_pretrained`` with two tensors more for
every FBI-linear, ``wscale`` and ``wbias`` ``[1, K]`` (the checkpoints of arXiv 2407.07093).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from golden.config import FBI_LINEARS, ModelConfig, linear_key, unique_keys
from golden.errors import InputError
from golden.folder import expected_tensors

DROPPED = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
"""Buffers of older transformers: computed from the configuration, so not read."""

_FIXED = {
    # What the decoder here does and cannot do otherwise; absent means the same.
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "pretraining_tp": 1,
    "rope_scaling": None,
}
_NEEDED = ("max_position_embeddings", "rms_norm_eps")  # ours and theirs have other defaults


def latent_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every tensor of a checkpoint of shape `config`; all are fp32."""
    shapes = {
        name: shape
        for name, (_, shape) in expected_tensors(config).items()
        if name.endswith(".weight")  # all but the parts of FBI-linears
    }
    for layer in range(config.num_hidden_layers):
        for linear in FBI_LINEARS:
            outputs, inputs = config.linear_shape(linear)
            key = linear_key(layer, linear)
            shapes[f"{key}.weight"] = (outputs, inputs)
            shapes[f"{key}.wscale"] = shapes[f"{key}.wbias"] = (1, inputs)
    return shapes


def read_config(folder: Path) -> ModelConfig:
    """Read the ``config.json`` of a checkpoint, a LLaMA configuration of transformers.

    Raises
    ------
    InputError
        If there is none, a key is missing or illegal, or the model is none that the decoder of
        this package computes: another architecture, activation, bias or scaling of RoPE.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"a checkpoint folder must hold config.json; there is none in {folder}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a JSON object, not {type(data).__name__}")
    data = dict(data)
    # transformers 5 writes both RoPE settings into one object.
    rope = data.pop("rope_parameters", None)
    if rope is not None and not isinstance(rope, dict):
        raise InputError(f"{path}: rope_parameters must be a JSON object or null, not {rope!r}")
    if rope is not None:
        if rope.get("rope_type", "default") != "default":
            raise InputError(f"{path}: rope_type must be default, not {rope['rope_type']!r}")
        theta = rope.get("rope_theta", data.get("rope_theta", 10000.0))
        if data.setdefault("rope_theta", theta) != theta:
            raise InputError(
                f"{path}: rope_theta must be the same in rope_parameters, not "
                f"{data['rope_theta']!r} and {theta!r}"
            )
    for key, want in _FIXED.items():
        if data.get(key, want) != want:
            raise InputError(f"{path}: {key} must be {json.dumps(want)}, not {data[key]!r}")
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        raise InputError(f"{path} must give {', '.join(missing)}")
    if "num_attention_heads" in data:
        data.setdefault("num_key_value_heads", data["num_attention_heads"])
    return ModelConfig.from_dict(data, where=str(path))
