"""Memory: DRAM timing and the bandwidth that follows from it, presets, a command-level check."""

from .config import MemoryConfig
from .presets import CHANNELS, MEMORIES, named_channel, named_memory
from .timing import DramTiming

__all__ = [
    "CHANNELS",
    "MEMORIES",
    "DramTiming",
    "MemoryConfig",
    "named_channel",
    "named_memory",
]
