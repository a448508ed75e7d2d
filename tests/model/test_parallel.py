"""Two processes on the CPU against one: the same numbers, whatever joins them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden.config import named_model
from model.checkpoint import checkpoints, read_state
from model.metrics import read_metrics
from model.parallel import World, choose_engine, run_program
from model.trained import load_trained

from .tiny import SETTINGS, run

ROOT = Path(__file__).parents[2]
SHORT = replace(SETTINGS, steps=6, checkpoint_every=3, log_every=1, micro=2)


def torchrun(script, *arguments, processes=2, timeout=300):
    """Run a file of this folder under torchrun; raises with its output if it fails."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
        "--master-addr", "127.0.0.1", "--master-port", str(29500 + os.getpid() % 3000),
        str(Path(__file__).parent / script), *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout,
                            env=environment)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One process; and two under DDP and FSDP2, whole and in two parts."""
    out = tmp_path_factory.mktemp("runs")
    run(out / "single", SHORT)
    torchrun("two_processes.py", out)
    return out


@pytest.mark.parametrize("engine", ["ddp", "fsdp", "fsdp-recompute"])
def test_two_processes_learn_what_one_learns(trained, engine):
    one, two = load_trained(trained / "single"), load_trained(trained / engine)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    logs = [read_metrics(trained / name) for name in ("single", engine)]
    for a, b in zip(*logs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=5e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
        assert a["flip_flop"] == pytest.approx(b["flip_flop"], abs=1e-3)
    state = json.loads((trained / engine / "checkpoints/step-00000006/state.json").read_text())
    assert state["engine"] == engine.partition("-")[0]
    assert (trained / engine / "packed" / "model.safetensors").is_file()


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_resume_on_two_processes_is_identical_to_the_bit(trained, engine):
    whole, parts = load_trained(trained / engine), load_trained(trained / f"{engine}-parts")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_two_processes_continues_on_one(trained):
    path = trained / "fsdp-parts"
    settings = replace(SHORT, log_every=2)
    assert len(read_metrics(path)) == 6
    model = run(path, settings, resume=True)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.parameters(), load_trained(path).parameters(), strict=True)
    )


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_processes_go_on_from_a_compact_state(trained, engine):
    whole, carried = (load_trained(trained / name) for name in (engine, f"{engine}-carried"))
    parameters = (torch.cat([p.flatten() for p in m.parameters()]) for m in (whole, carried))
    ours, theirs = parameters
    assert 0 < float((ours - theirs).norm() / ours.norm()) < 0.02
    state = read_state(checkpoints(trained / f"{engine}-carried")[-1])
    assert (state["step"], state["engine"], state["devices"]) == (6, engine, 2)
    assert state["resumed"] == [{"step": 3, "by": "compact", "same_data": True}]
    assert [r["step"] for r in read_metrics(trained / f"{engine}-carried")] == [1, 2, 3, 4, 5, 6]


def test_the_7b_shape_steps_under_fsdp2_from_the_meta_device(tmp_path):
    """Its proportions at an eighth of the width; ``step_7b.py FOLDER 1`` takes a whole layer."""
    result = json.loads(torchrun("step_7b.py", tmp_path, 8).splitlines()[-1])
    assert result["engine"] == "fsdp"
    assert result["local_parameters"] < 0.51 * result["parameters"]
    assert result["parameters"] > 2 * named_model("fbi-7b").binary_weights // 32 // 64
    assert result["losses"][1] < result["losses"][0]


def test_the_engine_follows_the_memory():
    cpu = World(0, 2, torch.device("cpu"))
    assert choose_engine("auto", cpu, 10**12) == "ddp"
    assert choose_engine("fsdp", cpu, 1) == "fsdp"
    assert choose_engine("auto", World(0, 1, torch.device("cpu")), 1) == "single"
    assert choose_engine("fsdp", World(0, 1, torch.device("cpu")), 1) == "single"


ENDS = {"pass": 0, "sys.exit(0)": 0, "sys.exit(None)": 0, "sys.exit(2)": 2,
        "sys.exit('so it ended')": 1, "raise ValueError('so it ended')": 1}  # fmt: skip
FORKS = """
import os, sys
from model.parallel import run_program

def main():
    print("a result", end=",")
    exec(how)

for how in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        run_program(main)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_program_of_torchrun_ends_with_its_exit_code_and_loses_no_output():
    done = subprocess.run([sys.executable, "-c", FORKS, *ENDS], cwd=ROOT, capture_output=True,
                          text=True, check=True, env=os.environ | {"LOCAL_RANK": "0"})  # fmt: skip
    assert done.stdout.splitlines() == [f"a result,{code}" for code in ENDS.values()]
    assert done.stderr.count("so it ended") == 2
    assert "ValueError: so it ended" in done.stderr


def test_a_program_alone_ends_with_its_exit_code(monkeypatch, capsys):
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def main():
        raise ValueError("so it ended")

    for program, code in ((main, 1), (lambda: sys.exit(2), 2), (lambda: None, 0)):
        with pytest.raises(SystemExit) as end:
            run_program(program)
        assert end.value.code == code
    assert "ValueError: so it ended" in capsys.readouterr().err
