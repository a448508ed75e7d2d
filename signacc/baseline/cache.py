"""Keys and values that decode steps read, of any length at once: made up, not computed."""

from __future__ import annotations

import torch
from torch import Tensor

from golden.config import ModelConfig


class Cache:
    """Keys and values of every layer, ``[B, kv, capacity, D]``, filled with random numbers."""

    def __init__(
        self, config: ModelConfig, batch: int, capacity: int, dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (batch, config.num_key_value_heads, capacity, config.head_dim)

        def one() -> Tensor:
            return torch.empty(shape, dtype=dtype, device=device).normal_()

        self.keys = [one() for _ in range(config.num_hidden_layers)]
        self.values = [one() for _ in range(config.num_hidden_layers)]
