"""Runs every 1-bit kernel on small shapes and holds it to golden; made for compute-sanitizer.

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 3 \\
        python benchmarks/gpu_sanitize.py

The counts of vectors reach every kernel and leave each of them a batch that is not full.
"""

from __future__ import annotations

import click

from golden.config import ModelConfig
from signacc.baseline.device import require_gpu
from signacc.baseline.gate import check_linears, require
from signacc.baseline.sign_path import SignPath

CONFIG = ModelConfig(
    hidden_size=512, intermediate_size=768, num_hidden_layers=1, num_attention_heads=8,
    num_key_value_heads=4, vocab_size=64, max_position_embeddings=64,
)
COUNTS = (1, 3, 20, 50, 150)


@click.command()
def main() -> None:
    """Print the largest error of each width and count, as a share of what is allowed."""
    device = require_gpu()
    for bits in (16, 8):
        for limit in (16, 0):  # as the path does, and all counts by the kernels for many vectors
            path = SignPath(CONFIG, device, act_bits=bits, gemv_limit=limit)
            for count in COUNTS:
                check = check_linears(path, count=count)
                click.echo(f"{path.name}, GEMV up to {limit}, {count} vectors: {check.error:.3f}")
                require([check])


if __name__ == "__main__":
    main()
