from dataclasses import replace

import pytest
import torch

from golden.config import named_model
from golden.errors import InputError
from model.fbi import FbiLlm
from model.metrics import (
    COLUMNS,
    FlipFlop,
    Metrics,
    flops_per_token,
    matmul_parameters,
    matmul_rate,
    read_metrics,
)
from model.teacher import TeacherConfig

from .tiny import CONFIG, SETTINGS, run

SMOLLM2 = TeacherConfig(
    layers=30, hidden=576, heads=9, kv_heads=3, ffn=1536, vocab=49152, rope_theta=1e5, eps=1e-5
)


def row(step):
    return dict.fromkeys(COLUMNS, 0.5) | {"step": step, "tokens": 10 * step, "flip_flop": None}


def test_lines_are_kept_up_to_the_step_and_seconds_go_on(tmp_path):
    metrics = Metrics(tmp_path, 0)
    for step in (1, 2, 3):
        metrics.add(row(step) | {"seconds": step / 2})
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2, 3]
    assert read_metrics(tmp_path)[0]["flip_flop"] is None
    resumed = Metrics(tmp_path, 2)
    assert resumed.seconds == 1.0
    assert [r["tokens"] for r in read_metrics(tmp_path)] == [10, 20]
    assert Metrics(tmp_path, 0).seconds == 0.0
    assert read_metrics(tmp_path) == []


def test_a_run_that_begins_where_another_is_keeps_off(tmp_path):
    """A command given again without --resume: nothing of the run that is there is lost."""
    settings = replace(SETTINGS, steps=2, warmup=0, log_every=1, checkpoint_every=2)
    run(tmp_path, settings)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert len(before) > 4
    with pytest.raises(InputError) as error:
        run(tmp_path, replace(settings, steps=1, seed=4))
    assert str(error.value) == (
        f"a run folder must be new, or its run be continued (--resume); {tmp_path} holds "
        "step-00000002"
    )
    after = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert after == before
    longer = run(tmp_path, settings, resume=True, only_make=True)
    assert longer.step == 2


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path):
    Metrics(tmp_path, 0).add(row(1))
    Metrics(tmp_path, 0)
    assert read_metrics(tmp_path) == []


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold metrics\.csv; there is none in"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"metrics\.csv must have the columns step, tokens, loss"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").write_text(",".join(COLUMNS) + "\nx,2,3,4,5,6,7,8,9\n")
    with pytest.raises(InputError, match=r"metrics\.csv must hold numbers"):
        read_metrics(tmp_path)


def test_flops_by_hand():
    # SmolLM2-135M: 134,515,008 parameters in all, 35,136 in norms; its head is its embedding
    assert matmul_parameters(SMOLLM2) == 134_515_008 - 61 * 576
    # fbi-130m: 134,105,856 in all; embedding 768·32000, norms 25·768 and scales are no products
    shape = named_model("fbi-130m")
    assert matmul_parameters(shape) == 84_934_656 + 768 * 32000
    assert flops_per_token(shape, None) == 6 * matmul_parameters(shape)
    with_teacher = flops_per_token(shape, SMOLLM2, 0.75)
    assert with_teacher == 6 * matmul_parameters(shape) + 1.5 * matmul_parameters(SMOLLM2)


def test_flip_flop_counts_changed_signs():
    model = FbiLlm(CONFIG)
    watch = FlipFlop(model)
    assert watch.after() is None
    watch.before()
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[0, :3].neg_()
        model.model.layers[1].mlp.down_proj.weight[2, 1].neg_()
        model.model.layers[1].mlp.up_proj.weight.mul_(0.5)
    assert watch.after().tolist() == [4.0, CONFIG.binary_weights]
    twin = FlipFlop(FbiLlm(CONFIG, binary=False))
    twin.before()
    assert twin.after() is None


def test_matmul_rate_is_a_rate():
    assert 1e8 < matmul_rate(torch.device("cpu")) < 1e14
