"""Initial weights: the same for every device count, with or without memory for the whole model.

Every parameter is drawn on its own, from a generator seeded by the run's seed and its name, and cut
to the part that a device holds. So a model on the meta device, sharded, gets the weights that a
whole one gets on the same kind of device, and a twin gets the latent weights of its FBI-LLM.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from golden.config import ModelConfig, linear_key
from golden.errors import InputError

from .fbi import INIT_STD, FbiLinear, FbiLlm, initial_scales
from .teacher import Teacher


def teacher_weights(teacher: Teacher, config: ModelConfig) -> dict[str, Tensor]:
    """Return the teacher's weights by the student's parameter names.

    Raises
    ------
    InputError
        If the shapes differ in more than a smaller vocabulary.
    """
    theirs = teacher.config
    ours = {
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "ffn": config.intermediate_size,
        "rope_theta": config.rope_theta,
        "eps": config.rms_norm_eps,
    }
    for name, value in ours.items():
        if abs(value - getattr(theirs, name)) > 1e-6 * abs(value):
            raise InputError(
                f"to continue from the teacher, the model must have its {name}, "
                f"{getattr(theirs, name)}, not {value}"
            )
    if config.vocab_size > theirs.vocab:
        raise InputError(
            f"to continue from the teacher, the vocabulary must be at most {theirs.vocab} tokens, "
            f"not {config.vocab_size}"
        )
    embedding = teacher.embedding[: config.vocab_size]
    state = {"model.embed_tokens.weight": embedding, "model.norm.weight": teacher.norm}
    if not config.tie_word_embeddings:
        state["lm_head.weight"] = embedding
    rows = [config.linear_shape(name)[0] for name in ("q_proj", "k_proj", "v_proj")]
    for i, layer in enumerate(teacher.layers):
        q, k, v = layer.qkv.weight.split(rows)
        gate, up = layer.gate_up.weight.chunk(2)
        weights = {
            "q_proj": q, "k_proj": k, "v_proj": v, "o_proj": layer.out.weight,
            "gate_proj": gate, "up_proj": up, "down_proj": layer.down.weight,
        }  # fmt: skip
        state |= {f"{linear_key(i, name)}.weight": value for name, value in weights.items()}
        state[f"model.layers.{i}.input_layernorm.weight"] = layer.attention_norm
        state[f"model.layers.{i}.post_attention_layernorm.weight"] = layer.ffn_norm
    return {name: value.detach() for name, value in state.items()}


def _place(parameter: nn.Parameter, value: Tensor) -> None:
    if isinstance(parameter, DTensor):
        # every rank has drawn the same value: nothing is sent
        sharded = distribute_tensor(
            value, parameter.device_mesh, parameter.placements, src_data_rank=None
        )
        parameter.to_local().copy_(sharded.to_local())
    else:
        parameter.copy_(value)


@torch.no_grad()
def initialise(model: FbiLlm, seed: int, given: dict[str, Tensor] | None = None) -> None:
    """Set every parameter and the rotary tables of `model`, whose memory may be uninitialised.

    Parameters
    ----------
    model : plain or sharded by FSDP2, on the device to train on
    seed : of the draws
    given : weights to take in place of draws, by name; scales and shifts follow from them
    """
    given = given or {}
    if model.config.tie_word_embeddings:  # Module.to_empty parts what was one parameter
        model.lm_head.weight = model.model.embed_tokens.weight
    done: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if not name.endswith(".weight") or id(parameter) in done:
                continue  # scales are set with the weight that they come from
            done.add(id(parameter))
            if name in given:
                value = given[name].to(parameter.device, parameter.dtype)
            elif parameter.ndim == 1:
                value = torch.ones(parameter.shape, device=parameter.device)
            else:
                generator = torch.Generator(parameter.device)
                generator.manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
                value = torch.empty(parameter.shape, device=parameter.device)
                value.normal_(std=INIT_STD, generator=generator)
            if tuple(value.shape) != tuple(parameter.shape):
                raise InputError(
                    f"{name} must have shape {tuple(parameter.shape)}, not {tuple(value.shape)}"
                )
            _place(parameter, value)
            if isinstance(module, FbiLinear):
                for scale, start in initial_scales(value, module.axis).items():
                    _place(getattr(module, scale), start)
    with torch.device(next(model.parameters()).device):
        model.reset_rope()
