"""Settings: files by key and line, options over files, what they make."""

import json
from dataclasses import fields

import pytest

from sim.errors import InputError
from sim.serving.lengths import Lengths
from sim.serving.settings import SCHEMA, Settings, settings_from_file

from .machines import machine

ALL = {
    "schema": SCHEMA, "accelerators": 3, "router": "two-choices", "case": "high",
    "policy": "prefill-first", "max_batch": 5, "token_budget": 40, "arrivals": "gamma", "cv": 2.5,
    "prompt_tokens": 100, "output_tokens": "geometric:mean=20", "loads": [0.5, 0.9],
    "requests": 500, "warm_up_s": 2, "seed": 9, "price_usd": 1000, "years": 4, "usd_per_kwh": 0.3,
}


def write(folder, data, name="s.json"):
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data, indent=1))
    return path


def test_a_file_says_what_options_can(tmp_path):
    found = settings_from_file(write(tmp_path, ALL))
    exclusive = {"trace": "t.csv", "rates": [3], "duration_s": 5.5}
    assert set(ALL) - {"schema"} | set(exclusive) == {field.name for field in fields(Settings)}
    fleet, source, prices = found.fleet(machine()), found.source(), found.prices()
    assert (fleet.accelerators, fleet.router, fleet.case) == (3, "two-choices", "high")
    scheduler = fleet.scheduler
    assert (scheduler.policy, scheduler.max_batch, scheduler.token_budget) == (
        "prefill-first", 5, 40
    )
    assert (source.process, source.cv, source.prompt) == ("gamma", 2.5, Lengths(mean=100))
    assert source.output == Lengths.parse("geometric:mean=20")
    assert (prices.accelerator_usd, prices.years, prices.usd_per_kwh) == (1000, 4, 0.3)
    assert found.rates_of(10.0) == [5.0, 9.0]
    other = settings_from_file(write(tmp_path, {"schema": SCHEMA, **exclusive}))
    assert other.trace == str(tmp_path / "t.csv")
    assert other.rates_of(10.0) == [3]
    assert other.duration_s == 5.5


def test_nothing_said():
    nothing = Settings()
    fleet = nothing.fleet(machine())
    assert (fleet.scheduler.max_batch, fleet.scheduler.token_budget) == (16, 136)  # a pass holds so
    assert nothing.prices() is None
    assert nothing.source().to_dict()["arrivals"] == "poisson"
    assert nothing.rates_of(100.0) == [20, 40, 60, 80, 90]
    assert Settings(max_batch=50).fleet(machine()).scheduler.token_budget == 136


def test_options_come_before_the_file(tmp_path):
    base = settings_from_file(write(tmp_path, ALL))
    mine = Settings(seed=0, rates=(7.0,), duration_s=3.0).over(base)
    assert (mine.seed, mine.rates, mine.loads) == (0, (7.0,), None)
    assert (mine.duration_s, mine.requests, mine.cv) == (3.0, None, 2.5)
    traced = Settings(trace="t.csv").over(base)
    assert (traced.arrivals, traced.cv, traced.prompt_tokens) == (None, None, None)
    drawn = Settings(prompt_tokens="5").over(Settings(trace="t.csv"))
    assert drawn.trace is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 3}, r"line \d+: keys must be among schema, accelerators.* not batch"),
        ({"schema": "x"}, "line 2: schema must be 'signacc-serving-1', not 'x'"),
        ({"accelerators": 0}, "line 3: accelerators must be an integer of at least 1, not 0"),
        ({"router": "nearest"}, "line 4: router must be one of round-robin, .* not 'nearest'"),
        ({"cv": -1}, "line 10: cv must be a finite number of at least 0, not -1"),
        ({"years": 0}, "line 21: years must be above 0 and at most 1e.12, not 0"),
        ({"price_usd": -1}, "line 20: price_usd must be a finite number of at least 0, not -1"),
        ({"price_usd": 1e300}, r"line 20: price_usd must be from 0 to 1e.12, not 1e.300"),
        ({"usd_per_kwh": 1e13}, r"line 22: usd_per_kwh must be from 0 to 1e.12, not 1"),
        ({"cv": 101}, r"line 10: cv must be from 1e-06 to 100, not 101"),
        ({"warm_up_s": 0}, r"line \d+: warm_up_s must be above 0 and at most 1,000,000, not 0"),
        ({"requests": 10**9}, r"line \d+: requests must be above 0 and at most 20,000,000, not 1"),
        ({"accelerators": 10**10}, r"line 3: accelerators must be at most 1,000,000,000, not 100"),
        ({"loads": [0.5, 0]}, "line 13: loads must be above 0"),
        ({"loads": 0.5}, "line 13: loads must be a list of numbers, not 0.5"),
        ({"prompt_tokens": 0}, "line 11: prompt_tokens must be an integer of at least 1, not 0"),
        ({"output_tokens": "many"}, "line 12: output_tokens: lengths must read like .* not 'many'"),
        ({"policy": 3}, "line 6: policy must be a text, not 3"),
        ({"rates": [3]}, r"s\.json, line 23: rates must not stand beside loads: give one of them"),
        ({"duration_s": 3}, r"s\.json, line 23: duration_s must not stand beside requests: give"),
        ({"trace": "t.csv"}, r"s\.json, line 23: trace must not stand beside arrivals: give one"),
    ],
)
def test_bad_files(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        settings_from_file(write(tmp_path, ALL | change))


def test_a_missing_schema_and_a_repeated_key(tmp_path):
    with pytest.raises(InputError, match="schema must be given"):
        settings_from_file(write(tmp_path, {}))
    text = '{"schema": "signacc-serving-1",\n"seed": 1,\n"seed": 2}'
    with pytest.raises(InputError, match="line 3: seed must stand once"):
        settings_from_file(write(tmp_path, text))


@pytest.mark.parametrize(
    ("settings", "make", "message"),
    [
        (Settings(trace="t.csv", cv=2.0), Settings.source, "a trace has its own cv"),
        (Settings(cv=2.0), Settings.source, "cv is that of gamma arrivals, not of poisson"),
        (Settings(years=2.0), Settings.prices, "years needs a price of an accelerator"),
        (Settings(loads=(1.0,), rates=(1.0,)), lambda s: s.rates_of(1.0), "not both"),
        (Settings(max_batch=17, token_budget=16), lambda s: s.fleet(machine()),
         "token_budget must be at least max_batch = 17, not 16"),
        (Settings(max_batch=500), lambda s: s.fleet(machine()),
         "max_batch must be at most the 136 tokens of a pass .* not 500"),
    ],
)
def test_what_does_not_go_together(settings, make, message):
    with pytest.raises(InputError, match=message):
        make(settings)
