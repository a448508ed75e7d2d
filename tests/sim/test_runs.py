"""Long runs of equal commands, against following every command."""

import random
from dataclasses import replace

import pytest

from hw.config import PRESETS, ConfigError, EngineConfig
from sim.engine import simulate
from sim.runs import run_ends


def by_following(config, runs):
    """Follow every command, and say when each run ends."""
    shapes, last = [], []
    for k, n, tokens, size in runs:
        shapes += [(k, n, config.m_par, size)] * (tokens // config.m_par)
        shapes += [(k, n, tokens % config.m_par, size)] if tokens % config.m_par else []
        last.append(len(shapes) - 1)
    vectors = simulate(config, shapes).vectors
    return tuple(vectors[index].last_result + 1 for index in last)


def draw(seed):
    """Return a random engine, and one to three linears for it."""
    pick = random.Random(seed)
    while True:
        structure = pick.choice(["direct", "shared", "tables"])
        k_par, n_par = pick.choice([4, 8, 16]), pick.choice([2, 4, 8, 16])
        scales = pick.choice(["none", "row", "groups"])
        try:
            config = EngineConfig(
                name="random", k_par=k_par, n_par=n_par, m_par=pick.choice([1, 1, 2, 3, 8]),
                structure=structure, group=1 if structure == "direct" else pick.choice([2, 4]),
                scale_out=scales, act_bits=8, k_max=pick.choice([64, 256, 1024]),
                n_max=pick.choice([64, 256, 512]),
                act_par=pick.choice([d for d in (1, 2, 4, 8) if k_par % d == 0]),
                out_par=pick.choice([d for d in (1, 2, 4) if n_par % d == 0]),
            )
        except ConfigError:
            continue
        runs = []
        for _ in range(pick.randint(1, 3)):
            k = pick.randint(1, config.k_max)
            size = 2 * k_par if scales == "groups" and k > 2 * k_par else k
            runs.append((k, pick.randint(1, config.n_max), pick.randint(1, 120), size))
        return config, tuple(runs)


# 70 and 156 have commands that repeat in pairs
@pytest.mark.parametrize("seed", [*range(60), 70, 156])
def test_equal_to_following_every_command(seed):
    config, runs = draw(seed)
    assert run_ends(config, runs) == by_following(config, runs)


def test_a_layer_of_a_preset():
    for m_par in (1, 3):
        config = replace(PRESETS["kv260"], m_par=m_par)
        runs = ((512, 512, 70, 512), (512, 1408, 70, 512))
        assert run_ends(config, runs) == by_following(config, runs)


def test_a_run_is_followed_no_longer_than_it_takes_to_be_steady(monkeypatch):
    """A thousand token vectors cost little more than a few dozen."""
    seen = []

    def counting(config, shapes):
        seen.append(len(shapes))
        return simulate(config, shapes)

    monkeypatch.setattr("sim.engine.simulate", counting)
    run_ends(PRESETS["tiny"], ((64, 64, 1000, 64),))
    assert max(seen) < 100


def test_a_layer_beyond_the_engine_is_refused():
    with pytest.raises(ConfigError, match="K must be from 1 to 256"):
        run_ends(PRESETS["tiny"], ((257, 4, 1, 257),))
