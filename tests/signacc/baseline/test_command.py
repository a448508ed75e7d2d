import pytest
import torch
from click.testing import CliRunner

from golden.errors import InputError
from signacc.baseline import device
from signacc.baseline.command import checked_plan
from signacc.cli import main


def invoke(tmp_path, *arguments):
    return CliRunner().invoke(
        main, ["baseline", "-o", str(tmp_path / "out.json"), *arguments]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "tpu"], "baseline measures on the device cuda, not 'tpu'"),
        (["--path", "int3"], "a path is one of bf16, sign-a16, sign-a8, int4, not 'int3'"),
        (["--phase", "train"], "a phase is one of decode, prefill, not 'train'"),
        (["--gemm", "cublas"], "a GEMM is one of auto, triton, warpgroup, not 'cublas'"),
        (["--model", "gpt"], "a model is one of fbi-130m, "),
        (["--context", "4096"], "a context of fbi-130m must be at most 2048 positions, not 4096"),
        (["--seconds", "nan"], "--seconds must be from 0.01 to 3600, not nan"),
        (["--energy-seconds", "nan"], "--energy-seconds must be from 1 to 3600, not nan"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path, arguments, message):
    result = invoke(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = invoke(tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: baseline needs a CUDA GPU")
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_warpgroup_gemm_is_refused_on_other_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "require_gpu", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an A100")
    result = invoke(tmp_path, "--gemm", "warpgroup")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: the warpgroup GEMM needs a GPU of compute capability 9.0 (Hopper), "
        "not 8.0 (an A100)\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("capability", "gemm"), [((8, 0), "triton"), ((9, 0), "warpgroup"), ((10, 0), "triton")]
)
def test_unless_asked_for_the_gemm_is_the_fastest_that_the_gpu_has(
    tmp_path, monkeypatch, capability, gemm
):
    class Stop(InputError):
        pass

    def run(plan, **_):
        raise Stop(f"the plan's GEMM is {plan.gemm}")

    monkeypatch.setattr(device, "require_gpu", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr("signacc.baseline.run.Run", run)
    assert invoke(tmp_path).stderr == f"Error: the plan's GEMM is {gemm}\n"


def test_the_outputs_folder_must_exist(tmp_path):
    result = CliRunner().invoke(main, ["baseline", "-o", str(tmp_path / "none" / "x.json")])
    assert result.exit_code == 2
    assert "the output file's folder must exist" in result.stderr


def test_an_output_that_is_a_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "out.json").mkdir()
    result = invoke(tmp_path)
    assert result.exit_code == 2
    assert "the output file must not be a folder" in result.stderr


def test_contexts_that_nobody_asked_for_fit_the_model():
    plans = [checked_plan(models, [], [], [], [], True) for models in ([], ["fbi-7b", "fbi-43m"])]
    assert [tuple(plan.contexts) for plan in plans] == [(128, 512, 2048), (128, 512)]


def test_what_is_given_twice_is_measured_once():
    """A file holds a point once."""
    plan = checked_plan(["fbi-7b"] * 2, ["bf16"] * 2, ["decode"] * 2, [1, 4, 1], [128] * 2, True)
    assert (plan.models, plan.paths, plan.phases) == (("fbi-7b",), ("bf16",), ("decode",))
    assert (plan.batches, plan.contexts) == ((1, 4), (128,))
