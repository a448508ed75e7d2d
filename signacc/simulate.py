"""signacc simulate: a model on a machine, as a table, JSON, a timeline, plots."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import click

from golden.errors import InputError
from signacc.console import deliver
from signacc.files import check_output_file, check_output_folder, joined
from signacc.shapes import model_name, model_shape
from sim.system import (
    Estimate,
    SystemConfig,
    estimate,
    named_link,
    named_system,
    simulate,
    system_from_file,
    trace,
)
from sim.workload import Formats

USUAL_CONTEXT = 512
"""Positions that a token attends to if nothing is said, if the model goes as far."""


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """What the command line asks for; None where an option was not given."""

    model: str
    preset: str | None
    system: str | None
    memory: str | None
    context: int | None
    prefill: int | None
    decode: int | None
    batch: int
    kv_bits: int
    head: str
    engines: int | None
    chips: int | None
    parallel: str | None
    link: str | None
    as_json: bool
    trace: str | None
    plot: str | None


def chosen_system(options: SimulateOptions) -> SystemConfig:
    """Return the system that the options name, with what they change of it."""
    if options.system is not None and options.preset is not None:
        raise InputError("give --preset or --system, not both")
    if options.system is not None:
        system = system_from_file(options.system)
    else:
        system = named_system(options.preset or "kv260")
    changes: dict[str, object] = {
        name: getattr(options, name)
        for name in ("engines", "chips", "parallel")
        if getattr(options, name) is not None
    }
    if options.memory is not None:
        from sim.memory import named_memory

        changes["memory"] = named_memory(options.memory)
    if options.link is not None:
        changes["link"] = named_link(options.link)
    system = replace(system, **changes)
    for name in ("parallel", "link"):
        if getattr(options, name) is not None and system.chips == 1:
            raise InputError(f"--{name} is of several chips: give --chips of 2 or more")
    return system


def chosen_estimate(options: SimulateOptions) -> Estimate:
    """Return the estimate that the options ask for: a run, or one decoded token."""
    model, system = model_shape(options.model), chosen_system(options)
    formats = Formats(kv_bits=options.kv_bits, head=options.head)
    if options.prefill is None and options.decode is None:
        context = options.context
        if context is None:
            context = min(USUAL_CONTEXT, model.max_position_embeddings)
        return estimate(model, system, context=context, batch=options.batch, formats=formats)
    if options.context is not None:
        raise InputError("give --context for one token, or --prefill and --decode")
    return simulate(
        model, system, prefill=options.prefill or 0, decode=options.decode or 0,
        batch=options.batch, formats=formats,
    )


def _files(options: SimulateOptions, result: Estimate) -> dict[Path, list[bytes]]:
    """Return what is to be written, by path."""
    files: dict[Path, list[bytes]] = {}
    if options.trace is not None:
        files[Path(options.trace)] = [json.dumps(trace(result)).encode() + b"\n"]
    if options.plot is not None:
        from signacc.plots import estimate_plots

        folder = Path(options.plot)
        images = estimate_plots(model_name(options.model), result)
        files = joined(files, {folder / name: [image] for name, image in images.items()})
    return files


def run_command(options: SimulateOptions) -> None:
    """Estimate, print, and write what was asked for."""
    from signacc.report import estimate_tables

    if options.trace is not None:
        check_output_file(options.trace, "timeline")
    if options.plot is not None:
        from signacc.plots import check_matplotlib

        check_matplotlib()
        check_output_folder(options.plot, "plots' folder")
    result = chosen_estimate(options)
    report = result.to_json()

    def show() -> None:
        if options.as_json:
            click.echo(json.dumps(report))
        else:
            estimate_tables(model_name(options.model), report)

    deliver(
        show, lambda: _files(options, result), as_json=options.as_json, folder=options.plot
    )
