"""How often the engine's nets toggle, on real and on random data: Verilator's SAIF of the RTL.

    python benchmarks/activity.py --out benchmarks/results/activity.json

Some linears of the shipped model, their first outputs, on engines of 16 x 16 lanes of every
structure; every result is held to golden. Toggles are zero-delay: no glitches. Repeat with
--engine to measure some engines anew and keep the others of the file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
from record import write_record

from golden.folder import load_packed
from golden.generate import load_tokenizer, prompt_tokens
from hw.config import EngineConfig
from signacc.activity.measure import DATA, layer_activity, on_data, summed, traced_engine
from signacc.cosim.capture import capture
from signacc.cosim.job import LayerJob, Writing
from signacc.models import model_folder

LINEARS = ("0.q_proj", "5.gate_proj", "11.down_proj")
OUTPUTS = 128  # as many tiles as a table has entries: no structure waits
POSITIONS = (11, 23)
PROMPT = "The history of the city begins with the river, on whose banks the first houses stood."
SEED = 1


def engines() -> dict[str, EngineConfig]:
    base = EngineConfig(
        name="direct_a8", k_par=16, n_par=16, act_bits=8, k_max=1408, n_max=512, act_par=4,
        out_par=4,
    )
    kinds = [
        ("tables", 4, 16), ("direct", 1, 8), ("shared", 2, 16), ("triple", 1, 8), ("tables", 4, 8),
        ("direct", 1, 16), ("shared", 2, 8), ("triple", 1, 16),
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


@click.command()
@click.option("--engine", "names", multiple=True, type=click.Choice(list(engines())))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(names: tuple[str, ...], out: Path) -> None:
    known = json.loads(out.read_text())["results"] if out.is_file() else {"engines": {}}
    for name in names or engines():
        known["engines"][name] = measure(engines()[name])
        write_record(
            out,
            {"linears": LINEARS, "outputs": OUTPUTS, "positions": POSITIONS, "prompt": PROMPT,
             "seed": SEED, "nets": "rtl, zero delay"} | known,
            ("signacc", "amaranth", "cocotb", "verilator"),
        )


if __name__ == "__main__":
    main()
