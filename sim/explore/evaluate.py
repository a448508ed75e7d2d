"""What one design is worth: its record in the results."""

from __future__ import annotations

from hw.config import ConfigError

from ..errors import InputError
from ..interval import Interval
from ..system import Estimate, SystemConfig, estimate, simulate
from .area import TARGETS, array_area
from .space import Design, Space


def static_metrics(space: Space, system: SystemConfig) -> dict[str, object]:
    """Return what is known of a system without simulating it.

    ``lanes`` of all chips; ``lut`` of one chip, its ``lut_mark`` and ``lut_rule``; ``usd`` of all.
    ``lut`` and ``usd`` are None, and the rule says why, where they cannot be known.
    """
    engine, technology = system.engine, system.technology.name
    result: dict[str, object] = {
        "lanes": engine.lanes * system.engines * system.chips,
        "lut": None, "lut_mark": None, "lut_rule": None, "usd": None,
    }
    try:
        area = array_area(engine, technology)
    except InputError as error:
        result["lut_rule"] = str(error)
    else:
        result |= {
            "lut": system.engines * (area.lut + space.other_lut),
            "lut_mark": "modelled" if space.other_lut else area.mark,
            "lut_rule": f"arrays: {area.rule}; rest of an engine: {space.other_lut}, "
                        f"{space.other_lut_source}",
        }
    prices = space.prices
    if prices is not None and system.memory.name in prices.memory:
        lut = result["lut"]
        if technology not in TARGETS or not prices.per_1000_lut:
            lut = 0
        if lut is not None:
            chip = prices.chip + prices.per_1000_lut * lut / 1000
            result["usd"] = system.chips * (chip + prices.memory[system.memory.name])
    return result


def _power_w(found: Estimate) -> Interval:
    """Return the mean power of the main phase: static, and dynamic energy by time, W."""
    phase, static = found.main, found.system.power_w
    dynamic = [
        sum(getattr(energy, bound) for part, energy in phase.energy_parts_j.items()
            if part != "static")
        for bound in ("low", "nominal", "high")
    ]
    time = phase.time_s
    return static + Interval(
        dynamic[0] / time.high, dynamic[1] / time.nominal, dynamic[2] / time.low
    )


def evaluate(space: Space, design: Design) -> dict[str, object]:
    """Return a design's record.

    ``status`` is ``ok``, with its ``metrics`` (``sim.explore.METRICS``; ranged ones with _low and
    _high), or ``refused`` with the ``reason``: an illegal engine, a model that does not fit.
    ``step_s`` is the time of a decode step (a token of every sequence).
    """
    record: dict[str, object] = {"key": space.key(design), "design": dict(design)}
    batch = design.get("batch", 1)
    try:
        system, model = space.build(design), space.model(design)
        formats = space.formats(design)
        if space.prefill or space.decode:
            found = simulate(model, system, prefill=space.prefill, decode=space.decode,
                             batch=batch, formats=formats)
        else:
            found = estimate(model, system, context=space.context, batch=batch, formats=formats)
    except (ConfigError, InputError) as error:
        return record | {"status": "refused", "reason": str(error)}
    ranges = {
        "tokens_per_second": found.tokens_per_second,
        "joules_per_token": found.energy_per_token_j,
        "watts": _power_w(found),
    }
    if found.main.name == "decode":
        ranges["step_s"] = found.main.time_s * (1 / found.main.steps)
    if found.phases[0].name == "prefill":
        ranges["time_to_first_token_s"] = found.phases[0].time_s
    metrics: dict[str, object] = dict(static_metrics(space, system))
    for name, value in ranges.items():
        metrics |= {name: value.nominal, f"{name}_low": value.low, f"{name}_high": value.high}
    return record | {"status": "ok", "metrics": metrics}
