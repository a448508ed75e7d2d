"""What a pass over a model must do and move: operators that can be counted by hand."""

from .formats import HEADS, KV_BITS, PUBLISHED, Formats
from .operators import (
    BYTE_CATEGORIES,
    COEFFICIENT_BYTES_PER_INPUT,
    FLOAT_BYTES,
    STEPS,
    Kind,
    Operator,
    WeightBeat,
    packed_bytes,
    weight_beats,
)
from .passes import Pass, decode_passes, prefill_passes
from .shard import Shard, activation_bytes_per_token, resident_bytes

__all__ = [
    "BYTE_CATEGORIES",
    "COEFFICIENT_BYTES_PER_INPUT",
    "FLOAT_BYTES",
    "HEADS",
    "KV_BITS",
    "PUBLISHED",
    "STEPS",
    "Formats",
    "Kind",
    "Operator",
    "Pass",
    "Shard",
    "WeightBeat",
    "activation_bytes_per_token",
    "decode_passes",
    "packed_bytes",
    "prefill_passes",
    "resident_bytes",
    "weight_beats",
]
