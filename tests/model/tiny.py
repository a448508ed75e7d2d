"""A teacher, a vocabulary, shards and a model shape small enough to train in a second."""

from __future__ import annotations

import numpy as np
import torch

from golden.config import ModelConfig
from model.data import Mixture
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
        **options):
    """Train the tiny model; return it, or the run before it starts."""
    training = Run(
        settings, config, mixture(settings.seed), VOCABULARY, teacher(), out,
        parallel=parallel, resume=resume,
    )  # fmt: skip
    return training if only_make else training.train(**options)
