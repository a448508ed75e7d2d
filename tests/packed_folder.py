"""Small packed model folders, written without any code of the packages that read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

METADATA = {
    "format": "signacc-packed",
    "version": "1",
    "bit_order": "lsb-first",
    "polarity": "1=+1",
}

CONFIG = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 29,
    "head_dim": None,
    "max_position_embeddings": 16,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
"""A shape that every part of a decoder can be seen in, small enough for exact arithmetic."""


def linear_shapes(config: dict) -> dict[str, tuple[int, int]]:
    """Return (N, K) by name below ``model.layers.L``."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    head_dim = config["head_dim"] or hidden // config["num_attention_heads"]
    query = config["num_attention_heads"] * head_dim
    key_value = config["num_key_value_heads"] * head_dim
    return {
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (key_value, hidden),
        "self_attn.v_proj": (key_value, hidden),
        "self_attn.o_proj": (hidden, query),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }


def packed_tensors(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Return random tensors of a packed model: negative and zero scales among them."""
    random = np.random.default_rng(seed)
    hidden, vocab = config["hidden_size"], config["vocab_size"]

    def norm() -> np.ndarray:
        return random.uniform(0.5, 1.5, hidden).astype(np.float16)

    def table() -> np.ndarray:
        return random.normal(0, 1, (vocab, hidden)).astype(np.float16)

    tensors = {"model.embed_tokens.weight": table(), "model.norm.weight": norm()}
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = table()
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        tensors[f"{prefix}.input_layernorm.weight"] = norm()
        tensors[f"{prefix}.post_attention_layernorm.weight"] = norm()
        for name, (n, k) in linear_shapes(config).items():
            signs = np.packbits(random.integers(0, 2, (n, k)), axis=1, bitorder="little")
            scale = random.uniform(0.5, 1.5, k) / np.sqrt(k)
            scale[0], scale[1] = -scale[0], 0.0
            tensors[f"{prefix}.{name}.signs"] = signs
            tensors[f"{prefix}.{name}.scale_in"] = scale.astype(np.float16)
            shift = random.normal(0, 0.1, k) / np.sqrt(k)
            tensors[f"{prefix}.{name}.shift_in"] = shift.astype(np.float16)
    return tensors


def write_packed_folder(
    folder: Path,
    config: dict | None = None,
    seed: int = 1,
    *,
    tensors: dict[str, np.ndarray] | None = None,
    metadata: dict[str, str] | None = METADATA,
) -> Path:
    """Write config.json, tokenizer.json and model.safetensors into `folder`; return `folder`.

    The tokenizer knows the words ``w0``, ``w1``, ... as token ids 0, 1, ...
    """
    config = dict(CONFIG) if config is None else config
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    words = {f"w{i}": i for i in range(config["vocab_size"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    if tensors is None:
        tensors = packed_tensors(config, seed)
    save_file(tensors, folder / "model.safetensors", metadata=metadata)
    return folder
