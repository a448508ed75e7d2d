"""A packed model folder read back as the float FBI-LLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from golden.config import linear_key
from golden.folder import load_packed
from golden.pack import unpack_signs

from .fbi import FbiLlm


def load_float(folder: Path) -> FbiLlm:
    """Load a packed folder as the float FBI-LLM: fp32 on the CPU, plain linears that hold W~.

    ``W~ = scale_in·s + shift_in`` is computed in fp32 from the stored fp16 values; embedding, norms
    and head are the stored fp16 values widened to fp32. Callable: int64 tokens ``[batch, seq]`` to
    fp32 logits ``[batch, seq, vocab]``.

    Raises
    ------
    InputError
        If a file or tensor is missing, or has a wrong shape, type or format.
    """
    packed = load_packed(folder)
    state = {
        "model.embed_tokens.weight": packed.embedding,
        "lm_head.weight": packed.head,
        "model.norm.weight": packed.final_norm,
    }
    for layer, (linears, norms) in enumerate(zip(packed.linears, packed.norms, strict=True)):
        for name, norm in norms.items():
            state[f"model.layers.{layer}.{name}.weight"] = norm
        for name, linear in linears.items():
            scale, shift = (a.astype(np.float32) for a in (linear.scale_in, linear.shift_in))
            signs = unpack_signs(linear.signs, len(scale))
            state[f"{linear_key(layer, name)}.weight"] = scale * signs + shift
    with torch.device("meta"):
        model = FbiLlm(packed.config, binary=False)
    model = model.to_empty(device="cpu")
    model.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in state.items()})
    model.reset_rope()
    return model.eval().requires_grad_(False)
