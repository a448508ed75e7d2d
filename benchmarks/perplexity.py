"""Perplexity of a packed model: float beside golden at A16 and A8, on texts of your own.

    python benchmarks/perplexity.py --out benchmarks/results/perplexity-fbi-43m.json \\
        wiki=wiki.utf8 c4=c4.utf8 tiny=tiny.utf8
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
from program import OutputFile, Program
from record import write_record

from golden.errors import InputError
from signacc.evaluate import evaluate
from signacc.models import SHIPPED, model_folder


@click.command(cls=Program)
@click.option("--out", required=True, type=OutputFile())
@click.option("--window", default=512, show_default=True)
@click.option("--windows", default=64, show_default=True)
@click.option("--model", default=None, help="Packed folder [default: the shipped model].")
@click.argument("texts", nargs=-1, required=True)
def main(
    out: Path, window: int, windows: int, model: str | None, texts: tuple[str, ...]
) -> None:
    files = dict(text.split("=", 1) for text in texts if "=" in text)
    for text in texts:
        if "=" not in text or not Path(text.split("=", 1)[1]).is_file():
            raise InputError(f"a text must be NAME=FILE, a file that is there, not {text!r}")
    folder = model_folder(model)
    results = {}
    for name, path in files.items():
        rows = {}
        for arithmetic in ("float", "A16", "A8"):
            found = evaluate(
                folder, Path(path), arithmetic=arithmetic, window=window,
                windows=windows,
            )  # fmt: skip
            rows[arithmetic] = {
                "perplexity": found.result.perplexity,
                "bits_per_byte": found.bits_per_byte,
            }
            print(name, arithmetic, rows[arithmetic], flush=True)
        for arithmetic in ("A16", "A8"):
            ratio = rows[arithmetic]["perplexity"] / rows["float"]["perplexity"]
            rows[arithmetic]["against_float_percent"] = 100 * (ratio - 1)
        results[name] = rows
    record = {"model": model or SHIPPED, "window": window, "windows": windows, "texts": results}
    write_record(out, record, ("signacc", "torch", "numpy"))


if __name__ == "__main__":
    main()
