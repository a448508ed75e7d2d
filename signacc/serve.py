"""signacc serve: a fleet under several loads, as a table, JSON, a plot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

from signacc.console import deliver, progress
from signacc.files import check_output_file
from signacc.shapes import model_name, model_shape
from sim.errors import InputError
from sim.serving.lengths import Lengths
from sim.serving.measure import GROWTH
from sim.serving.settings import SCHEMA, Settings, check_setting, settings_from_file
from sim.serving.statistics import BATCHES
from sim.serving.study import measured_capacity, point
from sim.system import Machine, SystemConfig, named_system, system_from_file
from sim.workload import Formats


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What the command line asks for; None where an option was not given."""

    model: str
    preset: str | None
    system: str | None
    kv_bits: int
    head: str
    config: str | None
    accelerators: int | None
    router: str | None
    policy: str | None
    max_batch: int | None
    token_budget: int | None
    arrivals: str | None
    cv: float | None
    trace: str | None
    prompt_tokens: str | None
    output_tokens: str | None
    loads: str | None
    rates: str | None
    requests: int | None
    duration: float | None
    warm_up: float | None
    seed: int | None
    case: str | None
    price: float | None
    years: float | None
    kwh: float | None
    workers: int
    plot: str | None
    as_json: bool


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of a list like ``0.2,0.5``."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} must be numbers with commas between, not {text!r}") from None


_OPTIONS = {
    "duration_s": "duration", "warm_up_s": "warm_up", "price_usd": "price", "usd_per_kwh": "kwh",
} | {name: name for name in (
    "accelerators", "router", "case", "policy", "max_batch", "token_budget", "arrivals", "cv",
    "prompt_tokens", "output_tokens", "trace", "requests", "seed", "years", "loads", "rates",
)}
"""The option that each setting has, as :class:`ServeOptions` writes it."""


def chosen_settings(options: ServeOptions) -> Settings:
    """Return the settings of the options, before those of the file that they name.

    A number out of its range is refused by the name of its option.
    """
    values = {name: getattr(options, option) for name, option in _OPTIONS.items()}
    for name in ("loads", "rates"):
        values[name] = _numbers(f"--{name}", values[name])
    for name, value in values.items():
        if value is not None:
            check_setting(name, value, called="--" + _OPTIONS[name].replace("_", "-"))
    for name in ("prompt_tokens", "output_tokens"):
        if values[name] is not None:
            try:
                Lengths.parse(values[name])
            except InputError as error:
                raise InputError(f"--{name.replace('_', '-')}: {error}") from None
    if options.requests is not None and options.duration is not None:
        raise InputError("give --requests or --duration, not both")
    if options.config is None:
        for name in ("years", "usd_per_kwh"):
            if values[name] is not None and options.price is None:
                raise InputError(f"--{_OPTIONS[name]} is of a price: give --price, too")
    mine = Settings(**values)
    return mine if options.config is None else mine.over(settings_from_file(options.config))


def chosen_system(options: ServeOptions) -> SystemConfig:
    """Return the system of one accelerator."""
    if options.system is None:
        return named_system(options.preset or "kv260")
    if options.preset is not None:
        raise InputError("give --preset or --system, not both")
    return system_from_file(options.system)


def report_of(options: ServeOptions) -> dict[str, object]:
    """Return the study that the options ask for, as a dictionary that ``json.dumps`` takes."""
    settings = chosen_settings(options)
    machine = Machine(
        model_shape(options.model), chosen_system(options),
        Formats(kv_bits=options.kv_bits, head=options.head),
    )
    fleet, source, prices = settings.fleet(machine), settings.source(), settings.prices()
    plan = settings.plan()
    settings.rates_of(1.0)  # bad ones are refused before anything is simulated
    with progress("measuring the capacity"):
        found = measured_capacity(fleet, source, plan["seed"])
    limit = found.rate
    points = []
    rates = settings.rates_of(limit)
    for index, rate in enumerate(rates):
        with progress(f"load {index + 1} of {len(rates)}: {rate:.4g} requests/s") as step:
            points.append(
                point(fleet, source, rate, workers=options.workers, prices=prices, limit=limit,
                      progress=step.to, **plan)
            )
    scheduler, cache = fleet.scheduler, fleet.cache
    return {
        "schema": SCHEMA,
        "model": model_name(options.model),
        "system": machine.system.name,
        "accelerators": fleet.accelerators,
        "router": fleet.router,
        "scheduler": {
            "policy": scheduler.policy, "max_batch": scheduler.max_batch,
            "token_budget": scheduler.token_budget,
        },
        "kv_cache": {"positions": cache.positions, "blocks": cache.blocks,
                     "block": scheduler.block},
        "workload": source.to_dict(),
        "capacity_requests_per_second": limit,
        "capacity_requests_per_second_ci95": found.ci95,
        "points": points,
        "provenance": {
            "seed": plan["seed"],
            "case": fleet.case,
            "marks": "modelled: times and energy of iterations (docs/simulator.md); assumed: "
                     "prices, workload",
            "confidence": f"95 %, by means of {BATCHES} batches of equal time",
            "saturated": f"arrivals at or above the capacity, or requests inside that grow by more "
                         f"than {100 * GROWTH:g} % of the arrivals",
            "admission": "first come, first served; KV blocks reserved for the whole length",
            "prices": None if prices is None else prices.to_dict(),
        },
    }


def run_command(options: ServeOptions) -> None:
    """Simulate, print, and write what was asked for."""
    from signacc.report import serving_table

    if options.plot is not None:
        from signacc.plots import check_matplotlib

        check_matplotlib()
        if Path(options.plot).suffix != ".png":
            raise InputError(f"the plot must be a .png file, not {options.plot!r}")
        check_output_file(options.plot, "plot")
    report = report_of(options)

    def show() -> None:
        if options.as_json:
            click.echo(json.dumps(report))
        else:
            serving_table(report)

    def files() -> dict[Path, list[bytes]]:
        if options.plot is None:
            return {}
        from signacc.serving_plot import serving_plot

        return {Path(options.plot): [serving_plot(report)]}

    deliver(show, files, as_json=options.as_json)
