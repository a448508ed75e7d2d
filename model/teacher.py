"""The teacher: SmolLM2-135M read from its GGUF file into a plain torch module.

The file holds the query and key rows in the order of interleaved rotary embeddings; loading puts
them back into the rotate-half order, so that the teacher and the student share one ``rotate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golden.errors import InputError

from .gguf_reader import open_gguf, reading

if TYPE_CHECKING:
    from gguf import GGUFReader


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Shape of the teacher: LLaMA with grouped-query attention and a tied embedding."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    rope_theta: float
    eps: float

    @property
    def head_dim(self) -> int:
        """Elements of one attention head."""
        return self.hidden // self.heads


def rope_table(positions: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return rotate-half cosines and sines, each ``[positions, head_dim]`` fp32."""
    inverse = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle = torch.outer(torch.arange(positions, dtype=torch.float64), inverse)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos().float(), angle.sin().float()


class _Rotate(torch.autograd.Function):
    """``x·cos + (-high, low)·sin``. The gradient is written out: as autograd takes it, the halves
    become padded slices and a sum, a kernel ten times slower than memory (measured on an H200).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        low, high = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-high, low), dim=-1) * sin

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        low, high = (grad * sin).chunk(2, dim=-1)
        return grad * cos + torch.cat((high, -low), dim=-1), None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embedding to ``x [..., positions, head_dim]`` in its own dtype.

    The tables ``[positions, head_dim]`` get no gradient.
    """
    return _Rotate.apply(x, cos, sin)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return ``x / rms(x) * weight`` in `x`'s dtype; the mean square is taken in fp32."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * weight.float()).to(x.dtype)


def project_heads(
    x: Tensor, norm: Tensor, qkv: Tensor, cos: Tensor, sin: Tensor, config: TeacherConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return rotated queries, rotated keys and values, each ``[batch, heads, seq, head_dim]``."""
    kv = config.kv_heads * config.head_dim
    split = F.linear(rms_norm(x, norm, config.eps), qkv).split((config.hidden, kv, kv), dim=-1)
    q, k, v = (t.unflatten(-1, (-1, config.head_dim)).transpose(1, 2) for t in split)
    return rotate(q, cos, sin), rotate(k, cos, sin), v


def finish_layer(
    x: Tensor,
    attended: Tensor,
    out: Tensor,
    norm: Tensor,
    gate_up: Tensor,
    down: Tensor,
    eps: float,
) -> Tensor:
    """Add the attention output and the feed-forward block to ``x [batch, seq, hidden]``."""
    x = x + F.linear(attended, out)
    gate, up = F.linear(rms_norm(x, norm, eps), gate_up).chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * up, down)


class TeacherLayer(nn.Module):
    """One decoder layer of the teacher."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        kv = config.kv_heads * config.head_dim
        self.attention_norm = nn.Parameter(torch.ones(config.hidden))
        self.ffn_norm = nn.Parameter(torch.ones(config.hidden))
        self.qkv = nn.Linear(config.hidden, config.hidden + 2 * kv, bias=False)
        self.out = nn.Linear(config.hidden, config.hidden, bias=False)
        self.gate_up = nn.Linear(config.hidden, 2 * config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return ``[batch, seq, hidden]`` of ``x [batch, seq, hidden]``, causally."""
        q, k, v = project_heads(x, self.attention_norm, self.qkv.weight, cos, sin, self.config)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return finish_layer(
            x,
            y.transpose(1, 2).flatten(2),
            self.out.weight,
            self.ffn_norm,
            self.gate_up.weight,
            self.down.weight,
            self.config.eps,
        )


class Teacher(nn.Module):
    """The frozen teacher; `forward` gives hidden states, `logits` multiplies by the embedding."""

    def __init__(self, config: TeacherConfig, *, positions: int = 2048) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.zeros(config.vocab, config.hidden))
        self.layers = nn.ModuleList(TeacherLayer(config) for _ in range(config.layers))
        self.norm = nn.Parameter(torch.ones(config.hidden))
        cos, sin = rope_table(positions, config.head_dim, config.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return final normed hidden states ``[batch, seq, hidden]`` of ``tokens [batch, seq]``."""
        x = F.embedding(tokens, self.embedding)
        cos, sin = (t[: tokens.shape[1]].to(x.dtype) for t in (self.cos, self.sin))
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        """Return what the head reads of the last layer's ``x [batch, seq, hidden]``."""
        return rms_norm(x, self.norm, self.config.eps)

    def logits(self, tokens: Tensor) -> Tensor:
        """Return full-vocabulary logits ``[batch, seq, vocab]``."""
        return self(tokens) @ self.embedding.t()


def gguf_reader(path: Path) -> GGUFReader:
    """Open a GGUF file.

    Raises
    ------
    InputError
        If the file is missing or damaged, or is not a LLaMA model.
    """
    reader = open_gguf(path, "the teacher")
    with reading(path):
        architecture = reader.fields["general.architecture"].contents()
    if architecture != "llama":
        raise InputError(f"the teacher must be a llama GGUF, not {architecture!r}: {path}")
    return reader


def _rotate_half_rows(rows: np.ndarray, heads: int) -> np.ndarray:
    """Put interleaved rotary rows ``[heads·d, in]`` into rotate-half order."""
    out, width = rows.shape
    half = out // heads // 2
    return rows.reshape(heads, half, 2, width).swapaxes(1, 2).reshape(out, width)


def load_teacher(path: Path, *, positions: int = 2048) -> Teacher:
    """Read the teacher from a GGUF file, dequantized to fp32 on the CPU, frozen, in eval mode.

    Raises
    ------
    InputError
        If the file is missing or damaged, or is not a LLaMA model with a tied embedding.
    """
    reader = gguf_reader(path)
    with reading(path):
        return _built(reader, path, positions)


def _built(reader: GGUFReader, path: Path, positions: int) -> Teacher:
    from gguf import dequantize

    def field(name: str) -> Any:
        return reader.fields[f"llama.{name}"].contents()

    config = TeacherConfig(
        layers=field("block_count"),
        hidden=field("embedding_length"),
        heads=field("attention.head_count"),
        kv_heads=field("attention.head_count_kv"),
        ffn=field("feed_forward_length"),
        vocab=field("vocab_size"),
        rope_theta=field("rope.freq_base"),
        eps=field("attention.layer_norm_rms_epsilon"),
    )
    raw = {t.name: t for t in reader.tensors}
    if "output.weight" in raw:
        raise InputError(f"the teacher's embedding must be tied; {path} holds output.weight")

    def get(name: str) -> np.ndarray:
        tensor = raw[f"{name}.weight"]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    state = {"embedding": get("token_embd"), "norm": get("output_norm")}
    for i in range(config.layers):
        block = f"blk.{i}."
        q = _rotate_half_rows(get(block + "attn_q"), config.heads)
        k = _rotate_half_rows(get(block + "attn_k"), config.kv_heads)
        state |= {
            f"layers.{i}.attention_norm": get(block + "attn_norm"),
            f"layers.{i}.ffn_norm": get(block + "ffn_norm"),
            f"layers.{i}.qkv.weight": np.concatenate((q, k, get(block + "attn_v"))),
            f"layers.{i}.out.weight": get(block + "attn_output"),
            f"layers.{i}.gate_up.weight": np.concatenate(
                (get(block + "ffn_gate"), get(block + "ffn_up"))
            ),
            f"layers.{i}.down.weight": get(block + "ffn_down"),
        }
    # Sizes in the head are the file's word: nothing is made of them but what the tensors fill.
    with torch.device("meta"):
        teacher = Teacher(config, positions=positions)
    teacher.load_state_dict(
        {k: torch.from_numpy(np.array(v)) for k, v in state.items()}, assign=True
    )
    teacher.cos, teacher.sin = rope_table(positions, config.head_dim, config.rope_theta)
    return teacher.eval().requires_grad_(False)
