"""What one device must hold to train a model: an estimate, before any device is asked for.

python -m model.memory --model fbi-7b --devices 8 --micro 1 --context 2048 --recompute
"""

from __future__ import annotations

import json

import click
import torch

from golden.config import ModelConfig
from golden.errors import InputError

from .errors import told
from .fbi import FbiLlm
from .loss import chunk_length

FP32, BF16 = 4, 2


def estimate(
    config: ModelConfig,
    *,
    devices: int,
    micro: int,
    context: int,
    engine: str = "fsdp",
    recompute: bool = False,
    teacher_parameters: int = 134_515_008,
    teacher_vocab: int = 49152,
) -> dict[str, int]:
    """Return bytes on one GPU by what holds them; ``total`` is their sum.

    Parameters
    ----------
    devices, engine : how many devices, joined by ``fsdp`` or ``ddp`` (or ``single``)
    micro, context : rows in a pass, and student tokens a row
    recompute : whether layers keep their input alone
    teacher_parameters, teacher_vocab : of the teacher, held whole in bf16; SmolLM2-135M's

    The estimate is **modelled** (terms in the code), without the allocator's fragmentation:

    - parameters, gradients and two moments in fp32, shared out under FSDP2;
    - under FSDP2 in bf16: embedding, norm and head gathered for the whole step, their gradient,
      and two layers' parameters and gradients at a time (one in use, one on its way);
    - activations in bf16, for each token and layer: inputs of norms and linears, q, k, v, gate,
      up, their product and the attention's output; the layer's input alone with `recompute`,
      and one layer in full;
    - W~ of every layer in bf16, which the backward pass reads; of one layer with `recompute`;
    - logits of a chunk of the loss (student, where the gradient goes too, and teacher), and the
      head's gradient in fp32.
    """
    if devices < 1 or micro < 1 or context < 1:
        raise InputError(
            f"devices, micro and context must be at least 1, not {devices}, {micro}, {context}"
        )
    with torch.device("meta"):
        model = FbiLlm(config)
    total = sum(p.numel() for p in model.parameters())
    layers = config.num_hidden_layers
    layer = sum(p.numel() for p in model.model.layers[0].parameters())
    outside = total - layers * layer
    shared = devices if engine == "fsdp" else 1
    tokens = micro * context
    hidden, ffn = config.hidden_size, config.intermediate_size
    q, kv = (config.linear_shape(name)[0] for name in ("q_proj", "k_proj"))
    per_token = BF16 * (4 * hidden + 2 * (q + kv) + q + 3 * ffn)
    per_layer = layers * BF16 * hidden + per_token if recompute else layers * per_token
    binary = BF16 * config.binary_weights // layers
    chunk = chunk_length(tokens, config.vocab_size)
    parts = {
        "parameters, gradients, moments": 4 * FP32 * total // shared,
        "gathered": 2 * BF16 * (outside + 2 * layer) if engine == "fsdp" else 0,
        "activations": tokens * per_layer,
        "binarized weights": binary * (1 if recompute else layers),
        "loss": chunk * BF16 * (config.vocab_size + teacher_vocab)
        + FP32 * config.vocab_size * hidden,
        "teacher": BF16 * teacher_parameters,
    }
    return {**parts, "total": sum(parts.values())}


@click.command()
@click.option("--model", "name", default="fbi-7b", show_default=True, help="Shape.")
@click.option("--devices", default=8, show_default=True)
@click.option("--engine", type=click.Choice(["fsdp", "ddp"]), default="fsdp", show_default=True)
@click.option("--micro", default=1, show_default=True, help="Rows a device takes in one pass.")
@click.option("--context", default=2048, show_default=True)
@click.option("--recompute", is_flag=True)
@told()
def main(name: str, **options: object) -> None:
    """Print the estimate in GiB as JSON."""
    from .train_command import read_shape

    shape = read_shape(name, vocab=None, layers=None, context=int(str(options["context"])))
    parts = estimate(shape, **options)  # type: ignore[arg-type]
    gib = {key: round(value / 2**30, 2) for key, value in parts.items()}
    click.echo(json.dumps({"model": name, **options, "mark": "modelled", "GiB": gib}, indent=1))


if __name__ == "__main__":
    main()
