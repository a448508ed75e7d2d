"""Every family of 1-bit weights on the RTL: weights of real quantizers, equal to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden.linear import fbi_linear
from hw.config import EngineConfig
from model import families
from signacc.cosim.job import LayerJob, Run
from signacc.cosim.run import build_engine, execute_runs
from sim.engine import simulate
from sim.stalls import StallPattern

pytestmark = pytest.mark.rtl
SEED = 90210
N, K, M = 40, 64, 3
SALIENT = 8

COMMON = {"act_bits": 12, "k_max": 128, "n_max": 48, "act_par": 4, "m_par": 2}
ENGINES = {
    # Both axes of scales (OneBit, rows, matrices, residual passes, groups), plain binary weights.
    "groups": EngineConfig(
        name="groups", k_par=8, n_par=8, out_par=4, scale_out="groups", **COMMON
    ),
    "rows": EngineConfig(
        name="rows", k_par=8, n_par=4, out_par=2, scale_out="row", structure="tables", group=4,
        **COMMON,
    ),
    # Ternary weights with a scale per matrix (BitNet b1.58), looked up three at a time.
    "ternary": EngineConfig(
        name="ternary", k_par=12, n_par=8, out_par=4, scale_out="row", structure="tables",
        group=3, ternary=True, **COMMON,
    ),
    "plain": EngineConfig(
        name="plain", k_par=8, n_par=8, out_par=4, structure="shared", group=2, **COMMON
    ),
}


def weight() -> torch.Tensor:
    """A Gaussian matrix with a few large columns, as in trained layers."""
    generator = torch.Generator().manual_seed(SEED)
    matrix = torch.randn(N, K, generator=generator) * 0.02
    matrix[:, ::17] *= 8
    return matrix


METHODS = {
    "fbi": (families.fbi, ["plain"]),
    "row_scaled": (families.row_scaled, ["rows", "groups"]),
    "tensor_scaled": (families.tensor_scaled, ["rows", "groups"]),
    "bitnet_b1": (families.bitnet_b1, ["rows", "groups"]),
    "onebit": (families.onebit, ["rows", "groups"]),
    "bitnet_b158": (families.bitnet_b158, ["ternary"]),
    "grouped": (lambda w: families.grouped(w, 16), ["groups"]),
    "billm": (lambda w: families.billm(w, SALIENT, align=8), ["groups"]),
}


def layer_job(name: str, layer: families.BinaryWeights) -> LayerJob:
    generator = torch.Generator().manual_seed(SEED + 1)
    x = torch.randn(M, K, generator=generator).half()
    operands = layer.operands()

    def array(key: str) -> np.ndarray | None:
        return None if operands.get(key) is None else operands[key].numpy()

    scale_out = array("scale_out")
    return LayerJob(
        name,
        operands["signs"].numpy(),
        operands["scale_in"].numpy(),
        operands["shift_in"].numpy(),
        layer.expand(x).numpy(),
        mask=array("mask"),
        scale_out=scale_out,
        group_size=operands.get("group_size") or 0,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_families_on_the_rtl(engine):
    config = ENGINES[engine]
    names = [name for name, (_, engines) in METHODS.items() if engine in engines]
    print(f"seed {SEED}: {names}")
    layers = {name: METHODS[name][0](weight()) for name in names}
    jobs = [layer_job(name, layer) for name, layer in layers.items()]
    if engine == "ternary":
        assert (jobs[0].mask != 255).any(), "a ternary layer must have zeros"
    runs = [Run(jobs, SEED, 0.0), Run(jobs, SEED, 0.25)]
    results = execute_runs(build_engine(config), config, runs)
    for run, result in zip(runs, results, strict=True):
        for job, output in zip(jobs, result.outputs, strict=True):
            expected = fbi_linear(
                job.x, job.signs, job.scale_in, job.shift_in, mask=job.mask,
                scale_out=job.scale_out, group_size=job.group_size or None,
                act_bits=config.act_bits,
            )
            np.testing.assert_array_equal(
                output.view(np.uint16), expected.view(np.uint16), err_msg=job.name
            )
            assert len(np.unique(output)) > N, "results must not be all alike"
        timing = simulate(
            config, run.shapes(config.m_par), StallPattern(SEED, run.stall_probability)
        )
        assert timing.cycles == result.cycles


def test_every_method_runs_somewhere():
    assert all(engines for _, engines in METHODS.values())
    assert {name for _, engines in METHODS.values() for name in engines} == set(ENGINES)
