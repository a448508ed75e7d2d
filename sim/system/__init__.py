"""Whole-model estimates: a machine, the passes of a model over it, their time and energy."""

from .config import LinkConfig, MemoryPorts, OnChipMemory, SystemConfig
from .cost import Machine, StepCost
from .events import generic_events, operator_events
from .files import system_from_file, system_from_section
from .fit import check_fit, kv_positions
from .links import LINKS, named_link
from .phases import MOST_BATCH, check_batch, estimate, simulate
from .presets import SYSTEM_NAMES, named_system
from .results import Estimate, OperatorEstimate, Phase
from .timeline import trace
from .timing import array_time_s, vector_cycles

__all__ = [
    "LINKS",
    "MOST_BATCH",
    "SYSTEM_NAMES",
    "Estimate",
    "LinkConfig",
    "Machine",
    "MemoryPorts",
    "OnChipMemory",
    "OperatorEstimate",
    "Phase",
    "StepCost",
    "SystemConfig",
    "array_time_s",
    "check_batch",
    "check_fit",
    "estimate",
    "generic_events",
    "kv_positions",
    "named_link",
    "named_system",
    "operator_events",
    "simulate",
    "system_from_file",
    "system_from_section",
    "trace",
    "vector_cycles",
]
