"""Packed models: sign bits, input scales and shifts, fp16 everything else; never a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import InputError
from golden.files import made_folder
from golden.folder import FORMAT, METADATA
from golden.pack import pack_signs

from .files import put_folder, work_folder
from .published import latent_tensors


class Packer:
    """Turns the tensors of an fp32 FBI-LLM into those of a packed model, one by one.

    Attributes
    ----------
    tensors
        The packed tensors so far, by name.
    latent_zeros
        Latent weights that are exactly 0; they are packed as +1.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.tensors: dict[str, Tensor] = {}
        self.latent_zeros = 0
        self._shapes = latent_tensors(config)
        self._added: set[str] = set()

    def add(self, name: str, value: Tensor) -> None:
        """Pack the tensor called `name` in the published layout; fp32 on the CPU.

        Signs are taken from the fp32 values: a cast to fp16 would lose tiny latents.

        Raises
        ------
        InputError
            If the model has no such tensor, it came before, or it is of the wrong shape, not
            finite, or too large for fp16.
        """
        if name not in self._shapes:
            raise InputError(f"{name} is no tensor of this model")
        if name in self._added:
            raise InputError(f"{name} must be there once; it is there again")
        if tuple(value.shape) != self._shapes[name]:
            raise InputError(
                f"{name} must have shape {self._shapes[name]}, not {tuple(value.shape)}"
            )
        key, _, part = name.rpartition(".")
        value = value.detach().float().cpu()
        if f"{key}.wscale" not in self._shapes:  # an embedding, a norm or the head
            self.tensors[name] = self._half(name, value)
        elif part == "weight":
            # Both read without a copy; a NaN is the smallest and the largest of all.
            if not all(bound.isfinite() for bound in value.aminmax()):
                raise InputError(f"{name} must be finite; it holds NaN or Inf")
            self.latent_zeros += value.numel() - int(value.count_nonzero())
            self.tensors[f"{key}.signs"] = pack_signs(value)
        else:
            ours = {"wscale": "scale_in", "wbias": "shift_in"}[part]
            self.tensors[f"{key}.{ours}"] = self._half(name, value[0])
        self._added.add(name)

    @property
    def missing(self) -> list[str]:
        """Names that were not added yet."""
        return [name for name in self._shapes if name not in self._added]

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the packed file; all tensors must have been added."""
        return {**METADATA, "latent_zeros": str(self.latent_zeros)}

    @staticmethod
    def _half(name: str, value: Tensor) -> Tensor:
        result = value.to(torch.float16)
        if not result.isfinite().all():
            raise InputError(f"{name} must be finite in fp16; it holds NaN, Inf or above 65504")
        return result.contiguous()


def packed_tensors(
    state: dict[str, Tensor], config: ModelConfig
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata of a packed ``model.safetensors``.

    Parameters
    ----------
    state : parameters by published name, fp32 on the CPU: ``{prefix}.weight [N, K]``,
        ``.wscale`` and ``.wbias [1, K]``, norms, embedding, head

    Raises
    ------
    InputError
        If a tensor is missing, of the wrong shape, not finite, or too large for fp16.
    """
    packer = Packer(config)
    for name in packer.missing:
        if name not in state:
            raise InputError(f"a model to pack must hold {name}; it does not")
        packer.add(name, state[name])
    return packer.tensors, packer.metadata()


def export_packed(
    state: dict[str, Tensor],
    config: ModelConfig,
    folder: Path,
    *,
    extra_files: dict[str, str] | None = None,
    extra_config: dict[str, object] | None = None,
) -> Path:
    """Write a packed model folder under a temporary name beside `folder`, then rename it.

    Parameters
    ----------
    state : parameters by published name (see `packed_tensors`)
    folder : the folder to write; one that is there already is replaced
    extra_files : text files to put in it by name, e.g. ``tokenizer.json``
    extra_config : further keys of ``config.json``

    Returns
    -------
    Path of the folder.

    Raises
    ------
    InputError
        If the model cannot be packed, or `folder` holds something that is no packed model; it is
        left as it was.
    OSError
        If the disk is full or the folder cannot be written; it is left as it was.
    """
    tensors, metadata = packed_tensors(state, config)
    return write_packed(
        tensors, metadata, config, folder, extra_files=extra_files, extra_config=extra_config
    )


def check_replaceable(folder: Path) -> None:
    """Raise InputError unless `folder` is free to be written: absent, empty, or a packed model."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise InputError(f"a model is written as a folder; {folder} is something else")
    held = {path.name for path in folder.iterdir()}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if held and not (isinstance(config, dict) and config.get("format") == FORMAT):
        raise InputError(
            f"the output must be a new folder or a packed model to replace; {folder} holds "
            "something else"
        )


def _order_metadata(path: Path) -> None:
    """Write the header again, in place, with its metadata in order.

    The library's order is another one in every process: the same model would be another file.
    """
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:  # as the library writes it; blanks fill it up to a multiple of 8
            file.seek(8)
            file.write(text.ljust(size))


def write_packed(
    tensors: dict[str, Tensor],
    metadata: dict[str, str],
    config: ModelConfig,
    folder: Path,
    *,
    extra_files: dict[str, str] | None = None,
    extra_config: dict[str, object] | None = None,
) -> Path:
    """Write packed tensors as a folder: see :func:`export_packed`."""
    folder = Path(folder)
    check_replaceable(folder)
    data = {
        "format": FORMAT,
        "architectures": ["FbiLlmForCausalLM"],
        "model_type": "fbi-llm",
        **config.to_dict(),
        **(extra_config or {}),
    }
    data["format"] = FORMAT  # by which a folder is known, and may be replaced
    files = {"config.json": json.dumps(data, indent=1) + "\n", **(extra_files or {})}
    with made_folder(folder.parent):
        try:
            with work_folder(folder) as work:
                _write(work, tensors, metadata, files)
                put_folder(work, folder)
        except SafetensorError as error:  # a full disk is no OSError there
            raise OSError(f"{folder} cannot be written: {error}") from None
    return folder


def _write(
    work: Path, tensors: dict[str, Tensor], metadata: dict[str, str], files: dict[str, str]
) -> None:
    """Write a packed model's files to a folder, and put them on disk."""
    save_file(tensors, work / "model.safetensors", metadata=metadata)
    _order_metadata(work / "model.safetensors")
    for name, text in files.items():
        (work / name).write_text(text, encoding="utf-8")
    work.chmod(0o755)
    for file in work.iterdir():
        file.chmod(0o644)
        with open(file, "rb") as written:
            os.fsync(written.fileno())
