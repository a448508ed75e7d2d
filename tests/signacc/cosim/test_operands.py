"""Random layers have all that an engine can take; a unit scale changes no bit."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import PRESETS, ConfigError
from signacc.cosim.job import random_job
from signacc.cosim.operands import golden_result, random_layer, with_unit_scales

TINY = PRESETS["tiny"]
ROWS = replace(TINY, scale_out="row")
GROUPS = replace(TINY, scale_out="groups", ternary=True)
SEEDS = range(20)


def test_a_plain_engine_gets_the_plain_layer():
    job, plain = random_layer(TINY, 2, 30, 9, 5), random_job(2, 30, 9, 5)
    assert job.mask is None
    assert job.scale_out is None
    assert job.group_size == 0
    for what in ("signs", "scale_in", "shift_in", "x"):
        np.testing.assert_array_equal(getattr(job, what), getattr(plain, what))


def test_bfloat16_inputs():
    assert random_layer(replace(TINY, act_format="bf16"), 1, 8, 3, 0).x.dtype == np.uint16


def test_ternary_weights_have_zeros():
    job = random_layer(GROUPS, 1, 200, 50, 1)
    assert job.mask.shape == job.signs.shape
    present = np.unpackbits(job.mask, axis=1, bitorder="little")[:, :200].mean()
    assert 0.6 < present < 0.73
    # The zeros count: golden without them says something else.
    without = golden_result(GROUPS, replace(job, mask=None))
    assert not np.array_equal(golden_result(GROUPS, job), without)


def test_row_scales():
    job = random_layer(ROWS, 1, 40, 9, 3)
    assert job.scale_out.shape == (9,)
    assert job.scale_out.dtype == np.float16
    assert len(np.unique(job.scale_out)) > 5


def test_groups_are_whole_words_and_of_several_sizes():
    sizes = set()
    for seed in SEEDS:
        job = random_layer(GROUPS, 1, 44, 3, seed)
        sizes.add(job.group_size)
        if job.group_size:
            assert job.scale_out.shape == (3, -(-44 // job.group_size))
            GROUPS.group_words(44, job.group_size)
        else:
            assert job.scale_out.shape == (3,)
    assert 0 in sizes
    assert len(sizes) >= 3


@pytest.mark.parametrize("engine", [ROWS, GROUPS], ids=["row", "groups"])
def test_unit_scales_change_no_bit(engine):
    for seed in SEEDS:
        job = random_job(2, 61, 17, seed)
        scaled = with_unit_scales(engine, job)
        assert scaled.scale_out.tolist() == [1] * 17
        plain = golden_result(replace(engine, scale_out="none"), job)
        np.testing.assert_array_equal(
            golden_result(engine, scaled).view(np.uint16), plain.view(np.uint16)
        )
    assert with_unit_scales(TINY, job) is job


def test_a_layer_must_fit():
    with pytest.raises(ConfigError, match="K must be from 1 to 256"):
        random_layer(TINY, 1, 257, 1, 0)
    resident = replace(TINY, weights="memory", weight_words=5)
    random_layer(resident, 1, 40, 4, 0)
    with pytest.raises(
        ConfigError, match="a layer of 40 inputs and 5 outputs must fit the 5 weight words of tiny"
    ):
        random_layer(resident, 1, 40, 5, 0)
