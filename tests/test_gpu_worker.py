"""What GPU benchmarks do about tasks that fail, hang or break their process; needs no GPU."""

import importlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WORKER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from gpu_worker import Tasks
tasks = Tasks(Path(sys.argv[1]))
def fails(): raise ValueError("a bad\\nshape")
def breaks(): os._exit(7)
def faults(): raise RuntimeError("CUDA error: an illegal access")
def hangs(): time.sleep(600)
for name in {names!r}.split():
    key, _, count = name.partition("/")
    what = globals().get(key.split("-")[0], lambda: dict(seconds=1.5))
    tasks.run(dict(key=key, count=int(count or 1)), what)
print("bye")
sys.exit({code})
"""


@pytest.fixture
def gpu_worker(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_worker")


def supervised(gpu_worker, folder, names, code=0, **limits):
    text = WORKER.format(folder=str(BENCHMARKS), names=names, code=code)
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return gpu_worker.supervise([sys.executable, str(script), str(folder)], folder, **limits)


def reasons(results):
    return {one["key"]: one.get("reason", one.get("seconds")) for one in results}


def test_one_culprit_costs_only_itself(gpu_worker, tmp_path):
    names = "first fails breaks faults second breaks/2 faults-again hangs last"
    results = supervised(gpu_worker, tmp_path, names, seconds=60, still=1.5)
    assert reasons(results) == {
        "first": 1.5, "second": 1.5, "last": 1.5,
        "fails": "ValueError: a bad shape",
        "breaks": "its process ended with 7: ",
        "faults": "RuntimeError: CUDA error: an illegal access",
        "faults-again": "RuntimeError: CUDA error: an illegal access",
        "hangs": "it stood still for 1.5 s: ",
    }
    assert len(results) == 8  # nothing is done twice, and what broke is not tried in other cases
    assert results[0] == {"key": "first", "count": 1, "seconds": 1.5}


def test_it_gives_up_after_too_many(gpu_worker, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_worker, "ATTEMPTS", 2)
    results = supervised(gpu_worker, tmp_path, "breaks breaks-2 last", seconds=60)
    assert [one["key"] for one in results] == ["breaks", "breaks-2", "worker"]
    assert results[-1]["reason"] == "2 tasks ended it; what was left is not done"


def test_it_ends_when_the_time_is_over(gpu_worker, tmp_path):
    results = supervised(gpu_worker, tmp_path, "first hangs last", seconds=3, still=60)
    assert reasons(results) == {"first": 1.5, "hangs": "no time was left: "}


def test_a_worker_that_fails_outside_its_tasks_says_so(gpu_worker, tmp_path):
    results = supervised(gpu_worker, tmp_path, "first", code=3, seconds=60)
    assert reasons(results) == {"first": 1.5, "worker": "its process ended with 3: bye"}


def script(name, *arguments):
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    # a program's own folder is not on its path with PYTHONSAFEPATH
    path = os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": path})  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["gpu_gemm.py", "--out", "x.json"], ["gpu_profile.py"], ["gpu_sanitize.py"]],
    ids=lambda arguments: arguments[0],
)
def test_without_a_gpu_benchmarks_say_so(arguments, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    done = script(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: baseline needs a CUDA GPU")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["gpu_gemm.py", "gpu_profile.py"])
def test_an_unknown_model_is_refused(name):
    done = script(name, "--model", "gpt", "--out", "x.json")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: a model is one of ")


def test_tables_show_figures_and_reasons(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    gpu_gemm, gpu_profile, gpu_sanitize = map(
        importlib.import_module, ("gpu_gemm", "gpu_profile", "gpu_sanitize")
    )
    name = gpu_gemm.name_of(gpu_gemm.TILES[16][0], 16)
    said = gpu_gemm.table("fbi-7b", [
        {"key": name, "part": "out", "count": 16, "seconds": 1e-5},
        {"key": "cublas bf16", "part": "out", "count": 16, "reason": "out of memory"},
    ])
    # 2 * 4096 * 4096 * 16 operations in 10 us
    assert "       10.0     54" in said
    assert f"out         16 {name}" in said
    assert "1 failed\ncublas bf16 out 16: out of memory" in said
    said = gpu_profile.table([
        {"key": "bf16 batch 1", "step_us": 100.0, "idle_us": 3.0, "early": "all but RoPE",
         "kinds": {"head": {"us": 60.0, "n": 1}}},
        {"key": "sign-a8 batch 1", "reason": "no time was left: "},
    ])
    assert said.splitlines()[1].split() == [
        "bf16", "batch", "1", "100", "3", "60", "(", "1)", "early:", "all", "but", "RoPE"]
    assert "sign-a8 batch 1: no time was left" in said
    said = gpu_sanitize.table(
        {"memcheck": [{"key": "a", "error_share": 0.1}, {"key": "b", "reason": "wrong"}]},
        {"memcheck": "ERROR SUMMARY: 0 errors"},
        {"memcheck": ["Invalid __global__ read of size 4"]},
    )
    assert "\n    Invalid __global__ read of size 4\n" in said
    assert said.startswith("memcheck     1 checks passed, 1 without a result; ERROR SUMMARY: 0")
    assert json.dumps("b: wrong")[1:-1] in said


def test_a_worker_of_gpu_gemm_gets_its_family_model_and_folder(monkeypatch, tmp_path):
    """The command that starts a worker, taken as the worker takes it; without a GPU."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    gpu_gemm = importlib.import_module("gpu_gemm")
    given, worked = ["--out", str(tmp_path / "x.json"), "--model", "fbi-43m",
                     "--family", "library", "--family", "triton"], []  # fmt: skip
    worker = types.ModuleType("gpu_gemm_worker")
    worker.work = lambda family, model, folder: worked.append((family, model, folder.is_dir()))
    monkeypatch.setitem(sys.modules, "gpu_gemm_worker", worker)
    monkeypatch.setattr(gpu_gemm, "require_gpu", lambda: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks/gpu_gemm.py", *given])
    monkeypatch.setattr(gpu_gemm.torch.cuda, "get_device_name", lambda: "none")

    def supervise(command, folder, *, seconds):
        assert command[:2] == [sys.executable, "benchmarks/gpu_gemm.py"]
        gpu_gemm.main.main(command[2:], standalone_mode=False)
        return []

    monkeypatch.setattr(gpu_gemm, "supervise", supervise)
    gpu_gemm.main.main(given, standalone_mode=False)
    assert worked == [("library", "fbi-43m", True), ("triton", "fbi-43m", True)]
