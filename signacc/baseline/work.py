"""Bytes and operations that a step must move and do: the floor under its time."""

from __future__ import annotations

from golden.config import ModelConfig


def weights_used(config: ModelConfig) -> int:
    """Return the weights of linears and head that every decoded token is multiplied by."""
    return config.binary_weights + config.vocab_size * config.hidden_size


def decode_bytes(config: ModelConfig, weight_bytes: int, batch: int, context: int) -> int:
    """Return the bytes of one decode step: linears, 16-bit head, keys and values of the batch.

    Everything is read once; what a step writes is below a thousandth and left out.
    """
    head = 2 * config.vocab_size * config.hidden_size
    width = config.num_key_value_heads * config.head_dim
    cache = 2 * 2 * config.num_hidden_layers * width * context * batch
    return weight_bytes + head + cache


def prefill_bytes(config: ModelConfig, weight_bytes: int, batch: int, context: int) -> int:
    """Return the bytes of a prefill: linears and head once, the cache written once."""
    return decode_bytes(config, weight_bytes, batch, context)


def linear_flops(config: ModelConfig, tokens: int) -> int:
    """Return operations of `tokens` in the layers' linears: two a weight."""
    return 2 * config.binary_weights * tokens


def decode_flops(config: ModelConfig, batch: int, context: int) -> int:
    """Return operations of one decode step: two a weight and token, four a cached element."""
    width = config.num_attention_heads * config.head_dim
    return batch * (2 * weights_used(config) + 4 * config.num_hidden_layers * width * context)


def prefill_flops(config: ModelConfig, batch: int, context: int) -> int:
    """Return operations of a prefill: causal attention, the head for the last position alone."""
    width = config.num_attention_heads * config.head_dim
    attention = 4 * config.num_hidden_layers * width * context * (context + 1) // 2
    head = 2 * config.vocab_size * config.hidden_size
    return batch * (2 * config.binary_weights * context + attention + head)
