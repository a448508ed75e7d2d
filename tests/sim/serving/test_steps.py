"""Step times are those of Machine.step, and a jump is the sum of its steps."""

from dataclasses import replace

import numpy as np
import pytest

from golden.config import named_model
from sim.errors import InputError
from sim.serving.steps import BIN, CASES, EDGES, StepTimes, gap_bin, pass_ps
from sim.system import Machine, named_link
from sim.workload import Pass

from .machines import KV260, SYSTEMS, machine


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_pass_takes_what_machine_step_says(name, case):
    steps, rng = StepTimes(machine(name), 10_000, case), np.random.default_rng(1)
    for _ in range(40):
        work = Pass.of(
            (int(rng.integers(1, 5)), int(rng.integers(0, 900)), int(rng.integers(2)))
            for _ in range(rng.integers(1, 4))
        )
        found = steps.time(work.tokens, work.attended, work.cached, work.outputs)
        assert found == pass_ps(machine(name), work, case)


@pytest.mark.parametrize("name", SYSTEMS)
def test_decode_runs_are_sums_of_machine_step(name):
    steps, rng = StepTimes(machine(name), 6000), np.random.default_rng(2)
    for batch in (1, 3, 8):
        runs = steps.runs(batch)
        for _ in range(5):
            attended, count = int(rng.integers(batch, 440 * batch)), int(rng.integers(1, 60))
            times = [
                pass_ps(machine(name), Pass(batch, at, at - batch, batch))
                for at in range(attended, attended + count * batch, batch)
            ]
            place = runs.place(attended)
            assert runs.sums[place + count] - runs.sums[place] == sum(times)
            gaps = {}
            runs.count_gaps(place, place + count, gaps)
            bins = [gap_bin(time) for time in times]
            assert gaps == {index: bins.count(index) * batch for index in set(bins)}
            for time in (1, times[0], times[0] + 1, sum(times[:7]), sum(times), 10**15):
                need = next(
                    (n for n in range(1, count + 1) if sum(times[:n]) >= time), count
                )
                assert runs.iterations(place, time, count) == need


def test_runs_reach_to_the_last_position():
    """Where all sequences stand at the model's last position, or the KV cache is full."""
    most = machine().model.max_position_embeddings
    runs = StepTimes(machine(), 10**6).runs(2)
    last = runs.place(2 * most)
    assert runs.sums[last + 1] - runs.sums[last] == pass_ps(
        machine(), Pass(2, 2 * most, 2 * most - 2, 2)
    )
    runs = StepTimes(machine(), 1001).runs(7)
    last = runs.place(1001)
    assert runs.sums[last + 1] > runs.sums[last]


def test_tables_stay_within_their_room():
    room = StepTimes(machine(), 4000).runs(4).nbytes * 3
    steps, free = StepTimes(machine(), 4000, table_bytes=room), StepTimes(machine(), 4000)
    for batch in (4, 5, 6, 7, 4):
        assert steps.runs(batch).sums == free.runs(batch).sums
        assert sum(runs.nbytes for runs in steps._runs.values()) <= room


def test_bins_hold_what_they_say():
    for gap in (1000, 10**6, 123_456_789, 10**12):
        index = gap_bin(gap)
        assert EDGES[index - 1] <= gap < EDGES[index]
        assert EDGES[index] <= EDGES[index - 1] * BIN


def test_refusals():
    with pytest.raises(InputError, match="low, nominal, high, not 'mean'"):
        StepTimes(machine(), 100, "mean")
    pipeline = replace(KV260, chips=2, parallel="pipeline", link=named_link("pcie4-x16"))
    with pytest.raises(InputError, match=r"one pipeline stage .* not 2 stages"):
        StepTimes(Machine(named_model("fbi-43m"), pipeline), 100)
