"""Phases of stamps made by hand."""

import importlib
from pathlib import Path

import pytest
import torch

from signacc.baseline.step import MARKS, PHASES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu_phases(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_phases")


def stamps_of(steps, start):
    """Return the stamps of blocks of one layer that take `steps` cycles from mark to mark."""
    blocks = len(steps)
    stamps = torch.zeros((blocks, 2, len(PHASES), len(MARKS)), dtype=torch.int64)
    for block, each in enumerate(steps):
        now = start
        for place in stamps[block, 0].reshape(-1).split(1):
            place[0] = now
            now += each
        stamps[block, 1, 0, [0, 2, 3, 4]] = now + torch.tensor([0, 1000, 1010, 1100]) * each
    return (stamps % 2**32 - (stamps % 2**32 >= 2**31) * 2**32).int()


@pytest.mark.parametrize("start", [100, 2**31 - 40, 2**32 - 45])
def test_parts_are_from_mark_to_mark(gpu_phases, start):
    stamps = stamps_of([10, 30, 20], start)
    found = gpu_phases.phases_of(stamps)
    assert found["step_cycles"] == 10 * (len(PHASES) * len(MARKS) + 1100)
    assert list(found["phases"]) == [*PHASES, "head"]
    for phase in PHASES:
        of = found["phases"][phase]
        assert of["slowest block"] == 1
        for who, cycles in (("block 0", 10), ("slowest", 30), ("all", 20)):
            assert of[who] == dict.fromkeys(gpu_phases.PARTS, cycles), (phase, who)
    assert found["phases"]["head"]["slowest"] == {"others": 30000, "planes": 300, "sums": 2700}


def test_a_block_without_work_has_no_parts(gpu_phases):
    stamps = stamps_of([10, 30], 100)
    stamps[1, 0, 2, 2:] = 0  # no tile of `out`
    found = gpu_phases.phases_of(stamps)["phases"]["out"]
    assert found["slowest block"] == 0
    assert found["all"] == dict.fromkeys(gpu_phases.PARTS, 10) | {"weights": 10.0}
    line = next(one for one in gpu_phases.table(gpu_phases.phases_of(stamps)) if "out" in one)
    assert line.split()[:3] == ["out,", "slowest", "0"]


def test_layers_count_by_their_median(gpu_phases):
    one = stamps_of([10], 100)
    three = torch.cat([one[:, :1], one[:, :1], one], 1)
    three[0, :3, 0, 3] += torch.tensor([0, 5, 9], dtype=torch.int32)  # planes of qkv
    found = gpu_phases.phases_of(three)["phases"]["qkv"]["block 0"]
    assert (found["planes"], found["sums"]) == (15, 5)
