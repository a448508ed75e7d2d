"""A packed model folder read back as the float FBI-LLM."""

from __future__ import annotations

from pathlib import Path

import torch
from golden.config import FBI_LINEARS, ModelConfig, linear_key
from golden.errors import InputError
from golden.pack import unpack_signs
from safetensors import SafetensorError, safe_open

from .export import FORMAT
from .fbi import FbiLlm


def load_float(folder: Path) -> FbiLlm:
    """Load a packed folder as the float FBI-LLM: fp32 on the CPU, plain linears that hold W~.

    ``W~ = scale_in·s + shift_in`` is computed in fp32 from the stored fp16 values; embedding, norms
    and head are the stored fp16 values widened to fp32.

    Raises
    ------
    InputError
        If a file or tensor is missing, or has a wrong shape, type or format.
    """
    folder = Path(folder)
    config = ModelConfig.from_folder(folder)
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(f"a packed model must hold model.safetensors; there is none in {folder}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} must be a safetensors file: {error}") from None
    wanted = {"format": FORMAT, "version": "1", "bit_order": "lsb-first", "polarity": "1=+1"}
    for key, value in wanted.items():
        if metadata.get(key) != value:
            raise InputError(f"{path}: {key} must be {value!r}, not {metadata.get(key)!r}")
    state: dict[str, torch.Tensor] = {}
    for layer in range(config.num_hidden_layers):
        for linear in FBI_LINEARS:
            prefix = linear_key(layer, linear)
            outputs, inputs = config.linear_shape(linear)
            try:
                signs, scale, shift = (
                    tensors.pop(f"{prefix}.{part}") for part in ("signs", "scale_in", "shift_in")
                )
            except KeyError as error:
                raise InputError(f"{path} must hold {error}; it does not") from None
            bits = unpack_signs(signs, inputs)
            if len(bits) != outputs or scale.shape != (inputs,) or shift.shape != (inputs,):
                raise InputError(f"{path}: {prefix} must have {outputs} outputs, {inputs} inputs")
            state[f"{prefix}.weight"] = scale.float() * bits + shift.float()
    state |= {name: value.float() for name, value in tensors.items()}
    with torch.device("meta"):
        model = FbiLlm(config, binary=False)
    model = model.to_empty(device="cpu")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit its config.json: {error}") from None
    model.reset_rope()
    return model.eval().requires_grad_(False)
