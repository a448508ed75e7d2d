"""Packed folders and GGUF files read byte by byte, and the decoder they mean, in NumPy alone.

Written from docs/interchange.md, the safetensors format (eight bytes of length, a JSON header,
data) and the GGUF format, version 3, without code of the packages or of the libraries that write.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

_SAFETENSORS = {"F16": "<f2", "U8": "u1"}
_GGUF_VALUES = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}
_STRING, _ARRAY = 8, 9
_F16, _Q1_0 = 1, 41
_BLOCK, _BLOCK_BYTES = 128, 18
_LINEARS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return tensors by name, and the metadata."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, one in header.items():
        first, end = (8 + size + at for at in one["data_offsets"])
        tensors[name] = np.frombuffer(data[first:end], _SAFETENSORS[one["dtype"]]).reshape(
            one["shape"]
        )
    assert max(one["data_offsets"][1] for one in header.values()) == len(data) - 8 - size
    return tensors, metadata


class _Gguf:
    """A position in a GGUF file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.at)
        self.at += struct.calcsize(f"<{kind}")
        return value

    def text(self) -> str:
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            of, count = self.number("I"), self.number("Q")
            return [self.value(of) for _ in range(count)]
        return self.number(_GGUF_VALUES[kind])


def read_gguf(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return tensors by name, rows first, Q1_0 as float64 of +d and -d; and the keys."""
    file = _Gguf(path.read_bytes())
    assert (file.data[:4], struct.unpack_from("<I", file.data, 4)) == (b"GGUF", (3,))
    file.at = 8
    count, keys_count = file.number("Q"), file.number("Q")
    keys = {}
    for _ in range(keys_count):
        name, kind = file.text(), file.number("I")
        keys[name] = file.value(kind)
    heads = []
    for _ in range(count):
        name, axes = file.text(), file.number("I")
        shape = [file.number("Q") for _ in range(axes)][::-1]  # the fastest axis comes first
        heads.append((name, shape, file.number("I"), file.number("Q")))
    alignment = keys.get("general.alignment", 32)
    start = -(-file.at // alignment) * alignment
    tensors = {}
    for name, shape, kind, offset in heads:
        size, at = int(np.prod(shape)), start + offset
        if kind == _F16:
            tensors[name] = np.frombuffer(file.data, "<f2", size, at).reshape(shape)
            continue
        assert kind == _Q1_0, f"{name} is of type {kind}"
        assert shape[-1] % _BLOCK == 0
        blocks = np.frombuffer(file.data, "u1", size // _BLOCK * _BLOCK_BYTES, at)
        blocks = blocks.reshape(-1, _BLOCK_BYTES)
        scale = blocks[:, :2].copy().view("<f2").astype(np.float64)
        tensors[name] = (scale * _signs(blocks[:, 2:], _BLOCK)).reshape(shape)
    return tensors, keys


def _signs(packed: np.ndarray, columns: int) -> np.ndarray:
    """Return float64 +1 and -1 of rows of bits, least significant first, 1 = +1."""
    column = np.arange(columns)
    return 2.0 * (packed[:, column // 8] >> (column % 8) & 1) - 1


def folder_weights(folder: Path) -> dict[str, np.ndarray]:
    """Return every matrix and norm of a packed folder, W~ of binarized ones, float64, by name."""
    tensors, metadata = read_safetensors(folder / "model.safetensors")
    assert (metadata["bit_order"], metadata["polarity"]) == ("lsb-first", "1=+1")
    weights = {}
    for name, value in tensors.items():
        key, _, part = name.rpartition(".")
        if part == "signs":
            scale, shift = (tensors[f"{key}.{p}_in"].astype(np.float64) for p in ("scale", "shift"))
            weights[f"{key}.weight"] = scale * _signs(value, len(scale)) + shift
        elif part == "weight":
            weights[name] = value.astype(np.float64)
    return weights


def gguf_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the same of a GGUF file, by the names of a folder."""
    tensors, keys = read_gguf(path)
    assert keys["general.architecture"] == "fbi-llm"
    weights = {
        ours: tensors[theirs].astype(np.float64) for ours, theirs in (
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
        ) if theirs in tensors
    }
    for i in range(keys["fbi-llm.block_count"]):
        of, to = f"blk.{i}", f"model.layers.{i}"
        for ours, theirs in (("input_layernorm", "attn"), ("post_attention_layernorm", "ffn")):
            weights[f"{to}.{ours}.weight"] = tensors[f"{of}.{theirs}_norm.weight"].astype(float)
        for ours, theirs in _LINEARS.items():
            scale, shift = (tensors[f"{of}.{theirs}.{p}_in"].astype(float)
                            for p in ("scale", "shift"))
            weights[f"{to}.{ours}.weight"] = scale * tensors[f"{of}.{theirs}.weight"] + shift
    return weights


def logits(weights: dict[str, np.ndarray], config: dict, tokens: list[int]) -> np.ndarray:
    """Return the logits after the last token, float64 ``[vocab]``, all positions computed anew."""
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size = config["head_dim"] or config["hidden_size"] // heads
    positions, half = len(tokens), size // 2
    angle = np.arange(positions)[:, None] * config["rope_theta"] ** (-np.arange(half) / half)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        mean = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean + config["rms_norm_eps"]) * weights[f"{name}.weight"]

    def turned(x: np.ndarray) -> np.ndarray:
        low, high = x[..., :half], x[..., half:]
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)

    x = weights["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        def linear(y: np.ndarray, name: str, at: str = f"model.layers.{i}") -> np.ndarray:
            return y @ weights[f"{at}.{name}.weight"].T

        y = norm(x, f"model.layers.{i}.input_layernorm")
        q = turned(linear(y, "self_attn.q_proj").reshape(positions, heads, size))
        k = turned(linear(y, "self_attn.k_proj").reshape(positions, shared, size))
        v = linear(y, "self_attn.v_proj").reshape(positions, shared, size)
        seen = []
        for head in range(heads):
            of = head // (heads // shared)
            score = q[:, head] @ k[:, of].T / np.sqrt(size)
            score[np.triu_indices(positions, 1)] = -np.inf
            share = np.exp(score - score.max(axis=1, keepdims=True))
            seen.append(share / share.sum(axis=1, keepdims=True) @ v[:, of])
        x = x + linear(np.concatenate(seen, axis=1), "self_attn.o_proj")
        y = norm(x, f"model.layers.{i}.post_attention_layernorm")
        gate = linear(y, "mlp.gate_proj")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(y, "mlp.up_proj"), "mlp.down_proj")
    last = norm(x, "model.norm")[-1]
    return weights.get("lm_head.weight", weights["model.embed_tokens.weight"]) @ last


def greedy(
    weights: dict[str, np.ndarray], config: dict, prompt: list[int], count: int
) -> tuple[list[int], float]:
    """Return the likeliest tokens that follow, and how far the nearest second one was behind."""
    tokens, nearest = list(prompt), np.inf
    for _ in range(count):
        found = logits(weights, config, tokens)
        second, first = np.sort(found)[-2:]
        nearest = min(nearest, first - second)
        tokens.append(int(found.argmax()))
    return tokens[len(prompt):], float(nearest)
