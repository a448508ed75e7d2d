"""Turns a record of gpu_decode.py into a baselines file that signacc reads.

    python benchmarks/gpu_baselines.py benchmarks/results/gpu_decode_h200.json h200 \\
        sim/baselines/h200_bf16.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from program import OutputFile, Program, record_of

from signacc.files import write_text
from sim.baselines import SCHEMA, Baseline

KERNELS = {
    "eager": "PyTorch's own kernels",
    "compiled": "kernels of torch.compile",
}


@click.command(cls=Program)
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("gpu")
@click.argument("out", type=OutputFile())
def main(record: Path, gpu: str, out: Path) -> None:
    with record_of("gpu_decode.py", record):
        entries = entries_of(json.loads(record.read_text(encoding="utf-8")), gpu)
    content = {"schema": SCHEMA, "baselines": [entry.to_dict() for entry in entries]}
    write_text(out, json.dumps(content, indent=2) + "\n")


def entries_of(data: dict[str, Any], gpu: str) -> list[Baseline]:
    """Return the baselines of a record of gpu_decode.py."""
    entries = []
    for model, figures in data["models"].items():
        for variant, kernels in KERNELS.items():
            figure = figures[variant]
            entries.append(
                Baseline(
                    name=f"{gpu}-bf16-{variant}",
                    model=model,
                    batch=1,
                    context=data["context"],
                    tokens_per_second=figure["tokens_per_second_median"],
                    joule_per_token=figure["joules_per_token"],
                    mark="measured",
                    source=f"{data['gpu']}, driver {data['driver']}, PyTorch "
                    f"{data['versions']['torch']}: {data['what']}; {kernels}; board energy by NVML "
                    f"over {figure['seconds']} s, idle {data['idle_watts']} W",
                    command=data["command"],
                    date=data["date"],
                )
            )
    return entries


if __name__ == "__main__":
    main()
