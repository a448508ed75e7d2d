"""Serving: requests that arrive, continuous batching, fleets; latency, energy and cost by load."""

from .arrivals import PROCESSES, Workload
from .cost import Prices
from .fleet import Fleet, Served, serve
from .lengths import Lengths
from .measure import Window, measured
from .requests import PS, Requests
from .routers import ROUTERS
from .scheduler import POLICIES, Scheduler, kv_cache
from .steps import CASES, StepTimes
from .study import Capacity, capacity, check_loads, measured_capacity, point

__all__ = [
    "CASES",
    "POLICIES",
    "PROCESSES",
    "PS",
    "ROUTERS",
    "Capacity",
    "Fleet",
    "Lengths",
    "Prices",
    "Requests",
    "Scheduler",
    "Served",
    "StepTimes",
    "Window",
    "Workload",
    "capacity",
    "check_loads",
    "kv_cache",
    "measured",
    "measured_capacity",
    "point",
    "serve",
]
