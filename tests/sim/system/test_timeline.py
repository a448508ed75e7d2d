"""The timeline: valid trace events, and the same times as the estimate's."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from golden.config import named_model
from sim.system import estimate, named_link, named_system, simulate, trace

KV260 = named_system("kv260")
SMALL = named_model("fbi-43m")
LINK = named_link("pcie4-x16")

RESULTS = {
    "token": estimate(SMALL, KV260),
    "run": simulate(SMALL, KV260, prefill=300, decode=3, batch=2),
    "tensor": estimate(SMALL, replace(KV260, chips=2, link=LINK)),
    "pipeline": simulate(
        SMALL, replace(KV260, chips=3, parallel="pipeline", link=LINK), prefill=300, decode=2,
        batch=6,
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_events_are_valid(name):
    data = json.loads(json.dumps(trace(RESULTS[name]), allow_nan=False))
    assert data["displayTimeUnit"] == "ms"
    named = {(e["pid"], e.get("tid")) for e in data["traceEvents"] if e["ph"] == "M"}
    for event in data["traceEvents"]:
        assert isinstance(event["name"], str)
        assert event["ph"] in ("M", "X")
        assert isinstance(event["pid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert event["args"]["name"]
            continue
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        assert (event["pid"], event["tid"]) in named


@pytest.mark.parametrize("name", RESULTS)
def test_the_last_event_ends_when_the_estimate_does(name):
    result = RESULTS[name]
    ends = [e["ts"] + e["dur"] for e in trace(result)["traceEvents"] if e["ph"] == "X"]
    whole = sum(phase.time_s.nominal for phase in result.phases)
    assert max(ends) == pytest.approx(whole * 1e6)


@pytest.mark.parametrize("name", RESULTS)
def test_a_unit_does_one_thing_at_a_time(name):
    events = [e for e in trace(RESULTS[name])["traceEvents"] if e["ph"] == "X"]
    for track in {(e["pid"], e["tid"]) for e in events}:
        mine = sorted(
            (e["ts"], e["ts"] + e["dur"]) for e in events if (e["pid"], e["tid"]) == track
        )
        for (_, end), (start, _) in pairwise(mine):
            assert start >= end - 1e-3, track  # a nanosecond of rounding


def test_a_token_is_drawn_operator_by_operator():
    result = RESULTS["token"]
    events = [e for e in trace(result)["traceEvents"] if e["ph"] == "X"]
    drawn = [e for e in events if e["name"] == "down_proj" and e["cat"] == "array"]
    assert len(drawn) == SMALL.num_hidden_layers
    assert [e["args"]["layer"] for e in drawn] == [str(i) for i in range(12)]
    assert {e["args"]["cycles_mark"] for e in drawn} == {"rtl-exact"}
    entry = next(e for e in result.operators if e.operator.name == "down_proj")
    assert sum(e["dur"] for e in drawn) == pytest.approx(entry.time_s.nominal * 1e6)


def test_a_long_run_is_not_drawn_in_full():
    events = trace(simulate(SMALL, KV260, prefill=8, decode=100))["traceEvents"]
    assert len([e for e in events if e.get("cat") == "steps"]) == 101
    assert len(events) < 2500
