"""Sweeps: figures of the simulator, resumed, pruned, and none lost to a killed process."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from golden.config import named_model
from sim.errors import InputError
from sim.explore import ResultStore, evaluate, explore, named_space, parse_limits
from sim.explore.run import evaluate_parcel
from sim.explore.store import RESULTS
from sim.system import estimate, simulate

QUICK = named_space("quick")
SMALL = replace(
    QUICK, axes=QUICK.axes | {"model": ("fbi-130m",), "act_bits": (8,), "k_par": (32,)}
)


def test_figures_are_those_of_the_simulator():
    design = next(iter(SMALL.designs()))
    metrics = evaluate(SMALL, design)["metrics"]
    found = estimate(named_model("fbi-130m"), SMALL.build(design), context=512)
    assert metrics["tokens_per_second"] == found.tokens_per_second.nominal
    assert metrics["joules_per_token_high"] == found.energy_per_token_j.high
    power = found.energy_per_token_j.nominal / found.time_per_token_s.nominal
    assert metrics["watts"] == pytest.approx(power, rel=1e-12)
    assert metrics["watts_low"] < metrics["watts"] < metrics["watts_high"]
    assert metrics["usd"] == 60 + 1.5 * metrics["lut"] / 1000 + 20


def test_a_run_has_a_time_to_the_first_token():
    space = replace(SMALL, prefill=32, decode=4)
    design = next(iter(space.designs()))
    metrics = evaluate(space, design)["metrics"]
    found = simulate(named_model("fbi-130m"), space.build(design), prefill=32, decode=4)
    assert metrics["time_to_first_token_s"] == found.phases[0].time_s.nominal
    assert metrics["step_s"] == pytest.approx(found.phases[1].time_s.nominal / 4)


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path):
    space = replace(SMALL, axes=SMALL.axes | {"model": ("fbi-7b",), "batch": (64,)})
    with ResultStore(tmp_path) as store:
        outcome = explore(space, store)
    assert {record["status"] for record in outcome.records} == {"refused"}
    assert "64 sequences of 512 positions must fit" in outcome.records[0]["reason"]


def test_limits_prune_before_simulating_and_lose_nothing(tmp_path):
    limits = parse_limits("lut<=4500, tokens_per_second>=150")
    with ResultStore(tmp_path / "all") as store:
        whole = explore(SMALL, store)
    with ResultStore(tmp_path / "pruned") as store:
        some = explore(SMALL, store, limits=limits)
    assert sum(some.pruned.values()) + len(some.records) == SMALL.size
    assert 0 < sum(some.pruned.values()) < SMALL.size
    assert some.feasible(limits) == whole.feasible(limits)
    assert some.feasible(limits)


def test_a_second_run_computes_nothing(tmp_path, monkeypatch):
    with ResultStore(tmp_path) as store:
        first = explore(SMALL, store)
    text = (tmp_path / RESULTS).read_text()
    monkeypatch.setattr("sim.explore.run.evaluate", None)
    with ResultStore(tmp_path) as store:
        again = explore(SMALL, store)
    assert (again.records, again.resumed) == (first.records, SMALL.size)
    assert (tmp_path / RESULTS).read_text() == text


def test_workers_with_other_sources_are_refused():
    with pytest.raises(InputError, match="same version"):
        evaluate_parcel(SMALL, [], "other")


COMMAND = """
from dataclasses import replace
from sim.explore import ResultStore, explore, named_space
import sim.explore.run as run
run.PARCEL = 4
space = named_space("quick")
if __name__ == "__main__":
    with ResultStore("{folder}") as store:
        explore(space, store, workers=2)
"""


def started(folder: Path):
    script = folder / "sweep.py"
    script.write_text(COMMAND.format(folder=folder))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finished_lines(folder: Path) -> int:
    path = folder / RESULTS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(process, folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not finished_lines(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert finished_lines(folder), "the sweep made no results"


def workers_of(process) -> list[int]:
    """Return the processes that a local cluster has started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == process.pid and b"spawn_main" in command:
            found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc")
@pytest.mark.parametrize("victim", ["worker", "run"])
def test_a_killed_process_loses_nothing(tmp_path, victim):
    pytest.importorskip("distributed")
    process = started(tmp_path)
    try:
        wait_for_lines(process, tmp_path)
        if victim == "worker":
            killed = workers_of(process)
            assert killed
            os.kill(killed[0], signal.SIGKILL)
            assert process.wait(timeout=180) == 0
        else:
            process.kill()
            process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    before = finished_lines(tmp_path)
    assert before == QUICK.size if victim == "worker" else before > 0
    with ResultStore(tmp_path) as store:
        outcome = explore(QUICK, store)
    assert outcome.resumed >= before
    keys = [json.loads(line)["key"] for line in (tmp_path / RESULTS).read_text().splitlines()]
    assert len(keys) == len(set(keys)) == QUICK.size
    assert outcome.records == [evaluate(QUICK, design) for design in QUICK.designs()]
