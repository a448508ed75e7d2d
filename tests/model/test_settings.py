from dataclasses import replace
from itertools import pairwise

import pytest

from golden.errors import InputError
from model.settings import TrainSettings

from .tiny import SETTINGS


def test_rate_warms_up_and_follows_the_cosine():
    rates = [SETTINGS.rate(step) for step in range(40)]
    assert rates[:4] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2])
    assert rates[-1] == pytest.approx(1e-3)
    assert rates[4] == pytest.approx(1e-2)
    middle = (4 + 39) / 2
    assert SETTINGS.rate(int(middle)) == pytest.approx((1e-2 + 1e-3) / 2, rel=0.05)


def test_wsd_is_stable_and_then_falls_in_a_line():
    settings = replace(SETTINGS, schedule="wsd", decay=0.25)
    rates = [settings.rate(step) for step in range(40)]
    assert rates[3:31] == pytest.approx([1e-2] * 28)
    falls = [a - b for a, b in pairwise(rates[30:])]
    assert falls == pytest.approx([0.0009] * 9)
    assert rates[39] == pytest.approx(1e-3 + 9e-3 / 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"steps": 10**8}, "steps must be at most 99999999, not 100000000"),
        ({"steps": 300, "batch": 10**11}, "batch must be at most 1048576, not 100000000000"),
        ({"steps": 300, "betas": (0.9, 1.0)}, "betas must be two numbers from 0 to below 1"),
        ({"steps": 300, "betas": (0.9,)}, "betas must be two numbers from 0 to below 1, not"),
        ({"steps": 5, "lr": 1e-5}, "0 < lr_min <= lr must hold, not lr 1e-05, lr_min 3e-05"),
        ({"steps": 5, "warmup": 6}, "warmup must be 0 to 5 steps, not 6"),
        ({"steps": 5, "lr": float("inf")}, "0 < lr_min <= lr must hold, not lr inf, lr_min 3e-05"),
        ({"steps": 5, "lr": float("nan")}, "0 < lr_min <= lr must hold, not lr nan, lr_min 3e-05"),
        ({"steps": 5, "warmup": 0, "seed": -1}, "seed must be at least 0, not -1"),
        ({"steps": 5, "warmup": 0, "micro": -1}, "micro must be at least 0, not -1"),
        ({"steps": 5, "warmup": 0, "loss": "kl"}, "loss must be one of ad, mixed, ce, not 'kl'"),
        ({"steps": 5, "warmup": 0, "scale_axis": "x"}, "scale_axis must be one of column, row"),
        ({"steps": 5, "warmup": 0, "initial": "x"}, "initial must be one of scratch, teacher"),
        ({"steps": 5, "warmup": 0, "schedule": "x"}, "schedule must be one of cosine, wsd"),
        ({"steps": 5, "warmup": 0, "decay": 0}, "decay must be above 0 and at most 1, not 0"),
        ({"steps": 5, "warmup": 0, "clip": 0}, "clip must be above 0, not 0"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainSettings(**options)


def test_a_run_continues_with_the_same_settings_alone():
    saved = SETTINGS.to_dict()
    free = {"log_every": 7, "checkpoint_every": 3, "micro": 2, "recompute": True}
    replace(SETTINGS, **free).check_continues(saved, 20, "run")
    with pytest.raises(InputError, match="run was made with batch 8, not 16"):
        replace(SETTINGS, batch=16).check_continues(saved, 20, "run")
    with pytest.raises(InputError, match="run was made with steps 40, not 80"):
        replace(SETTINGS, steps=80).check_continues(saved, 20, "run")


def test_wsd_may_change_its_length_before_it_decays():
    stable = replace(SETTINGS, schedule="wsd", decay=0.5)
    longer = replace(stable, steps=80)
    longer.check_continues(stable.to_dict(), 20, "run")
    with pytest.raises(InputError, match="run was made with steps 40, not 80"):
        longer.check_continues(stable.to_dict(), 21, "run")
    with pytest.raises(InputError, match="run was made with steps 80, not 30"):
        replace(stable, steps=30).check_continues(longer.to_dict(), 20, "run")
