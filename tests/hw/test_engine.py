# amaranth: UnusedElaboratable=no
"""The whole engine in Amaranth's simulator against golden, with stalls on every port.

The Verilog of larger engines is compared in tests/rtl; here are the small corners of the
configuration space, which need no build.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

from golden.linear import fbi_linear
from hw.config import ConfigError, EngineConfig
from hw.engine import Engine
from hw.streams import activation_chunks, coefficient_chunks, payload_integers, weight_beats

from ..simulation import Clock, Source, run

BASE = EngineConfig(
    name="test", k_par=4, n_par=2, act_bits=8, k_max=20, n_max=7, act_par=2, out_par=1
)
CONFIGS = [
    BASE,
    replace(BASE, k_par=1, n_par=1, act_par=1, act_bits=4, k_max=1, n_max=1),
    replace(BASE, k_par=3, n_par=3, act_par=3, out_par=3, act_bits=16, levels_per_stage=1),
    replace(BASE, k_par=4, n_par=1, act_par=4, act_bits=24, k_max=9),
]
IDS = [f"{c.k_par}x{c.n_par} A{c.act_bits}" for c in CONFIGS]


def problem(config, random_state):
    k = int(random_state.integers(1, config.k_max + 1))
    n = int(random_state.integers(1, config.n_max + 1))
    low, high = [(0, 0x7C00), (0x3000, 0x4400), (0, 0x0400), (0x3C00, 0x7C01)][
        int(random_state.integers(4))
    ]

    def halves(*shape):
        sign = random_state.integers(0, 2, shape) << 15
        return (random_state.integers(low, high, shape) | sign).astype(np.uint16).view(np.float16)

    bits = random_state.integers(0, 2, (n, k), dtype=np.uint8)
    return halves(k), np.packbits(bits, axis=1, bitorder="little"), halves(k), halves(k)


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_equal_to_golden(config, chance):
    seed = config.act_bits
    random_state, source = np.random.default_rng(seed), random.Random(seed)
    problems = [problem(config, random_state) for _ in range(25)]
    want, commands, acts, coefs, weights = [], [], [], [], []
    for x, signs, scale, shift in problems:
        y = fbi_linear(x[None], signs, scale, shift, act_bits=config.act_bits)[0]
        want.append(y.view(np.uint16).tolist())
        commands.append(len(x) | len(signs) << config.k_max.bit_length())
        acts += activation_chunks(config, x)
        coefs += coefficient_chunks(config, scale, shift)
        weights += payload_integers(weight_beats(config, signs, len(x)))
    dut = Engine(config)
    results = [[]]

    async def bench(ctx):
        clock = Clock(ctx)
        ports = ((dut.cmd, commands), (dut.act, acts), (dut.coef, coefs), (dut.weight, weights))
        sources = [
            Source(ctx, port, values, chance=chance, seed=i)
            for i, (port, values) in enumerate(ports)
        ]
        assert not ctx.get(dut.busy)
        while len(results) <= len(problems):
            for stream in sources:
                stream.offer()
            ready = source.random() < chance
            ctx.set(dut.result.ready, ready)
            for stream in sources:
                stream.settle()
            if ready and ctx.get(dut.result.valid):
                assert ctx.get(dut.busy)
                payload = ctx.get(dut.result.payload)
                keep = [i for i in range(config.out_par) if payload.keep >> i & 1]
                results[-1] += [payload.data[i] for i in keep]
                if payload.last:
                    results.append([])
            assert not ctx.get(dut.error)
            await clock.tick()
        assert all(stream.done for stream in sources)
        for _ in range(5):
            await clock.tick()
        assert not ctx.get(dut.busy)

    run(dut, bench)
    assert results[:-1] == want


def test_a_configuration_is_asked_for():
    with pytest.raises(ConfigError, match=r"^config must be an EngineConfig, not dict$"):
        Engine({})
