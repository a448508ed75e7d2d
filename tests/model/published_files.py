"""Checkpoints of the published layout, and the LLaMA that they mean, without code of ``model``."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 24,
    "initializer_range": 0.02,
    "intermediate_size": 36,
    "max_position_embeddings": 20,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": 40,
}
"""As transformers writes it for the 130M model, but small."""

SHAPES = {
    "self_attn.q_proj": (24, 24),
    "self_attn.k_proj": (24, 24),
    "self_attn.v_proj": (24, 24),
    "self_attn.o_proj": (24, 24),
    "mlp.gate_proj": (36, 24),
    "mlp.up_proj": (36, 24),
    "mlp.down_proj": (24, 36),
}


def state(seed: int = 0) -> dict[str, Tensor]:
    """Return fp32 tensors by published name; scales are fp16 values, so that packing keeps them."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    tensors = {"model.embed_tokens.weight": draw(40, 24).half().float()}
    for i in range(2):
        prefix = f"model.layers.{i}"
        for name, (outputs, inputs) in SHAPES.items():
            key = f"{prefix}.{name}"
            tensors[f"{key}.weight"] = draw(outputs, inputs) * 0.02
            tensors[f"{key}.wscale"] = (draw(1, inputs) * 0.3).half().float()
            tensors[f"{key}.wbias"] = (draw(1, inputs) * 0.05).half().float()
        tensors[f"{prefix}.self_attn.rotary_emb.inv_freq"] = draw(3)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{norm}.weight"] = (1 + 0.1 * draw(24)).half().float()
    tensors["model.norm.weight"] = (1 + 0.1 * draw(24)).half().float()
    tensors["lm_head.weight"] = draw(40, 24).half().float()
    return tensors


def write_checkpoint(
    folder: Path,
    tensors: dict[str, Tensor],
    *,
    kind: str = "bin",
    shards: int = 1,
    config: dict | None = None,
) -> Path:
    """Write what save_pretrained writes: one file, or shards of about equal counts and an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or CONFIG, indent=2))
    stem, index = {
        "bin": ("pytorch_model", "pytorch_model.bin.index.json"),
        "safetensors": ("model", "model.safetensors.index.json"),
    }[kind]
    names = list(tensors)
    size = -(-len(names) // shards)
    where = {}
    for shard in range(shards):
        file = f"{stem}.{kind}"
        if shards > 1:
            file = f"{stem}-{shard + 1:05d}-of-{shards:05d}.{kind}"
        part = {n: tensors[n].contiguous() for n in names[shard * size : (shard + 1) * size]}
        where |= dict.fromkeys(part, file)
        if kind == "bin":
            torch.save(part, folder / file)
        else:
            save_file(part, folder / file, metadata={"format": "pt"})
    if shards > 1:
        total = sum(t.numel() * 4 for t in tensors.values())
        (folder / index).write_text(
            json.dumps({"metadata": {"total_size": total}, "weight_map": where})
        )
    return folder


def folded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the plain LLaMA's weights: W~ = wscale·sign(W) + wbias, with sign(0) = +1."""
    plain = {}
    for name, value in tensors.items():
        key = name.removesuffix(".weight")
        if name.endswith("inv_freq") or name.endswith((".wscale", ".wbias")):
            continue
        if f"{key}.wscale" in tensors:
            sign = torch.where(value < 0, -1.0, 1.0)
            value = sign * tensors[f"{key}.wscale"] + tensors[f"{key}.wbias"]
        plain[name] = value
    return plain


def llama(plain: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Return logits fp64 of int64 ``tokens [T]``: LLaMA from its definition, position by position.

    Rotary embedding turns the pairs (i, i + d/2) of a head as complex numbers by angle
    position·theta^(-2i/d), as in RoFormer (arXiv 2104.09864) with transformers' choice of pairs.
    """
    w = {name: value.double() for name, value in plain.items()}
    heads, dim = 4, 6

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    def turned(x: Tensor) -> Tensor:
        pairs = torch.complex(x[..., : dim // 2], x[..., dim // 2 :])
        position = torch.arange(len(x)).double()[:, None, None]
        angle = position * 10000.0 ** (-torch.arange(dim // 2).double() * 2 / dim)
        pairs = pairs * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([pairs.real, pairs.imag], dim=-1)

    x = w["model.embed_tokens.weight"][tokens]
    for i in range(2):
        prefix = f"model.layers.{i}."
        a = norm(x, w[prefix + "input_layernorm.weight"])
        q, k, v = (
            (a @ w[f"{prefix}self_attn.{n}_proj.weight"].T).view(-1, heads, dim) for n in "qkv"
        )
        q, k = turned(q), turned(k)
        rows = []
        for t in range(len(tokens)):
            share = (torch.einsum("hd,shd->hs", q[t], k[: t + 1]) / dim**0.5).softmax(-1)
            rows.append(torch.einsum("hs,shd->hd", share, v[: t + 1]).flatten())
        x = x + torch.stack(rows) @ w[prefix + "self_attn.o_proj.weight"].T
        a = norm(x, w[prefix + "post_attention_layernorm.weight"])
        gate = F.silu(a @ w[prefix + "mlp.gate_proj.weight"].T)
        up = a @ w[prefix + "mlp.up_proj.weight"].T
        x = x + (gate * up) @ w[prefix + "mlp.down_proj.weight"].T
    return norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T
