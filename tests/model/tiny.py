"""A teacher, a vocabulary, shards and a model shape small enough to train in a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from golden.config import ModelConfig
from model.data import Mixture, save_shard
from model.manifest import Manifest, describe, vocabulary_hash
from model.settings import TrainSettings
from model.teacher import Teacher, TeacherConfig
from model.tokenizer import Vocabulary
from model.train import Run

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = (("t", "h"), ("th", "e"), ("a", "n"), ("the", "an"), ("the", "n"), ("an", "then"))
BYTES = tuple("abcdehnt \n")
VOCABULARY = Vocabulary((*SPECIAL, *BYTES, *("".join(m) for m in MERGES)), MERGES, SPECIAL)
SIZE = 16
"""Cut vocabulary: special tokens, bytes, and the merges th, the, an."""

CONFIG = ModelConfig(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    vocab_size=SIZE,
    max_position_embeddings=12,
)
TEACHER = TeacherConfig(
    layers=2, hidden=24, heads=6, kv_heads=2, ffn=32, vocab=19, rope_theta=1e4, eps=1e-5
)


def teacher(seed: int = 0) -> Teacher:
    torch.manual_seed(seed)
    model = Teacher(TEACHER, positions=64)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def rows(count: int, length: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 19, (count, length)).astype(np.uint16)


SETTINGS = TrainSettings(
    steps=40, batch=8, context=12, lr=1e-2, lr_min=1e-3, warmup=4, seed=3, log_every=5,
    checkpoint_every=20,
)  # fmt: skip


def mixture(seed: int = SETTINGS.seed) -> Mixture:
    return Mixture([rows(24, seed=1)], [rows(16, seed=2)], 0.25, seed)


def run(out, settings=SETTINGS, config=CONFIG, *, resume=False, parallel="auto", only_make=False,
        carry=None, **options):
    """Train the tiny model; return it, or the run before it starts."""
    training = Run(
        settings, config, mixture(settings.seed), VOCABULARY, teacher(), out,
        parallel=parallel, resume=resume, carry=carry,
    )  # fmt: skip
    return training if only_make else training.train(**options)


def write_data(folder: Path, array: np.ndarray, *, group: str = "sampled",
               licence: str = "-") -> None:  # fmt: skip
    """Write a folder of one shard, with its manifest, over what is there."""
    folder.mkdir(exist_ok=True)
    save_shard(folder / "a.npy", array)
    shard = describe(folder, "a.npy", group=group, source="-", licence=licence)
    Manifest(
        vocabulary=vocabulary_hash(VOCABULARY), vocabulary_size=TEACHER.vocab,
        length=array.shape[1], shards=(shard,),
    ).write(folder)  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Write what a training in small is given: t.gguf, data and shape.json."""
    write_gguf(folder / "t.gguf")
    write_data(folder / "data", rows(40))
    (folder / "shape.json").write_text(json.dumps(CONFIG.to_dict()))


def write_gguf(path, vocabulary: Vocabulary = VOCABULARY) -> None:
    """Write the tiny teacher as a GGUF file; rotary rows stay as they are, so it is another one."""
    from gguf import GGUFWriter

    model, c = teacher(), TEACHER
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_license("CC0")
    writer.add_block_count(c.layers)
    writer.add_embedding_length(c.hidden)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_feed_forward_length(c.ffn)
    writer.add_vocab_size(c.vocab)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_layer_norm_rms_eps(c.eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types([3 if t in vocabulary.special else 1 for t in vocabulary.tokens])
    writer.add_token_merges([" ".join(m) for m in vocabulary.merges])
    kv = c.kv_heads * c.head_dim
    tensors = {"token_embd": model.embedding, "output_norm": model.norm}
    for i, layer in enumerate(model.layers):
        q, k, v = layer.qkv.weight.split((c.hidden, kv, kv))
        gate, up = layer.gate_up.weight.chunk(2)
        tensors |= {
            f"blk.{i}.attn_norm": layer.attention_norm, f"blk.{i}.ffn_norm": layer.ffn_norm,
            f"blk.{i}.attn_q": q, f"blk.{i}.attn_k": k, f"blk.{i}.attn_v": v,
            f"blk.{i}.attn_output": layer.out.weight, f"blk.{i}.ffn_gate": gate,
            f"blk.{i}.ffn_up": up, f"blk.{i}.ffn_down": layer.down.weight,
        }  # fmt: skip
    for name, value in tensors.items():
        writer.add_tensor(f"{name}.weight", np.ascontiguousarray(value.detach().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
