"""What the simulator says of a design, from its parameters alone.

The nominal prediction takes every parameter as its file gives it. The range is the smallest and the
largest that any combination of the assumed parameters' ends gives, each with the simulator's own
range of memory efficiency and energy constants.
"""

from __future__ import annotations

from ..interval import Interval
from ..system import Estimate, estimate, simulate
from .convolutions import image_cost
from .design import Design, Run

QUANTITIES = {
    "tokens_per_second": "tokens/s",
    "images_per_second": "images/s",
    "power_w": "W",
    "joule_per_token": "J/token",
    "tera_operations_per_joule": "TOp/J",
}
"""Quantities that can be predicted, and their units; an operation is half a multiply-accumulate."""

RATES = ("tokens_per_second", "images_per_second")
"""Those that are speed; the others are power and energy."""


def predict(design: Design) -> dict[tuple[str, str], Interval]:
    """Return the prediction of every (run, quantity) of a design."""
    result = {key: value for run in design.runs for key, value in _run(design, run).items()}
    low = {key: value.low for key, value in result.items()}
    high = {key: value.high for key, value in result.items()}
    for corner in design.corners():
        for run in corner.runs:
            for key, value in _run(corner, run).items():
                low[key] = min(low[key], value.low)
                high[key] = max(high[key], value.high)
    return {
        key: Interval(low[key], value.nominal, high[key]) for key, value in result.items()
    }


def _run(design: Design, run: Run) -> dict[tuple[str, str], Interval]:
    if run.phase == "images":
        found = _images(design, run)
    elif run.phase == "decode":
        found = _tokens(
            estimate(
                run.model, design.system, context=run.positions, batch=run.batch,
                formats=run.formats,
            )
        )
    else:
        found = _tokens(
            simulate(
                run.model, design.system, prefill=run.positions, decode=0, batch=run.batch,
                formats=run.formats,
            )
        )
    return {(run.name, quantity): value for quantity, value in found.items()}


def _tokens(result: Estimate) -> dict[str, Interval]:
    time, parts = result.main.time_s, result.main.energy_parts_j
    dynamic = [
        sum(getattr(energy, end) for part, energy in parts.items() if part != "static")
        for end in ("low", "nominal", "high")
    ]
    static = result.system.power_w
    return {
        "tokens_per_second": result.tokens_per_second,
        "joule_per_token": result.energy_per_token_j,
        # Dynamic energy over time: the least in the longest, the most in the shortest.
        "power_w": Interval(
            static.low + dynamic[0] / time.high,
            static.nominal + dynamic[1] / time.nominal,
            static.high + dynamic[2] / time.low,
        ),
    }


def _images(design: Design, run: Run) -> dict[str, Interval]:
    cost = image_cost(run.convolutions, design.system)
    return {
        "images_per_second": cost.time_s.reciprocal(),
        "tera_operations_per_joule": cost.energy_j.reciprocal() * (2 * cost.macs / 1e12),
    }
