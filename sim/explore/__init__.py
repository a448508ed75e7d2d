"""Design-space sweeps: which designs of a space meet given limits, and which of them are best."""

from .area import Area, array_area
from .evaluate import evaluate, static_metrics
from .limits import METRICS, Limit, parse_limits, parse_objectives
from .pareto import pareto_front
from .run import Outcome, explore
from .space import SPACE_NAMES, Space, named_space, space_from_file
from .store import ResultStore

__all__ = [
    "METRICS",
    "SPACE_NAMES",
    "Area",
    "Limit",
    "Outcome",
    "ResultStore",
    "Space",
    "array_area",
    "evaluate",
    "explore",
    "named_space",
    "pareto_front",
    "parse_limits",
    "parse_objectives",
    "space_from_file",
    "static_metrics",
]
