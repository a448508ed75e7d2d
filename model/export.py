"""Packed models: sign bits, input scales and shifts, fp16 everything else; never a pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from golden.config import FBI_LINEARS, ModelConfig, linear_key
from golden.errors import InputError
from golden.folder import FORMAT, METADATA, expected_tensors
from golden.pack import pack_signs


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

    def take(name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in state:
            raise InputError(f"a model to pack must hold {name}; it does not")
        value = state[name].detach()
        if tuple(value.shape) != shape:
            raise InputError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
        return value.float().cpu()

    def half(name: str, value: Tensor) -> Tensor:
        result = value.to(torch.float16)
        if not result.isfinite().all():
            raise InputError(f"{name} must be finite in fp16; it holds NaN, Inf or above 65504")
        return result.contiguous()

    tensors = {
        name: half(name, take(name, shape))
        for name, (_, shape) in expected_tensors(config).items()
        if name.endswith(".weight")  # all but the parts of FBI-linears
    }
    zeros = 0
    for layer in range(config.num_hidden_layers):
        for linear in FBI_LINEARS:
            outputs, inputs = config.linear_shape(linear)
            prefix = linear_key(layer, linear)
            weight = take(f"{prefix}.weight", (outputs, inputs))
            zeros += int((weight == 0).sum())
            tensors[f"{prefix}.signs"] = pack_signs(weight)
            for ours, theirs in (("scale_in", "wscale"), ("shift_in", "wbias")):
                value = take(f"{prefix}.{theirs}", (1, inputs))[0]
                tensors[f"{prefix}.{ours}"] = half(f"{prefix}.{theirs}", value)
    return tensors, {**METADATA, "latent_zeros": str(zeros)}


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
        If the model cannot be packed; `folder` is left as it was.
    """
    tensors, metadata = packed_tensors(state, config)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "format": FORMAT,
        "architectures": ["FbiLlmForCausalLM"],
        "model_type": "fbi-llm",
        **config.to_dict(),
        **(extra_config or {}),
    }
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file(tensors, work / "model.safetensors", metadata=metadata)
        (work / "config.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        for name, text in (extra_files or {}).items():
            (work / name).write_text(text, encoding="utf-8")
        work.chmod(0o755)
        for file in work.iterdir():
            file.chmod(0o644)
        if folder.exists():
            old = work.with_name(work.name + ".old")
            os.replace(folder, old)
            os.replace(work, folder)
            shutil.rmtree(old)
        else:
            os.replace(work, folder)
    finally:
        if work.exists():
            shutil.rmtree(work)
    return folder
