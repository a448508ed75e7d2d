"""signacc explore: files, table, JSON; bad input in one sentence."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from signacc.cli import main
from sim.explore import named_space


def invoke(*arguments):
    return CliRunner().invoke(main, ["explore", "--workers", "0", *arguments])


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    message = result.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in message, message


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("sweep")
    result = invoke("--constraints", "lut<=20000", "-o", str(folder), "--json")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


@pytest.fixture
def resumed(sweep, tmp_path):
    """A copy of the sweep's folder to run in: the sweep's own serves tests in any order."""
    return shutil.copytree(sweep[0], tmp_path / "resumed")


def test_counts_add_up(sweep):
    folder, report = sweep
    space = named_space("quick")
    assert report["designs"] == space.size
    assert report["evaluated"] + sum(report["pruned"].values()) == space.size
    assert json.loads((folder / "front.json").read_text()) == report
    assert (folder / "front.png").read_bytes()[-8:-4] == b"IEND"


def test_csv_holds_every_design_and_marks_the_front(sweep):
    folder, report = sweep
    rows = list(csv.DictReader((folder / "designs.csv").read_text().splitlines()))
    assert len(rows) == report["evaluated"]
    front = [row for row in rows if row["front"] == "1"]
    assert sorted(float(row["tokens_per_second"]) for row in front) == sorted(
        entry["metrics"]["tokens_per_second"] for entry in report["front"]
    )
    assert {row["model"] for row in front} == {"fbi-130m", "fbi-1.3b"}
    for model in ("fbi-130m", "fbi-1.3b"):
        mine = [row for row in rows if row["model"] == model]
        best = max(mine, key=lambda row: float(row["tokens_per_second"]))
        assert float(best["tokens_per_second"]) == max(
            float(row["tokens_per_second"]) for row in front if row["model"] == model
        )


def test_the_table_is_of_the_same_sweep(resumed):
    result = invoke("--constraints", "lut<=20000", "-o", str(resumed))
    assert result.exit_code == 0, result.output
    assert "88 simulated (88 of" in result.output
    assert "front of each model" in result.output


def test_no_feasible_design_is_said(resumed):
    """And no plot stays from a run that had some."""
    (resumed / "front.png").write_bytes(b"of another run")
    result = invoke("--constraints", "tokens_per_second>=1e9", "-o", str(resumed))
    assert result.exit_code == 0, result.output
    assert not (resumed / "front.png").exists()
    assert "no design keeps the constraints" in result.output
    assert not json.loads((resumed / "front.json").read_text())["front"]


def test_another_model_and_one_objective(tmp_path):
    result = invoke("--model", "fbi-43m", "--objective", "watts", "-o", str(tmp_path), "--json")
    report = json.loads(result.stdout)
    watts = [entry["metrics"]["watts"] for entry in report["front"]]
    assert {entry["design"]["model"] for entry in report["front"]} == {"fbi-43m"}
    assert len(set(watts)) == 1
    assert not (tmp_path / "front.png").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--space", "nowhere"], "not 'nowhere'"),
        (["--space", "none.json"], "cannot read none.json"),
        (["--constraints", "lut<5"], "NAME<=NUMBER"),
        (["--objective", "speed"], "'speed'"),
        (["--objective", "time_to_first_token_s"], "needs a prefill"),
        (["--model", "fbi-9b"], "fbi-9b"),
        (["--scheduler", "tcp://x:1"], "not both"),
    ],
)
def test_bad_input_is_refused_and_writes_nothing(tmp_path, arguments, part):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "sweep"
    refused(invoke("-o", str(folder), *arguments), part)
    assert not folder.exists()


@pytest.mark.parametrize("address", ["x", "tcp://x", "x:", "tcp://a b:1", "1"])
def test_a_scheduler_needs_an_address(tmp_path, address):
    pytest.importorskip("distributed")
    result = CliRunner().invoke(main, ["explore", "-o", str(tmp_path), "--scheduler", address])
    refused(result, f"must read like tcp://host:8786, not '{address}'")


def test_sim_starts_without_dask():
    code = "import sys, sim.explore; print([m for m in ('dask', 'distributed', 'numpy') " \
           "if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_interruption_of_all_processes_is_said_once(tmp_path):
    """Ctrl-C on a terminal: Dask's workers are interrupted too, and stay silent."""
    pytest.importorskip("distributed")
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        running = subprocess.Popen(
            [Path(sys.executable).with_name("signacc"), "explore", "--space", "boards",
             "--workers", "2", "-o", tmp_path],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        results, deadline = tmp_path / "results.jsonl", time.monotonic() + 60
        while not (results.is_file() and results.stat().st_size):
            assert time.monotonic() < deadline, "no result came"
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 128 + signal.SIGINT
    assert "Traceback" not in errors
    assert errors.endswith("interrupted\n")
    assert all(json.loads(line) for line in results.read_text().splitlines())


CTRL_C = """
import os, signal, sys
if "spawn_main" in " ".join(sys.orig_argv):  # a worker of Dask, which has only begun
    try:
        os.close(os.open(os.environ["INTERRUPTED_ONCE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        os.killpg(0, signal.SIGINT)
"""


def test_an_interruption_while_workers_start_ends_it(tmp_path):
    """Ctrl-C on a terminal, sent by the first worker before it can take any work."""
    pytest.importorskip("distributed")
    (tmp_path / "sitecustomize.py").write_text(CTRL_C)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "INTERRUPTED_ONCE": str(tmp_path / "sent"),
    }
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        running = subprocess.Popen(
            [Path(sys.executable).with_name("signacc"), "explore", "--space", "boards",
             "--workers", "2", "-o", tmp_path / "sweep"], env=environment,
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        output, errors = running.communicate(timeout=60)  # no process is left that holds a pipe
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert (tmp_path / "sent").exists(), "no worker was started"
    assert running.returncode == 128 + signal.SIGINT, errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert output == ""
    assert not (tmp_path / "sweep").exists()  # nothing was stored
