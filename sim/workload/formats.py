"""How the parts that an FBI-LLM does not binarize are stored."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_integer
from ..errors import InputError

KV_BITS = (32, 16, 8)
"""Legal widths of a KV-cache entry."""
HEADS = ("fp16", "int8", "binary")
"""Legal formats of the output head."""


@dataclass(frozen=True, kw_only=True)
class Formats:
    """Storage formats that a workload depends on.

    Parameters
    ----------
    kv_bits
        Width of a cached key or value: 32 or 16, or 8 with a 16-bit scale for each head and
        position.
    head
        ``fp16`` as published; ``int8`` with a 16-bit scale per row; ``binary``: an FBI-linear
        (on a generic engine: a linear like the others, in its weight format).
    scale_group
        Inputs in a group with a scale of its own, for engines with ``scale_out`` groups.
    kv_block
        Positions whose keys (or values) of one head lie side by side in DRAM.

    Raises
    ------
    InputError
        If a value is not among the legal ones.
    """

    kv_bits: int = 16
    head: str = "fp16"
    scale_group: int = 128
    kv_block: int = 16

    def __post_init__(self) -> None:
        if self.kv_bits not in KV_BITS or isinstance(self.kv_bits, bool):
            raise InputError(f"kv_bits must be 32, 16 or 8, not {self.kv_bits!r}")
        if self.head not in HEADS:
            raise InputError(f"head must be one of {', '.join(HEADS)}, not {self.head!r}")
        for name in ("scale_group", "kv_block"):
            check_integer(name, getattr(self, name), 1)

    def kv_vector_bytes(self, head_dim: int) -> int:
        """Return the bytes of one key or value of one head: its entries, and its scale if 8 bit."""
        return head_dim + 2 if self.kv_bits == 8 else self.kv_bits // 8 * head_dim


PUBLISHED = Formats()
"""16-bit head and KV cache, as FBI-LLM is published."""
