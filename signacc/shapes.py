"""Shapes of models to be costed: a name, a folder with a config.json, or such a file."""

from __future__ import annotations

import json
from pathlib import Path

from golden.config import MODELS, ModelConfig, named_model, unique_keys
from golden.errors import InputError

COSTED = ("fbi-llm", "llama", "mistral", "qwen2", "qwen3", "bitnet")
"""``model_type`` of configurations whose layers are attention and a gated MLP, seven linears."""

_CONFIG = "config.json"


def model_shape(name: str) -> ModelConfig:
    """Return a named shape, or that of a ``config.json`` or of the folder that holds one.

    A ``config.json`` may be that of transformers: without ``num_key_value_heads`` there are as many
    as heads, and a list of end tokens is left out, since neither time nor energy depends on it.

    Raises
    ------
    InputError
        If there is no such model, or it is none whose layers are attention and a gated MLP: its
        ``model_type`` is another, or it attends to a window only.
    """
    path = Path(name)
    if name not in MODELS and path.is_dir():
        path /= _CONFIG
        if not path.is_file():
            raise InputError(f"a model folder must hold {_CONFIG}; there is none in {name}")
    if name not in MODELS and path.is_file():
        return _costed(path)
    try:
        return named_model(name)
    except InputError as error:
        raise InputError(f"{error}, which is neither a folder nor a file") from None


def model_name(given: str) -> str:
    """Return what reports call a model: its name, or that of its folder or file."""
    path = Path(given)
    if given in MODELS or not path.exists():
        return given
    if path.is_file() and path.name != _CONFIG:
        return path.stem
    # The folder may be the current one, or end with two dots: its own name is what counts.
    return (path.parent if path.is_file() else path).resolve().name


def _costed(path: Path) -> ModelConfig:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a JSON object, not {type(data).__name__}")
    kind = data.get("model_type")
    if kind is not None and kind not in COSTED:
        raise InputError(
            f"{path}: model_type must be one of {', '.join(COSTED)}, whose layers are what is "
            f"costed, not {kind!r}"
        )
    if "num_attention_heads" in data:
        data.setdefault("num_key_value_heads", data["num_attention_heads"])
    for key in ("bos_token_id", "eos_token_id"):
        if isinstance(data.get(key), list):
            data[key] = None
    config = ModelConfig.from_dict(data, where=str(path))
    window = data.get("sliding_window")
    if data.get("use_sliding_window", True) and _below(window, config.max_position_embeddings):
        raise InputError(
            f"{path}: sliding_window must be null or at least max_position_embeddings = "
            f"{config.max_position_embeddings}, since every token is taken to attend to all "
            f"positions, not {window!r}"
        )
    return config


def _below(window: object, limit: int) -> bool:
    return window is not None and not (isinstance(window, int) and window >= limit)
