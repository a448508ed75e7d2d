"""Verilog of large engines: time to generate it, its size, and how long Verilator builds it.

    python benchmarks/large.py --out benchmarks/results/large.json

Each build starts from an empty cache and is then asked for again. `repeats` counts, for each module
of the array, where it stands in the text (once) and how often the design holds it.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from program import OutputFile, Program
from record import write_record

from hw.config import EngineConfig
from hw.verilog import generate
from signacc.cosim.build import build

LARGE = {"k_par": 64, "n_par": 64, "k_max": 11264, "n_max": 32768, "act_par": 4, "out_par": 4}
STRUCTURES: dict[str, dict[str, Any]] = {
    "tables": {"structure": "tables", "group": 4},
    "triple": {"structure": "triple"},
    "direct": {"structure": "direct"},
}


def held(text: str, top: str) -> dict[str, int]:
    """Return how often the design below `top` holds each module that it holds twice or more."""
    inside: dict[str, Counter[str]] = {}
    for body in re.finditer(r"^module \\?(\S+?) ?\(.*?^endmodule", text, re.M | re.S):
        inside[body[1]] = Counter(re.findall(r"^ +\\?(\S+) +\\?\S+ +\($", body[0], re.M))

    total: Counter[str] = Counter()

    def walk(name: str, times: int) -> None:
        total[name] += times
        for part, count in inside.get(name, Counter()).items():
            if part in inside:
                walk(part, times * count)

    walk(top, 1)
    return {name: count for name, count in total.items() if count > 1}


def measured(config: EngineConfig) -> dict[str, Any]:
    start = time.perf_counter()
    generated = generate(config)
    generation = time.perf_counter() - start
    text = generated.text
    start = time.perf_counter()
    build(text, generated.top)
    cold = time.perf_counter() - start
    start = time.perf_counter()
    build(text, generated.top)
    return {
        "lanes": config.lanes, "act_bits": config.act_bits, "structure": config.structure,
        "generation_s": round(generation, 2), "lines": text.count("\n"), "bytes": len(text),
        "modules": len(re.findall(r"^module ", text, re.M)), "repeats": held(text, generated.top),
        "build_s": round(cold, 1), "build_again_s": round(time.perf_counter() - start, 2),
    }  # fmt: skip


@click.command(cls=Program)
@click.option("--structure", "structures", type=click.Choice(tuple(STRUCTURES)), multiple=True,
              default=tuple(STRUCTURES), show_default=True)
@click.option("--act-bits", type=int, multiple=True, default=(8, 16), show_default=True)
@click.option("--out", type=OutputFile(), required=True)
def main(structures: tuple[str, ...], act_bits: tuple[int, ...], out: Path) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="signacc-large-") as cache:
        os.environ["SIGNACC_CACHE"] = cache
        for structure in structures:
            for bits in act_bits:
                name = f"large_{structure}_a{bits}"
                config = EngineConfig(name=name, act_bits=bits, **LARGE, **STRUCTURES[structure])
                rows.append(measured(config))
                click.echo(rows[-1])
    write_record(out, rows, ("signacc", "amaranth", "verilator"))


if __name__ == "__main__":
    main()
