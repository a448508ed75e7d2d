"""How often the engine's nets toggle, on real and on random data: Verilator's SAIF of the RTL.

    python benchmarks/activity.py --out benchmarks/results/activity.json \\
        --table sim/energy/data/activity.json

Some linears of the shipped model, their first outputs, on engines of 16 x 16 lanes of every
structure; every result is held to golden. Then the first row of an array as a netlist of gates,
beside separate adders whose operands are fair coins. Toggles are zero-delay: no glitches. With
--engine only some engines are measured anew, the others of the file stay; its command is the last.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from program import OutputFile, Program, record_of
from record import write_record

from golden.folder import load_packed
from golden.generate import load_tokenizer, prompt_tokens
from hw.config import EngineConfig
from signacc.activity.gates import SCRIPT, adders_activity, row_activity
from signacc.activity.measure import DATA, layer_activity, on_data, summed, traced_engine
from signacc.cosim.capture import capture
from signacc.cosim.job import LayerJob, Writing
from signacc.files import write_text
from signacc.fpga.tools import find_yosys
from signacc.models import model_folder
from sim.energy.calibration import rows_of_record

LINEARS = ("0.q_proj", "5.gate_proj", "11.down_proj")
OUTPUTS = 128  # as many tiles as a table has entries: no structure waits
POSITIONS = (11, 23)
PROMPT = "The history of the city begins with the river, on whose banks the first houses stood."
SEED = 1
ADDITIONS = 500
SOURCE = (
    "benchmarks/results/activity.json (python benchmarks/activity.py): toggles per bit and "
    "operation of RTL nets, zero delay, by Verilator's SAIF"
)


def engines() -> dict[str, EngineConfig]:
    base = EngineConfig(
        name="direct_a8", k_par=16, n_par=16, act_bits=8, k_max=1408, n_max=512, act_par=4,
        out_par=4,
    )
    kinds = [
        ("tables", 4, 16), ("direct", 1, 8), ("shared", 2, 16), ("triple", 1, 8), ("tables", 4, 8),
        ("direct", 1, 16),
    ]
    return {
        name: replace(base, name=name, structure=structure, group=group, act_bits=bits)
        for structure, group, bits in kinds
        for name in (f"{structure}_a{bits}",)
    }


def real_jobs(act_bits: int) -> list[LayerJob]:
    folder = model_folder()
    packed = load_packed(folder)
    tokens = prompt_tokens(load_tokenizer(folder), packed.config, PROMPT)
    layers = sorted({int(name.split(".")[0]) for name in LINEARS})
    positions = POSITIONS[-1] + 1
    captured = capture(
        packed, tokens, Writing(max(1, positions - len(tokens) + 1), 0.0, 1.0, SEED),
        layers=layers, positions=positions, act_bits=act_bits,
    )
    jobs = {job.name: job for job in captured.jobs}
    return [
        replace(jobs[name], x=jobs[name].x[list(POSITIONS)], signs=jobs[name].signs[:OUTPUTS])
        for name in LINEARS
    ]


def measure(config: EngineConfig) -> dict:
    built = traced_engine(config, on_build=lambda: print(f"building {config.name}", flush=True))
    jobs = real_jobs(config.act_bits)
    data = {}
    for kind in DATA:
        runs = layer_activity(built, config, [on_data(job, kind, SEED) for job in jobs])
        data[kind] = {
            "toggles_per_bit": {name: part.per_bit for name, part in summed(runs).items()},
            "layers": {
                job.name: {name: part.per_bit for name, part in run.items()}
                for job, run in zip(jobs, runs, strict=True)
            },
        }
        print(config.name, kind, json.dumps(data[kind]["toggles_per_bit"]), flush=True)
    return {
        "config": config.to_dict(), "data": data,
        "bits": {name: part.bits for name, part in runs[0].items()},
        "verilator": built.toolchain.version,
    }


def measure_gates(config: EngineConfig) -> dict:
    adders = adders_activity(config, operations=ADDITIONS, seed=SEED)
    jobs = real_jobs(config.act_bits)
    rows = {}
    for kind in DATA:
        found = [row_activity(config, on_data(job, kind, SEED)) for job in jobs]
        events = sum(entry.events for entry in found)
        toggles = sum(entry.toggles for entry in found) / events
        rows[kind] = {
            "beats": events, "toggles_per_beat": toggles, "over_adders": toggles / adders.per_event,
        }
        print("gates", kind, json.dumps(rows[kind]), flush=True)
    return {
        "config": config.to_dict(), "yosys": find_yosys().version, "script": SCRIPT,
        "row_gates": found[0].gates, "rows": rows,
        "adders_on_fair_coins": {
            "gates": adders.gates, "additions": ADDITIONS, "toggles_per_event": adders.per_event,
        },
    }


@click.command(cls=Program)
@click.option("--engine", "names", multiple=True, type=click.Choice([*engines(), "none"]),
              help="Only these; none: only the gates.")
@click.option("--gates/--no-gates", default=True, help="Also a row as a netlist of gates.")
@click.option("--out", required=True, type=OutputFile())
@click.option("--table", type=OutputFile(),
              help="Write what the simulator reads: sim/energy/data/activity.json.")
def main(names: tuple[str, ...], gates: bool, out: Path, table: Path | None) -> None:
    results: dict[str, Any] = {"engines": {}}
    if out.is_file():
        with record_of("activity.py", out):
            results = json.loads(out.read_text(encoding="utf-8"))["results"]
            results["engines"] |= {}  # raises if that is no table
    results |= {
        "linears": LINEARS, "outputs": OUTPUTS, "positions": POSITIONS, "prompt": PROMPT,
        "seed": SEED, "nets": "rtl, zero delay",
    }

    def write() -> None:
        write_record(out, results, ("signacc", "amaranth", "cocotb", "verilator"))

    for name in () if names == ("none",) else names or engines():
        results["engines"][name] = measure(engines()[name])
        write()
    if gates:
        results["gates"] = measure_gates(engines()["direct_a8"])
        write()
    if table is not None:
        rows = rows_of_record({"results": results})
        text = json.dumps({"source": SOURCE, "rows": rows}, indent=1)
        write_text(table, text + "\n")


if __name__ == "__main__":
    main()
