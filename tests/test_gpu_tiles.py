"""benchmarks/gpu_tiles.py: the modelled times of the warpgroup GEMM against the measured ones."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks/results/gpu_gemm.json"


@pytest.fixture
def gpu_tiles(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_tiles

    yield gpu_tiles
    sys.modules.pop("gpu_tiles")


def test_the_constants_are_as_good_as_they_say(gpu_tiles):
    model, timed = gpu_tiles.read(RECORD)
    assert (model, len(timed), len({t.tile for t in timed})) == ("fbi-7b", 200, 22)
    last = gpu_tiles.judged(model, timed, gpu_tiles.H200).splitlines()[-1]
    assert last == ("mean |ln(modelled / measured)| 0.101; taken tiles are 0.0 % slower than the "
                    "fastest, at most 0.0 %")


def test_a_fit_finds_the_constants_behind_exact_times(gpu_tiles):
    model, timed = gpu_tiles.read(RECORD)
    true = replace(gpu_tiles.H200, fill=3.5, unit=0.6)
    timed = [replace(t, us=t.modelled(model, true)) for t in timed if t.count == 256]
    before = gpu_tiles.loss(model, timed, gpu_tiles.H200)
    found = gpu_tiles.fit(model, timed)
    assert gpu_tiles.loss(model, timed, found) < before / 4
    assert math.isclose(found.unit, true.unit, rel_tol=0.02)
