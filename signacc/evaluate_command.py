"""What the command ``eval`` does and prints."""

from __future__ import annotations

import json
from pathlib import Path

import click

from model.tasks import TASKS, named_task
from signacc.console import progress
from signacc.evaluate import evaluate, evaluate_tasks
from signacc.report import evaluation_table, tasks_table


def run_perplexity(
    folder: Path,
    text: str,
    arithmetics: tuple[str, ...],
    *,
    window: int,
    windows: int | None,
    as_json: bool,
) -> None:
    """Print the perplexity of a text in each arithmetic; raises InputError for bad input."""
    results = []
    for arithmetic in arithmetics:
        with progress(f"perplexity, {arithmetic}", total=windows) as step:
            results.append(
                evaluate(folder, Path(text), arithmetic=arithmetic, window=window,
                         windows=windows, step=step.to)
            )
    if as_json:
        rows = [
            {"arithmetic": r.arithmetic, "bits_per_byte": r.bits_per_byte} | r.result.to_dict()
            for r in results
        ]
        click.echo(json.dumps({"text": text, "results": rows}))
    else:
        evaluation_table(text, results)


def run_tasks(
    folder: Path,
    source: Path,
    tasks: str,
    arithmetics: tuple[str, ...],
    *,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the zero-shot accuracy in each arithmetic; raises InputError for bad input.

    `tasks` is ``all`` or names with commas between them.
    """
    names = list(TASKS) if tasks == "all" else [name.strip() for name in tasks.split(",")]
    for name in names:
        named_task(name)
    results = []
    for arithmetic in arithmetics:
        with progress(arithmetic, total=1) as bar:

            def begin(name: str, bar=bar, arithmetic=arithmetic):
                bar.say(f"{name}, {arithmetic}")
                return bar.to

            results += evaluate_tasks(
                folder, source, names, arithmetic=arithmetic, limit=limit, step=begin
            )
    if as_json:
        rows = [
            {"arithmetic": r.arithmetic, "task": r.task, "metric": r.metric} | r.result.to_dict()
            for r in results
        ]
        click.echo(json.dumps({"limit": limit, "results": rows}))
    else:
        tasks_table(results)
