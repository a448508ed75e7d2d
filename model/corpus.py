"""A folder of token shards, from packages and from the teacher's own writing: ``signacc data``.

The folder holds ``real-<source>.npy``, ``sampled-….npy``, ``seeds.npy`` (beginnings),
``held-out-hashes.npy`` (what training must not share with held-out text), ``held-out-sampled.npy``
(sampled rows kept for evaluation) and ``manifest.json``, which is written last.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import click
import numpy as np
import torch

from golden.errors import InputError
from golden.files import made_folder

from .checksums import file_hash
from .data import load_shard, save_shard
from .manifest import NAME, Manifest, Shard, describe, vocabulary_hash
from .overlap import NGRAM, HeldOut
from .seeds import seed_rows, seed_texts
from .teacher import gguf_reader
from .text import SOURCES, read_sources
from .tokenizer import END_OF_TEXT, Vocabulary, read_vocabulary

HASHES = "held-out-hashes.npy"
SEEDS = "seeds.npy"
HELD_SAMPLED = "held-out-sampled.npy"
_SAMPLED = re.compile(r"sampled-(\d+)(-\d+)?-\d+\.npy(\.xz)?")  # once with a rank between
LENGTH = 384
"""Teacher tokens of a row, if nothing else is asked for."""


def read_held_out(
    folder: Path | None, vocabulary: Vocabulary
) -> tuple[HeldOut, dict[str, dict[str, object]]]:
    """Return the n-grams of ``*.utf8`` texts in `folder`, and tokens and SHA-256 of each text."""
    if folder is None:
        return HeldOut.of([]), {}
    files = sorted(Path(folder).glob("*.utf8"))
    if not files:
        raise InputError(f"{folder} must hold held-out texts (*.utf8); it holds none")
    tokenizer = vocabulary.build()
    texts, entries = [], {}
    for file in files:
        data = file.read_bytes()
        try:
            ids = tokenizer.encode(data.decode("utf-8"), add_special_tokens=False).ids
        except UnicodeDecodeError as error:
            raise InputError(f"{file} must be UTF-8 text: {error}") from None
        texts.append(np.array(ids, dtype=np.uint16))
        entries[file.name] = {"tokens": len(ids), "sha256": sha256(data).hexdigest()}
    return HeldOut.of(texts), entries


def text_shards(
    tree: Path, out: Path, vocabulary: Vocabulary, held: HeldOut, *, length: int, seed: int,
    compress: bool,
) -> list[Shard]:  # fmt: skip
    """Tokenize the packages under `tree`, one shard a source, and the beginnings for sampling.

    Documents of a source are shuffled and joined, each after an end-of-text token, and cut into
    rows of `length`; rows that share text with held-out text are left out.
    """
    rng = np.random.default_rng(seed)
    tokenizer = vocabulary.build()
    end = vocabulary.tokens.index(END_OF_TEXT)
    documents = read_sources(tree)
    with made_folder(out):  # nothing is touched for a tree that is none
        shards = []
        for name, texts in documents.items():
            stream: list[int] = []
            encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            for place in rng.permutation(len(encoded)):
                stream += [end, *encoded[place].ids]
            whole = len(stream) // length
            rows = np.array(stream[: whole * length], dtype=np.uint16).reshape(-1, length)
            kept = held.clean(rows)
            if not len(kept):
                click.echo(f"{name}: no whole row of {length} tokens, left out")
                continue
            file = f"real-{name}.npy" + (".xz" if compress else "")
            save_shard(out / file, kept)
            source, licence = SOURCES[name]
            shard = describe(out, file, group="real", source=source, licence=licence,
                             dropped=len(rows) - len(kept))  # fmt: skip
            click.echo(f"{file}: {shard.tokens} tokens, {shard.dropped} rows shared held-out text")
            shards.append(shard)
        wordnet = tree / "usr/share/wordnet"
        if wordnet.is_dir():
            starts = seed_texts(wordnet, documents.get("wiki", []), rng)
            save_shard(out / SEEDS, rng.permutation(seed_rows(starts, tokenizer, end)))
    return shards


def unused_seed(shards: Iterable[Shard]) -> int:
    """Return the least seed above those of sampled shards: the same seed gives the same text."""
    names = (_SAMPLED.fullmatch(shard.file) for shard in shards)
    return max((int(name[1]) + 1 for name in names if name), default=0)


def write_samples(
    teacher: Path, seeds: Path, work: Path, *, text: int, seconds: float, shards: int | None,
    batch: int, seed: int,
) -> None:  # fmt: skip
    """Let the teacher write into folder `work`, on every GPU at once, or on the CPU.

    Raises
    ------
    InputError
        If it does not end well on every device.
    """
    command = [
        sys.executable, "-m", "model.sample", "--teacher", str(teacher), "--seeds", str(seeds),
        "--out", str(work), "--batch", str(batch), "--length", str(text), "--seconds",
        str(seconds), "--seed", str(seed),
        *(() if shards is None else ("--shards", str(shards))),
    ]  # fmt: skip
    devices = max(1, torch.cuda.device_count())
    running = [
        subprocess.Popen([*command, "--rank", str(rank), "--ranks", str(devices)])
        for rank in range(devices)
    ]
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.kill()
    if any(codes):
        raise InputError(f"sampling must end well on every device; it ended with {codes}")


def sampled_shards(
    teacher: Path, out: Path, work: Path, held: HeldOut, *, length: int, hold: int, compress: bool
) -> list[Shard]:  # fmt: skip
    """Make shards of what the teacher wrote into folder `work`; return them.

    Its texts, each after an end-of-text token, are joined and cut into rows of `length`: a small
    teacher begins to repeat itself in longer ones. Rows that share text with held-out text are
    left out.

    The first `hold` rows become ``held-out-sampled.npy``, if there is none, and are no shard's.
    """
    files = sorted(path for path in Path(work).glob("sampled-*") if _SAMPLED.fullmatch(path.name))
    if not files:
        raise InputError(f"{work} must hold shards of model.sample; it holds none")
    fields = gguf_reader(teacher).fields
    name, licence = (
        fields[key].contents() if key in fields else other
        for key, other in (("general.name", teacher.name), ("general.license", "as the teacher"))
    )
    shards = []
    for path in files:
        stream = np.array(load_shard(path)).flatten()
        rows = stream[: len(stream) // length * length].reshape(-1, length)
        if hold and not (out / HELD_SAMPLED).is_file():
            save_shard(out / HELD_SAMPLED, rows[:hold])
            rows = rows[hold:]
        kept = held.clean(rows)
        if len(kept):
            file = path.name.removesuffix(".xz") + (".xz" if compress else "")
            save_shard(out / file, kept)
            shards.append(describe(
                out, file, group="sampled", dropped=len(rows) - len(kept),
                source=f"sampled from {name}", licence=licence,
            ))  # fmt: skip
    return shards


def check_kept(out: Path, vocabulary: Vocabulary, length: int, ngram: int,
               held_out: Mapping[str, object]) -> tuple[Shard, ...]:  # fmt: skip
    """Return the sampled shards of a folder whose text shards are made anew; none if it is new.

    Raises
    ------
    InputError
        If there are some, and what is made now would not go with them.
    """
    if not (out / NAME).is_file():
        return ()
    manifest = Manifest.read(out)
    shards = tuple(shard for shard in manifest.shards if shard.group == "sampled")
    if not shards:
        return ()
    same_text = (manifest.ngram, manifest.held_out) == (ngram, held_out)
    for what, same in (
        ("of another vocabulary", manifest.vocabulary == vocabulary_hash(vocabulary)),
        (f"in rows of {manifest.length} tokens, not {length}", manifest.length == length),
        ("cleaned of other held-out text", same_text),
    ):
        if not same:
            raise InputError(
                f"{out} holds {len(shards)} sampled shards, {what}: they cannot be kept; make the "
                "new ones in another folder"
            )
    return shards


def check_new(manifest: Manifest, work: Path) -> None:
    """Refuse a folder of sampled shards if one of them is in the manifest already."""
    known = {shard.file.removesuffix(".xz") for shard in manifest.shards}
    for path in sorted(Path(work).glob("sampled-*")):
        if path.name.removesuffix(".xz") in known:
            raise InputError(
                f"{path} would replace a shard of that name: sample with another --seed, or give "
                "a folder with new shards alone"
            )


def prepare(
    teacher: Path, out: Path, *, tree: Path | None, held_out: Path | None, length: int | None,
    sampled: Path | None = None, sample_seconds: float, sample_shards: int | None = None,
    sample_batch: int, sample_length: int, hold_rows: int, compress: bool, seed: int | None,
) -> Manifest:  # fmt: skip
    """Make a folder of shards, or add to it; return its manifest, which is written last.

    Parameters are the options of ``signacc data``; None stands for an option that is not given.

    Raises
    ------
    InputError
        If an option breaks its rule or does not go with what is in `out`, or sampling fails.
    """
    if length is not None and length < NGRAM:
        raise InputError(f"length must be at least {NGRAM}, not {length}")
    if not 0 <= sample_seconds < 1e6 or sample_batch < 1 or hold_rows < 0:
        raise InputError("sample-seconds, sample-batch and hold-rows must not be negative")
    if sample_shards is not None and sample_shards < 1:
        raise InputError(f"sample-shards must be at least 1, not {sample_shards}")
    sampling = bool(sample_seconds) or sample_shards is not None
    if sampled is not None and sampling:
        raise InputError(
            "give --sampled, or --sample-seconds and --sample-shards, not both: one call adds one "
            "of them"
        )
    if sample_length < 4:
        raise InputError(f"sample-length must be at least 4, not {sample_length}")
    vocabulary = read_vocabulary(teacher)
    if tree is not None:
        length = LENGTH if length is None else length
        held, entries = read_held_out(held_out, vocabulary)
        kept = check_kept(out, vocabulary, length, held.n, entries)
        shards = text_shards(tree, out, vocabulary, held, length=length, seed=seed or 0,
                             compress=compress)  # fmt: skip
        held.save(out / HASHES)
        manifest = Manifest(
            vocabulary=vocabulary_hash(vocabulary), vocabulary_size=len(vocabulary.tokens),
            length=length, shards=(*shards, *kept), ngram=held.n, held_out=entries,
        )  # fmt: skip
    else:
        if held_out is not None:
            raise InputError("held-out text is given with --tree, when shards are first made")
        if compress and sampled is None and not sampling:
            raise InputError("--compress is of shards that are made: give --tree, or what to add")
        manifest = Manifest.read(out)
        if manifest.vocabulary != vocabulary_hash(vocabulary):
            raise InputError(f"{out} holds tokens of another vocabulary than {teacher}")
        if length not in (None, manifest.length):
            raise InputError(
                f"length must be that of the shards in {out}, {manifest.length}, not {length}; it "
                "is chosen with --tree, when shards are first made"
            )
        held = HeldOut.load(manifest.check_other(out, HASHES), manifest.ngram)
    if sampling or sampled is not None:
        with tempfile.TemporaryDirectory(prefix=".sampled.", dir=out) as work:
            if sampling:
                if not (out / SEEDS).is_file():
                    raise InputError(
                        f"sampling needs {SEEDS} in {out}: make it with --tree and wordnet-base"
                    )
                write_samples(
                    teacher, manifest.check_other(out, SEEDS), Path(work), text=sample_length,
                    seconds=sample_seconds or math.inf, shards=sample_shards, batch=sample_batch,
                    seed=unused_seed(manifest.shards) if seed is None else seed,
                )  # fmt: skip
            else:
                check_new(manifest, sampled)
            added = sampled_shards(
                teacher, out, Path(work) if sampled is None else sampled, held, compress=compress,
                length=manifest.length, hold=hold_rows,
            )  # fmt: skip
        new = {shard.file for shard in added}
        kept = tuple(shard for shard in manifest.shards if shard.file not in new)
        manifest = replace(manifest, shards=(*kept, *added))
    beside = (out / name for name in (HASHES, SEEDS, HELD_SAMPLED))
    manifest = replace(
        manifest, others={path.name: file_hash(path) for path in beside if path.is_file()}
    )
    manifest.write(out)
    return manifest
