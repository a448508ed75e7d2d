"""Figures that stand in two places come from one record."""

from __future__ import annotations

import json
from pathlib import Path

from sim.baselines import load_file

ROOT = Path(__file__).parents[1]


def test_gpu_baselines_are_the_measured_record():
    record = json.loads((ROOT / "benchmarks/results/gpu_decode_h200.json").read_text())
    baselines = load_file(ROOT / "sim/baselines/h200_bf16.json")
    assert len(baselines) == 2 * len(record["models"])
    for entry in baselines:
        figure = record["models"][entry.model][entry.name.removeprefix("h200-bf16-")]
        assert entry.tokens_per_second == figure["tokens_per_second_median"]
        assert entry.joule_per_token == figure["joules_per_token"]
        assert entry.command == record["command"]
        assert entry.context == record["context"]
