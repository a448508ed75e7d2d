"""Training text sampled from the teacher, many sequences at once, with a key/value cache.

``signacc data`` runs ``python -m model.sample`` once per GPU: ``--rank`` 0, 1, … of ``--ranks``.
What a shard holds follows from seed and number alone, not from how many devices share the work:
the same seed and count of shards give the same text again on the same kind of device.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from golden.errors import InputError
from golden.files import made_folder

from .data import load_seeds, save_shard
from .errors import told
from .teacher import Teacher, finish_layer, load_teacher, project_heads, rms_norm

END_OF_TEXT = 0
CHAT_END = 2
FIRST_WORD_ID = 17  # ids below are special tokens


KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Without cuDNN's attention, which would make a plan for each shape."""

SPAN = 32
"""Positions of the cache that a step reads are a multiple of it: a graph is made for each."""


class Sampler:
    """Decodes `batch` sequences in step, with a cache of static size.

    On a GPU a step is recorded once as a CUDA graph for each `SPAN` of positions, and replayed:
    launched one by one, its hundreds of small kernels leave an H200 idle most of the time.

    Parameters
    ----------
    teacher : Teacher on the device and in the dtype to decode with
    batch, length : sequences and tokens per sequence, the first token included
    temperature : softmax temperature, > 0
    min_p : tokens less likely than ``min_p`` times the likeliest one are not drawn, 0 ≤ min_p < 1
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        batch: int,
        length: int,
        temperature: float = 1.0,
        min_p: float = 0.0,
        compiled: bool = False,
    ) -> None:
        if not temperature > 0:
            raise InputError(f"temperature must be above 0, not {temperature}")
        if not 0 <= min_p < 1:
            raise InputError(f"min_p must be at least 0 and below 1, not {min_p}")
        if not 2 <= length <= len(teacher.cos):
            raise InputError(f"length must be 2 to {len(teacher.cos)} tokens, not {length}")
        c = teacher.config
        self.teacher, self.batch, self.length = teacher, batch, length
        self.temperature, self.min_p = temperature, min_p
        weight = teacher.embedding
        shape = (c.layers, batch, c.kv_heads, length, c.head_dim)
        self.keys = torch.zeros(shape, device=weight.device, dtype=weight.dtype)
        self.values = torch.zeros_like(self.keys)
        self.out = torch.zeros((batch, length), dtype=torch.int64, device=weight.device)
        self.count = torch.ones(batch, dtype=torch.int64, device=weight.device)
        self.position = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self._cos, self._sin = (t.to(weight.dtype) for t in (teacher.cos, teacher.sin))
        wrap = torch.compile if compiled else (lambda function: function)
        self._heads, self._finish = wrap(project_heads), wrap(finish_layer)
        self._pick = wrap(self._draw)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def _draw(self, x: Tensor) -> Tensor:
        logits = (x[:, 0] @ self.teacher.embedding.t()).float() / self.temperature
        banned = torch.arange(logits.shape[1], device=x.device)
        banned = (banned < FIRST_WORD_ID) & (banned != END_OF_TEXT) & (banned != CHAT_END)
        logits = logits.masked_fill(banned, -torch.inf)
        if self.min_p:
            floor = logits.amax(-1, keepdim=True) + float(np.log(self.min_p))
            logits = logits.masked_fill(logits < floor, -torch.inf)
        noise = torch.rand_like(logits).clamp_min(1e-20).log().neg().clamp_min(1e-20).log()
        picked = (logits - noise).argmax(-1)
        return torch.where(picked == CHAT_END, END_OF_TEXT, picked)

    def _step(self, span: int) -> None:
        """Read the token at `position`, write the one after it, and move on; all on the device.

        The cache is read up to `span`; a mask hides what lies behind the position.
        """
        t, c, at = self.teacher, self.teacher.config, self.position
        x = F.embedding(self.out.index_select(1, at), t.embedding)
        cos, sin = self._cos.index_select(0, at), self._sin.index_select(0, at)
        hidden = torch.arange(span, device=x.device) > at
        mask = torch.zeros(span, device=x.device, dtype=x.dtype).masked_fill(hidden, -torch.inf)
        for i, layer in enumerate(t.layers):
            q, k, v = self._heads(x, layer.attention_norm, layer.qkv.weight, cos, sin, c)
            self.keys[i].index_copy_(2, at, k)
            self.values[i].index_copy_(2, at, v)
            # the heads of a group become the queries of one key/value head
            q = q.reshape(self.batch, c.kv_heads, -1, c.head_dim)
            y = F.scaled_dot_product_attention(
                q,
                self.keys[i, :, :, :span],
                self.values[i, :, :, :span],
                attn_mask=mask.expand(self.batch, c.kv_heads, q.shape[2], span),
            )
            x = self._finish(
                x,
                y.reshape(self.batch, 1, c.hidden),
                layer.out.weight,
                layer.ffn_norm,
                layer.gate_up.weight,
                layer.down.weight,
                c.eps,
            )
        picked = self._pick(rms_norm(x, t.norm, c.eps))
        at.add_(1)
        given = self.out.index_select(1, at)[:, 0]
        self.out.index_copy_(1, at, torch.where(at < self.count, given, picked)[:, None])

    def _advance(self, span: int, steps: int) -> None:
        """Take `steps` steps within a span; the first ones of a GPU's first time warm it up."""
        if self.out.device.type == "cuda":
            if span not in self._graphs and steps > 2:
                for _ in range(2):
                    self._step(span)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):  # records, computes nothing
                    self._step(span)
                self._graphs[span], steps = graph, steps - 2
            if span in self._graphs:
                for _ in range(steps):
                    self._graphs[span].replay()
                return
        for _ in range(steps):
            self._step(span)

    @torch.no_grad()
    def record(self) -> None:
        """Record every graph ahead, on a GPU: then no run differs from another by recording."""
        steps = 3  # as few as record one
        if self.out.device.type == "cuda" and self.length > steps:
            with sdpa_kernel(KERNELS):
                for start in range(0, self.length - 1, SPAN):
                    self.position.zero_()
                    self._advance(min(start + SPAN, self.length), steps)

    @torch.no_grad()
    def run(self, seeds: Tensor, count: Tensor) -> Tensor:
        """Decode one batch.

        Parameters
        ----------
        seeds : int64 ``[batch, width]``, forced first tokens of each sequence
        count : int64 ``[batch]``, how many of them are forced, 1 to width

        Returns
        -------
        int64 ``[batch, length]``
        """
        width = min(seeds.shape[1], self.length)
        self.out.zero_()
        self.out[:, :width] = seeds[:, :width]
        self.count.copy_(count)
        self.position.zero_()
        with sdpa_kernel(KERNELS):
            for start in range(0, self.length - 1, SPAN):
                end = min(start + SPAN, self.length)
                self._advance(end, min(SPAN, self.length - 1 - start))
        return self.out.clone()


def keep_varied(tokens: Tensor, *, least: float = 0.55) -> Tensor:
    """Return the rows of ``tokens [n, length]`` whose share of distinct trigrams is ≥ `least`."""
    base = tokens.long()
    grams = base[:, :-2] * 49157 * 49157 + base[:, 1:-1] * 49157 + base[:, 2:]
    grams = grams.sort(dim=1).values
    distinct = 1 + (grams[:, 1:] != grams[:, :-1]).sum(1)
    return tokens[distinct >= least * grams.shape[1]]


def sample_shards(
    teacher: Teacher,
    seeds: Path,
    out: Path,
    *,
    batch: int,
    length: int,
    temperature: float,
    min_p: float,
    seconds: float,
    shards: int | None,
    rank: int,
    ranks: int,
    seed: int,
    say: Callable[[str], None],
) -> int:
    """Write shards ``sampled-<seed>-<number>.npy``; return how many.

    A shard that `out` holds is not made again.

    Parameters
    ----------
    teacher : on the device and in the dtype to decode with
    seeds : shard of beginnings, see `model.data.load_seeds`
    batch, length, temperature, min_p : see `Sampler`
    seconds : no batch is begun that would end after this; one is always made; may be infinite
    shards : how many there are to be, of all ranks together; None for as many as the time allows
    rank, ranks : this process makes the numbers rank, rank + ranks, rank + 2·ranks, …
    seed : decides, with a shard's number, its beginnings and draws

    Raises
    ------
    InputError
        If a number breaks its rule.
    """
    if not 0 <= rank < ranks:
        raise InputError(f"rank must be at least 0 and below the {ranks} ranks, not {rank}")
    if shards is not None and shards < 1:
        raise InputError(f"shards must be at least 1, not {shards}")
    start = time.monotonic()
    device = teacher.embedding.device
    forced, width = load_seeds(seeds)
    sampler = Sampler(
        teacher, batch=batch, length=length, temperature=temperature, min_p=min_p,
        compiled=device.type == "cuda",
    )  # fmt: skip
    sampler.record()
    with made_folder(out):
        made = 0
        for number in itertools.count(rank, ranks):
            if shards is not None and number >= shards:
                return made
            file = out / f"sampled-{seed}-{number:04d}.npy"
            if file.is_file():
                continue
            rng = np.random.default_rng((seed, number))
            torch.manual_seed(int(rng.integers(2**63)))
            rows = rng.integers(0, len(forced), batch)
            count = np.minimum(width[rows], 1 + rng.integers(0, forced.shape[1], batch))
            count = np.maximum(count, np.minimum(width[rows], 4))
            picked = torch.from_numpy(forced[rows].astype(np.int64)).to(device)
            tokens = sampler.run(picked, torch.from_numpy(count).to(device))
            kept = keep_varied(tokens).cpu().numpy().astype(np.uint16)
            if len(kept):
                save_shard(file, kept)
            elapsed = time.monotonic() - start
            made += 1
            say(f"device {rank}, shard {number}: kept {len(kept)}/{batch}, {elapsed:.0f} s")
            if elapsed * (1 + 1 / made) > seconds:
                return made
    raise AssertionError("numbers do not end")


@click.command()
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="GGUF file.")
@click.option("--seeds", type=click.Path(path_type=Path), required=True, help="Seeds (.npy).")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Shard folder.")
@click.option("--batch", default=4096, show_default=True)
@click.option("--length", default=384, show_default=True, help="Teacher tokens a sequence.")
@click.option("--temperature", default=0.9, show_default=True)
@click.option("--min-p", default=0.05, show_default=True)
@click.option("--seconds", type=float,
              help="Begin no batch that would end later [default: 180; no limit with --shards].")
@click.option("--shards", type=int, help="Shards of all ranks together [default: no limit].")
@click.option("--rank", default=0, show_default=True)
@click.option("--ranks", default=1, show_default=True, help="Processes that share the shards.")
@click.option("--seed", default=0, show_default=True)
@told()
def main(teacher: Path, seeds: Path, out: Path, rank: int, seconds: float | None,
         shards: int | None, **options: Any) -> None:  # fmt: skip
    """Sample shards of teacher text on one device until they are there, or the time is over."""
    if seconds is None:
        seconds = 180.0 if shards is None else math.inf
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", rank % torch.cuda.device_count()) if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(device)
    model = load_teacher(teacher).to(device, torch.bfloat16 if cuda else torch.float32)
    sample_shards(
        model, seeds, out, rank=rank, seconds=seconds, shards=shards, say=click.echo, **options
    )


if __name__ == "__main__":
    main()
