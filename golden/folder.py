"""Packed model folders: config.json, tokenizer.json, model.safetensors; read strictly.

A packed model holds, for every FBI-linear, ``.signs`` (uint8 ``[N, ceil(K/8)]``, least significant
bit first, 1 = +1), ``.scale_in`` and ``.shift_in`` (float16 ``[K]``); and in float16 the embedding,
the norms and the output head. Files are never unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from .config import FBI_LINEARS, ModelConfig, linear_key
from .errors import InputError

FORMAT = "signacc-packed"
FORMAT_VERSION = "1"
METADATA = {
    "format": FORMAT,
    "version": FORMAT_VERSION,
    "bit_order": "lsb-first",
    "polarity": "1=+1",
}
"""What the safetensors metadata of a packed model must say."""

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "model.norm.weight"
LAYER_NORMS = ("input_layernorm", "post_attention_layernorm")


@dataclass(frozen=True)
class PackedLinear:
    """An FBI-linear as stored: signs uint8 ``[N, ceil(K/8)]``, scale and shift float16 ``[K]``."""

    signs: np.ndarray
    scale_in: np.ndarray
    shift_in: np.ndarray


@dataclass(frozen=True)
class PackedModel:
    """A packed model in memory.

    Attributes
    ----------
    config
        Its shape.
    linears
        By layer and name, e.g. ``linears[0]["q_proj"]``.
    norms
        float16 ``[hidden]`` by layer and name.
    embedding, head
        float16 ``[vocab, hidden]``; the same array when they are tied.
    final_norm
        float16 ``[hidden]``.
    metadata
        What the file says of itself.
    """

    config: ModelConfig
    linears: list[dict[str, PackedLinear]]
    norms: list[dict[str, np.ndarray]]
    embedding: np.ndarray
    head: np.ndarray
    final_norm: np.ndarray
    metadata: dict[str, str]


def expected_tensors(config: ModelConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name -> (safetensors dtype, shape) of every tensor of a packed model."""
    hidden = config.hidden_size
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        EMBEDDING: ("F16", (config.vocab_size, hidden)),
        FINAL_NORM: ("F16", (hidden,)),
    }
    if not config.tie_word_embeddings:
        tensors[HEAD] = ("F16", (config.vocab_size, hidden))
    for layer in range(config.num_hidden_layers):
        for norm in LAYER_NORMS:
            tensors[f"model.layers.{layer}.{norm}.weight"] = ("F16", (hidden,))
        for name in FBI_LINEARS:
            n, k = config.linear_shape(name)
            key = linear_key(layer, name)
            tensors[f"{key}.signs"] = ("U8", (n, -(-k // 8)))
            tensors[f"{key}.scale_in"] = ("F16", (k,))
            tensors[f"{key}.shift_in"] = ("F16", (k,))
    return tensors


def load_packed(folder: str | Path) -> PackedModel:
    """Read a packed model folder.

    Raises
    ------
    InputError
        If a file is missing, truncated or no safetensors file, if its metadata names another
        format, or if a tensor is missing, unknown, of the wrong type or shape, or not finite.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"a model is a folder; there is none at {folder}")
    config = ModelConfig.from_folder(folder)
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(f"a model folder must hold model.safetensors; there is none in {folder}")
    expected = expected_tensors(config)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_metadata(path, metadata)
            _check_names(path, set(file.keys()), set(expected))
            tensors = {}
            for name, (dtype, shape) in expected.items():
                part = file.get_slice(name)
                found = (part.get_dtype(), tuple(part.get_shape()))
                if found != (dtype, shape):
                    raise InputError(
                        f"{path}: {name} must be {dtype} {list(shape)}, "
                        f"not {found[0]} {list(found[1])}"
                    )
                tensors[name] = file.get_tensor(name)
                if dtype == "F16" and not np.isfinite(tensors[name]).all():
                    raise InputError(
                        f"{path}: {name} must hold finite numbers, not NaN or infinity"
                    )
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} must be a complete safetensors file; it cannot be read: {error}"
        ) from None

    layers = range(config.num_hidden_layers)
    return PackedModel(
        config=config,
        linears=[
            {
                name: PackedLinear(
                    *(tensors[f"{linear_key(i, name)}.{part}"]
                      for part in ("signs", "scale_in", "shift_in"))
                )
                for name in FBI_LINEARS
            }
            for i in layers
        ],
        norms=[
            {norm: tensors[f"model.layers.{i}.{norm}.weight"] for norm in LAYER_NORMS}
            for i in layers
        ],
        embedding=tensors[EMBEDDING],
        head=tensors[EMBEDDING if config.tie_word_embeddings else HEAD],
        final_norm=tensors[FINAL_NORM],
        metadata=dict(metadata),
    )


def _check_metadata(path: Path, metadata: dict[str, str]) -> None:
    for key, value in METADATA.items():
        if metadata.get(key) != value:
            raise InputError(
                f"{path} must be a packed model whose metadata says {key}={value}, "
                f"not {metadata.get(key)!r}"
            )


def _check_names(path: Path, found: set[str], expected: set[str]) -> None:
    missing, unknown = sorted(expected - found), sorted(found - expected)
    if missing:
        raise InputError(
            f"{path} must hold every tensor that config.json asks for; "
            f"{len(missing)} missing, first {missing[0]}"
        )
    if unknown:
        raise InputError(
            f"{path} must hold only tensors that config.json asks for; "
            f"{len(unknown)} unknown, first {unknown[0]}"
        )
