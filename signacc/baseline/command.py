"""The command behind ``signacc baseline``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from golden.config import named_model
from golden.errors import InputError
from signacc.files import check_output_file, write_text

from .errors import DeviceError
from .plan import AUTO, GEMMS, PATHS, PHASES, Plan


def checked_plan(
    models: Sequence[str], paths: Sequence[str], phases: Sequence[str], batches: Sequence[int],
    contexts: Sequence[int], energy: bool, gemm: str = AUTO,
) -> Plan:
    """Return the plan; raises InputError for an unknown name or a context beyond the model's."""
    defaults = Plan()
    named = (("path", paths, PATHS), ("phase", phases, PHASES), ("GEMM", (gemm,), (AUTO, *GEMMS)))
    for what, values, legal in named:
        for value in values:
            if value not in legal:
                raise InputError(f"a {what} is one of {', '.join(legal)}, not {value!r}")
    longest = {
        model: named_model(model).max_position_embeddings for model in models or defaults.models
    }
    fitting = tuple(c for c in defaults.contexts if c <= min(longest.values()))
    for model, most in longest.items():
        for context in contexts:
            if context > most:
                raise InputError(
                    f"a context of {model} must be at most {most} positions, not {context}"
                )
    lists = (
        (models, defaults.models), (paths, defaults.paths), (phases, defaults.phases),
        (batches, defaults.batches), (contexts, fitting),
    )  # fmt: skip
    once = (tuple(dict.fromkeys(given or default)) for given, default in lists)
    return Plan(*once, energy, gemm)


def run_command(
    device: str, plan: Plan, *, output: str, name: str, command: str, seconds: float,
    energy_seconds: float, as_json: bool,
) -> None:
    """Measure on `device` and write the baselines file, anew after every point."""
    path = Path(output)
    check_output_file(path)
    if device != "cuda":
        raise DeviceError(f"baseline measures on the device cuda, not {device!r}")
    from .device import fastest_gemm, require_gpu, require_hopper

    gpu = require_gpu()
    if plan.gemm == AUTO:
        plan = replace(plan, gemm=fastest_gemm(gpu))
    elif plan.gemm == "warpgroup":
        require_hopper(gpu)
    from .run import Run

    run = Run(
        plan, name=name, command=command, seconds=seconds, energy_seconds=energy_seconds,
        save=lambda record: write_text(path, json.dumps(record.to_json(), indent=1) + "\n"),
        say=lambda text: click.echo(text, err=True),
    )
    record = run()
    if as_json:
        click.echo(json.dumps(record.to_json()))
    else:
        click.echo(f"{path}: {len(record.baselines)} points, {len(record.gaps)} without a figure")
