"""A packed model folder read back as the float FBI-LLM: with plain weights, or with packed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golden.config import linear_key
from golden.folder import PackedLinear, PackedModel, load_packed
from golden.pack import unpack_signs
from golden.signed_sum import UNPACK_FROM, paths, signed_sum

from .fbi import FbiLlm

_BLOCK_ROWS = 512


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
    return _decoder(packed, unpacked=True)


class SignLinear(nn.Module):
    """FBI-linear in fp32 whose weights stay packed in memory: one bit each, for the CPU.

    ``y = x·W~ᵀ = Σ_j s_ij·(α_j·x_j) + Σ_j β_j·x_j``, so a weight costs an addition at most.

    Attributes
    ----------
    signs : uint8 ``[N, ceil(K/8)]``
    scale_in, shift_in : fp16 ``[K]``: α, β
    """

    def __init__(self, linear: PackedLinear) -> None:
        super().__init__()
        for name in ("signs", "scale_in", "shift_in"):
            self.register_buffer(name, torch.from_numpy(getattr(linear, name)))

    def forward(self, x: Tensor) -> Tensor:
        """Return fp32 ``[..., N]`` of fp32 ``x [..., K]``; no gradient."""
        rows = x.reshape(-1, x.shape[-1])
        shift = rows @ self.shift_in.float()[:, None]
        p = rows * self.scale_in.float()
        if len(p) < UNPACK_FROM:
            threads = torch.get_num_threads()
            y = torch.from_numpy(signed_sum(self.signs.numpy(), p.numpy(), threads=threads))
        else:
            y = torch.cat(
                [
                    F.linear(p, unpack_signs(block, p.shape[1]).float())
                    for block in self.signs.split(_BLOCK_ROWS)
                ],
                dim=1,
            )
        return (y + shift).view(*x.shape[:-1], -1)


def load_sign_linears(folder: Path) -> FbiLlm:
    """Load a packed folder as the float FBI-LLM whose FBI-linears stay packed: for the CPU.

    Computes what `load_float` does, up to the order of sums; embedding, norms and head are fp32.

    Raises
    ------
    InputError
        As `load_float`; and if there is no C++ compiler for the kernel.
    """
    paths()  # before the model is read: without a compiler there is nothing to read it for
    return _decoder(load_packed(folder), unpacked=False)


def _decoder(packed: PackedModel, *, unpacked: bool) -> FbiLlm:
    state = {
        "model.embed_tokens.weight": packed.embedding,
        "lm_head.weight": packed.head,
        "model.norm.weight": packed.final_norm,
    }
    with torch.device("meta"):
        model = FbiLlm(packed.config, binary=False)
    for layer, (linears, norms) in enumerate(zip(packed.linears, packed.norms, strict=True)):
        for name, norm in norms.items():
            state[f"model.layers.{layer}.{name}.weight"] = norm
        for name, linear in linears.items():
            key = linear_key(layer, name)
            if unpacked:
                scale, shift = (a.astype(np.float32) for a in (linear.scale_in, linear.shift_in))
                signs = unpack_signs(linear.signs, len(scale))
                state[f"{key}.weight"] = scale * signs + shift
            else:
                model.set_submodule(key, SignLinear(linear))
    state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in state.items()}
    if unpacked:
        model = model.to_empty(device="cpu")
        model.load_state_dict(state)
    else:
        model.load_state_dict(state, strict=False, assign=True)
    model.reset_rope()
    return model.eval().requires_grad_(False)
