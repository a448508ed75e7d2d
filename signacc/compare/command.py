"""The command: read options, compare, print, write files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from golden.config import MODELS, ModelConfig
from signacc.console import deliver, progress
from signacc.files import check_output_file, check_output_folder, joined
from signacc.plots import check_matplotlib
from signacc.shapes import model_name, model_shape
from sim.baselines import Record, load_record
from sim.errors import InputError
from sim.jsonfile import MOST
from sim.system import SYSTEM_NAMES, SystemConfig, check_batch, named_system, system_from_file

from ..baseline.work import weights_used
from .comparison import Comparison, compare
from .report import print_tables, to_json
from .sensitivity import Flip, sensitivity

DEFAULT_PRESETS = tuple(
    name for name in ("ulx3s", "kv260", "u280", "asic7") if name in SYSTEM_NAMES
)
"""Presets that are compared if none is named: one a class of machines."""

DEFAULT_CONTEXTS = (128, 512, 2048)
"""Contexts that are compared if none is named: those that the model has."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What the command line asks for; None or empty where an option was not given."""

    model: str
    batch: str
    context: str | None
    presets: tuple[str, ...]
    systems: tuple[str, ...]
    baselines: tuple[str, ...]
    as_json: bool
    out: str | None
    html: str | None


def parse_counts(option: str, text: str) -> tuple[int, ...]:
    """Return integers of at least 1 from a list like ``1,4,16``, each at most 2^53.

    Raises
    ------
    InputError
        If a part is something else, or there is none.
    """
    counts = []
    for part in text.split(","):
        digits = part.strip()
        if not re.fullmatch("[0-9]{1,16}", digits) or not 1 <= int(digits) <= MOST:
            raise InputError(
                f"{option} must be integers of at least 1 with commas between them, not {text!r}"
            )
        counts.append(int(part))
    return tuple(counts)


def chosen_systems(options: CompareOptions) -> list[SystemConfig]:
    """Return the named systems, then those of files; each name once."""
    names = options.presets or (() if options.systems else DEFAULT_PRESETS)
    systems = [named_system(name) for name in names]
    systems += [system_from_file(path) for path in options.systems]
    seen: set[str] = set()
    for system in systems:
        if system.name in seen:
            raise InputError(f"a system must be given once, not {system.name} again")
        seen.add(system.name)
    return systems


def _model_name(given: str, model: ModelConfig) -> str:
    """Return what baselines call the model; a folder never passes for a model of another shape."""
    name = model_name(given)
    if name in MODELS and weights_used(MODELS[name]) != weights_used(model):
        return given
    return name


def chosen_comparisons(
    options: CompareOptions, records: Sequence[Record]
) -> tuple[Comparison, Comparison]:
    """Return the comparisons of decoding and of prefill that the options ask for.

    `records` are the contents of the baselines files.
    """
    batches = parse_counts("--batch", options.batch)
    given = () if options.context is None else parse_counts("--context", options.context)
    check_batch(max(batches), "--batch")
    model, systems = model_shape(options.model), chosen_systems(options)
    name = _model_name(options.model, model)
    longest = model.max_position_embeddings
    fitting = tuple(context for context in DEFAULT_CONTEXTS if context <= longest)
    contexts = given or fitting or (longest,)
    if max(contexts) > longest:
        raise InputError(
            f"--context must be at most max_position_embeddings = {longest} of {name}, "
            f"not {max(contexts)}"
        )
    total = len(systems) * len(set(batches)) * len(set(contexts))

    def comparison(phase: str) -> Comparison:
        with progress(f"estimating {phase} of {name}", total=total) as step:
            return compare(
                name, model, systems, batches=batches, contexts=contexts, phase=phase,
                files=records, progress=step.to,
            )

    return comparison("decode"), comparison("prefill")


def _idle_file(path: str, record: Record, result: Comparison) -> str | None:
    """Return what to say of a baselines file that has nothing for the points asked for, or None."""
    entries = record.baselines
    of_model = {(e.batch, e.context) for e in entries if e.model == result.name}
    if of_model & set(result.points):
        return None
    if of_model:
        has = ", ".join(f"{batch}x{context or '?'}" for batch, context in sorted(of_model, key=str))
        return f"{path} has no figure at these points (batch x context); it has {has}"
    models = ", ".join(sorted({entry.model for entry in entries})) or "no figure at all"
    return f"{path} has no figure of {result.name}; it has {models}"


def _files(
    options: CompareOptions, result: Comparison, prefill: Comparison, report: dict[str, object],
    flips: list[Flip],
) -> dict[Path, list[bytes]]:
    """Return what is to be written, by path."""
    files: dict[Path, list[bytes]] = {}
    if options.out is not None:
        from .charts import png_images

        folder = Path(options.out)
        files[folder / "compare.json"] = [json.dumps(report, indent=2).encode() + b"\n"]
        with progress("drawing"):
            images = png_images(result, prefill)
        files |= {folder / f"{name}.png": [image] for name, image in images.items()}
    if options.html is not None:
        from .charts import svg_images
        from .page import html_page

        with progress("drawing the page"):
            plots = svg_images(result, prefill)
            page = html_page(result, plots, flips, prefill)
        files = joined(files, {Path(options.html): [page.encode(errors="replace")]})
    return files


def run_command(options: CompareOptions) -> None:
    """Compare, print, and write what was asked for."""
    if options.out is not None or options.html is not None:
        check_matplotlib()
    if options.out is not None:
        check_output_folder(options.out)
    if options.html is not None:
        check_output_file(options.html, "page")
    # Once: a pipe can be read no second time.
    records = [load_record(path) for path in options.baselines]
    result, prefill = chosen_comparisons(options, records)
    for path, record in zip(options.baselines, records, strict=True):
        if (text := _idle_file(path, record, result)) is not None:
            click.echo(f"note: {text}", err=True)
    with progress("what turns the verdicts", total=len(result.systems)) as step:
        flips = sensitivity(result, step.to)
    report = to_json(result, flips, prefill)

    def show() -> None:
        if options.as_json:
            click.echo(json.dumps(report))
        else:
            print_tables(result, flips, prefill)

    plots: list[Path] = []
    if options.out is not None:
        from .charts import NAMES

        plots = [Path(options.out) / f"{name}.png" for name in NAMES]
    deliver(
        show, lambda: _files(options, result, prefill, report, flips), as_json=options.as_json,
        folder=options.out, kinds=plots,
    )
