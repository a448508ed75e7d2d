"""A published FBI-LLM checkpoint as a packed model folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from golden.config import ModelConfig
from golden.errors import InputError
from golden.generate import load_tokenizer

from .export import Packer, check_replaceable, write_packed
from .published import DROPPED, latent_tensors, read_config
from .shards import open_checkpoint, read_tensors


@dataclass(frozen=True)
class ImportReport:
    """What an import found.

    Attributes
    ----------
    config
        Shape of the model.
    shards, tensors
        Files read, tensors taken from them.
    dropped
        Rotary buffers that were left out.
    latent_zeros
        Latent weights of exactly 0, packed as +1.
    tokenizer
        Whether the folder has a tokenizer.
    """

    config: ModelConfig
    shards: int
    tensors: int
    dropped: int
    latent_zeros: int
    tokenizer: bool


def import_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    tokenizer: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Write the packed model of a published checkpoint to the folder `output`.

    Shards are read one at a time, and tensors one at a time from each: memory holds the packed
    model, one fp32 tensor and, of a shard, what the system keeps mapped. Signs are taken from the
    fp32 latents; scales, norms, embedding and head become fp16, as published inference casts them.

    Parameters
    ----------
    tokenizer
        A ``tokenizer.json``; by default the checkpoint's own, if it has one.
    progress
        Called with (tensors done, tensors in all).

    Raises
    ------
    InputError
        If the checkpoint or tokenizer is damaged or none, or a tensor is missing, unknown, there
        twice, of another shape or type than the configuration asks for, or not finite. `output` is
        then left as it was.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    files = open_checkpoint(checkpoint)
    config = read_config(checkpoint)
    extra = _tokenizer_files(checkpoint, tokenizer, config)
    check_replaceable(output)
    packer = Packer(config)
    total = len(latent_tensors(config))
    done = dropped = 0
    for file, name, tensor in read_tensors(files):
        if DROPPED.fullmatch(name):
            dropped += 1
            continue
        where = checkpoint / file
        kind = (tensor.dtype, tensor.layout, tensor.device.type)
        if kind != (torch.float32, torch.strided, "cpu"):
            raise InputError(
                f"{where}: {name} must be dense float32 (fp16 would lose the signs of tiny "
                f"latents), not {', '.join(map(str, kind))}"
            )
        # A view of one value can have any shape: a small file must not fill the memory.
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
            raise InputError(
                f"{where}: {name} must hold a value for each element of {list(tensor.shape)}, not "
                f"repeat some"
            )
        try:
            packer.add(name, tensor)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        done += 1
        if progress is not None:
            progress(done, total)
    if packer.missing:
        raise InputError(
            f"a checkpoint must hold every tensor that config.json asks for; "
            f"{len(packer.missing)} missing in {checkpoint}, first {packer.missing[0]}"
        )
    write_packed(packer.tensors, packer.metadata(), config, output, extra_files=extra)
    return ImportReport(
        config, len(files.shards), done, dropped, packer.latent_zeros, bool(extra)
    )


def _tokenizer_files(
    checkpoint: Path, tokenizer: Path | None, config: ModelConfig
) -> dict[str, str]:
    """Return the text of ``tokenizer.json``, if there is one, after checking that it fits."""
    if tokenizer is None:
        tokenizer = checkpoint / "tokenizer.json"
        if not tokenizer.is_file():
            return {}
    path = Path(tokenizer)
    load_tokenizer(path, config)
    return {"tokenizer.json": path.read_text(encoding="utf-8")}
