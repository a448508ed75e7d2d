"""Models in and out: what the commands ``import`` and ``export`` do and print."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from golden.errors import InputError
from signacc.console import progress
from signacc.files import check_output_file


def import_model(source: Path, output: Path, *, tokenizer: Path | None, as_json: bool) -> None:
    """Make a packed model folder of a checkpoint or GGUF file, and print what was found.

    Raises
    ------
    InputError
        If the source or the tokenizer cannot be used.
    """
    if source.suffix == ".gguf":
        _import_gguf(source, output, tokenizer=tokenizer, as_json=as_json)
        return
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


def _import_gguf(source: Path, output: Path, *, tokenizer: Path | None, as_json: bool) -> None:
    from model.gguf_file import import_gguf

    if tokenizer is not None:
        raise InputError("a GGUF file holds its own tokenizer: leave --tokenizer out")
    with progress(f"reading {source.name}"):
        config = import_gguf(source, output)
    if as_json:
        click.echo(json.dumps({"config": config.to_dict(), "output": str(output)}))
    else:
        click.echo(f"{output}: {config.num_hidden_layers} layers, hidden {config.hidden_size}, "
                   f"{config.binary_weights:,} binary weights")


def export_gguf_file(folder: Path, output: Path, *, as_json: bool) -> None:
    """Write a packed model as a GGUF file, and print its size; raises InputError for bad input."""
    from model.gguf_file import export_gguf

    if output.suffix != ".gguf":
        raise InputError(f"the output file must end in .gguf, not {str(output)!r}")
    check_output_file(output, "GGUF file")
    with progress(f"writing {output.name}"):
        try:
            export_gguf(folder, output)
        except OSError as error:  # such as a full disk, of which numpy names no file
            error.filename = error.filename or str(output)
            raise
    size = output.stat().st_size
    if as_json:
        click.echo(json.dumps({"output": str(output), "bytes": size}))
    else:
        click.echo(f"{output}: {size:,} bytes; signs as Q1_0 with scale 1, scale_in and shift_in "
                   "as F16")
