"""Run by test_parallel under torchrun: two steps of the 7B shape under FSDP2, made smaller.

With a divisor of 1, one layer in full size: 3.3 GB for two processes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from golden.config import named_model
from model.batches import read_batches
from model.data import Mixture
from model.parallel import run_program
from model.train import Run
from tests.model.tiny import SETTINGS, SIZE, VOCABULARY, rows, teacher


def main() -> None:
    by = int(sys.argv[2])
    shape = named_model("fbi-7b")
    config = replace(
        shape,
        hidden_size=shape.hidden_size // by,
        intermediate_size=shape.intermediate_size // by,
        num_attention_heads=shape.num_attention_heads // by,
        num_key_value_heads=shape.num_key_value_heads // by,
        num_hidden_layers=1 if by == 1 else 2,
        vocab_size=SIZE,
        max_position_embeddings=8,
    )
    settings = replace(
        SETTINGS, steps=2, warmup=0, batch=2, context=8, lr=1e-4 / 16 * by, lr_min=1e-6
    )
    data = Mixture([rows(2)], [], 0.0, 0)
    training = Run(
        settings, config, data, VOCABULARY, teacher(), Path(sys.argv[1]), parallel="fsdp"
    )
    losses = []
    for batch in read_batches(data, settings, training.world, training.targets, 0, 2):
        losses.append(float(training.world.sum(training.one_step(batch, watch=False))[0]))
    local = sum(p.to_local().numel() for p in training.replica.student.parameters())
    if training.world.rank == 0:
        print(
            json.dumps(
                {
                    "engine": training.replica.engine,
                    "layers": config.num_hidden_layers,
                    "parameters": training.replica.parameters,
                    "local_parameters": local,
                    "losses": losses,
                }
            )
        )


if __name__ == "__main__":
    run_program(main)
