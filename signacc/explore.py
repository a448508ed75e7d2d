"""signacc explore: a sweep over designs, as a table, JSON, CSV and a plot of the Pareto front."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from signacc.console import deliver, progress
from signacc.files import check_output_folder
from signacc.shapes import model_shape
from sim.errors import InputError
from sim.explore import (
    SPACE_NAMES,
    Limit,
    Outcome,
    ResultStore,
    Space,
    explore,
    named_space,
    pareto_front,
    parse_limits,
    parse_objectives,
    space_from_file,
)
from sim.explore.limits import metric
from sim.explore.space import code_digest

SCHEMA = "signacc-explore-1"


@dataclass(frozen=True, kw_only=True)
class ExploreOptions:
    """What the command line asks for."""

    models: tuple[str, ...]
    space: str
    constraints: str
    objective: str
    out: str
    workers: int | None
    scheduler: str | None
    as_json: bool


def chosen_space(options: ExploreOptions) -> Space:
    """Return the space that the options name, with their models if they give any."""
    if options.space in SPACE_NAMES:
        space = named_space(options.space)
    elif Path(options.space).suffix == ".json":
        space = space_from_file(options.space)
    else:
        raise InputError(
            f"a space is one of {', '.join(SPACE_NAMES)}, or a .json file, not {options.space!r}"
        )
    if options.models:
        space = space.with_models({name: model_shape(name) for name in options.models})
    return space


def check_known(space: Space, limits: Iterable[Limit], objectives: Iterable[str]) -> None:
    """Refuse limits and objectives on figures that no design of the space can have."""
    for name in {limit.name for limit in limits} | set(objectives):
        if name == "usd" and space.prices is None:
            raise InputError(f"usd needs prices; the space {space.name} has none")
        if name.startswith("time_to_first_token") and not space.prefill:
            raise InputError(f"{name} needs a prefill; the space {space.name} has none")
        if name.startswith("step_s") and space.prefill and not space.decode:
            raise InputError(f"{name} needs decode steps; the space {space.name} has none")


def front_of(outcome: Outcome, limits: tuple[Limit, ...], objectives: tuple[str, ...]) -> tuple:
    """Return the records that keep the limits and have the objectives, and those on the front.

    Each model has a front of its own: a small model is no better machine for a large one.
    """
    feasible = [
        record for record in outcome.feasible(limits)
        if all(record["metrics"].get(name) is not None for name in objectives)
    ]
    maximise = [metric(name).maximise for name in objectives]
    front = []
    for model in dict.fromkeys(record["design"]["model"] for record in feasible):
        mine = [record for record in feasible if record["design"]["model"] == model]
        points = [[record["metrics"][name] for name in objectives] for record in mine]
        front += [mine[index] for index in pareto_front(points, maximise)]
    return feasible, front


def report_of(
    outcome: Outcome, limits: tuple[Limit, ...], objectives: tuple[str, ...]
) -> dict[str, object]:
    """Return the sweep's result as a dictionary that ``json.dumps`` takes."""
    space = outcome.space
    feasible, front = front_of(outcome, limits, objectives)
    refused = [record for record in outcome.records if record["status"] == "refused"]
    prices = None if space.prices is None else space.prices.source
    return {
        "schema": SCHEMA,
        "space": space.name,
        "designs": space.size,
        "pruned": outcome.pruned,
        "evaluated": len(outcome.records),
        "resumed": outcome.resumed,
        "refused": len(refused),
        "refusals": [
            {"reason": reason, "designs": count}
            for reason, count in Counter(record["reason"] for record in refused).most_common(20)
        ],
        "feasible": len(feasible),
        "constraints": [str(limit) for limit in limits],
        "objectives": list(objectives),
        "front_of": "each model",
        "front": [{"design": r["design"], "metrics": r["metrics"]} for r in front],
        "provenance": {
            "code": code_digest(),
            "base_system": space.system.name,
            "workload": (
                f"prefill {space.prefill}, decode {space.decode}"
                if space.prefill or space.decode else f"one token at context {space.context}"
            ),
            "marks": "time, energy, power: modelled; lut: lut_mark of each design; usd: assumed",
            "lut": f"arrays of a chip's engines; rest of an engine: {space.other_lut} "
                   f"({space.other_lut_source})",
            "usd": prices,
        },
    }


def table_csv(outcome: Outcome, limits: tuple[Limit, ...], front_keys: set[str]) -> str:
    """Return all records as CSV: axes, figures, whether feasible and on the front."""
    axes = list(outcome.records[0]["design"]) if outcome.records else []
    figures = next((list(r["metrics"]) for r in outcome.records if r["status"] == "ok"), [])
    feasible = {record["key"] for record in outcome.feasible(limits)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", *axes, "status", "reason", "feasible", "front", *figures])
    for record in outcome.records:
        metrics = record.get("metrics", {})
        writer.writerow(
            [record["key"], *record["design"].values(), record["status"],
             record.get("reason", ""), int(record["key"] in feasible),
             int(record["key"] in front_keys), *(metrics.get(name) for name in figures)]
        )
    return text.getvalue()


def run_command(options: ExploreOptions) -> None:
    """Sweep, write the files, print."""
    from signacc.plots import check_matplotlib, pareto_plot
    from signacc.report import explore_table

    check_matplotlib()
    limits = parse_limits(options.constraints)
    objectives = parse_objectives(options.objective)
    if options.scheduler is not None and options.workers is not None:
        raise InputError("give --workers for a local cluster or --scheduler, not both")
    space = chosen_space(options)
    check_known(space, limits, objectives)
    workers = options.workers
    if workers is None:
        workers = os.cpu_count() or 1
    folder = Path(options.out)
    check_output_folder(folder)
    with ResultStore(folder) as store:
        with progress(f"exploring {space.name}", total=space.size) as step:
            outcome = explore(space, store, limits=limits, workers=workers,
                              scheduler=options.scheduler, progress=step.to)
        report = report_of(outcome, limits, objectives)

        def show() -> None:
            if options.as_json:
                click.echo(json.dumps(report))
                return
            explore_table(report)
            click.echo(f"  wrote {store.path}")

        def files() -> dict[Path, list[bytes]]:
            feasible, front = front_of(outcome, limits, objectives)
            table = table_csv(outcome, limits, {record["key"] for record in front})
            made = {
                folder / "front.json": [json.dumps(report, indent=1).encode() + b"\n"],
                folder / "designs.csv": [table.encode(errors="surrogateescape")],
            }
            if len(objectives) > 1 and feasible:
                made[folder / "front.png"] = [pareto_plot(report, feasible, front)]
            return made

        deliver(show, files, as_json=options.as_json, kinds=[folder / "front.png"])
