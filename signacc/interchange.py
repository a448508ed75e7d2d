"""Models in and out: what the commands ``import`` and ``export`` do and print."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from signacc.console import progress


def import_model(source: Path, output: Path, *, tokenizer: Path | None, as_json: bool) -> None:
    """Make a packed model folder of a checkpoint, and print what was found.

    Raises
    ------
    InputError
        If the source or the tokenizer cannot be used.
    """
    from model.importer import import_checkpoint

    with progress(f"reading {source.name}", total=1) as step:
        report = import_checkpoint(source, output, tokenizer=tokenizer, progress=step.to)
    if as_json:
        click.echo(json.dumps(asdict(report) | {"output": str(output)}))
        return
    config = report.config
    click.echo(f"{output}: {config.num_hidden_layers} layers, hidden {config.hidden_size}, "
               f"{config.binary_weights:,} binary weights")
    click.echo(f"{report.tensors} tensors from {report.shards} file(s), {report.dropped} rotary "
               f"buffers dropped, {report.latent_zeros} latent weights of 0 packed as +1")
    if not report.tokenizer:
        click.echo("no tokenizer.json was there: text needs one (--tokenizer FILE)")
