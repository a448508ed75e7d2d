"""Baselines as entries: only decoding, only what stands in the files, limits by hand."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from golden.config import named_model
from signacc.compare import baselines
from signacc.compare.baselines import baseline_entries, step_bytes
from sim.errors import InputError

from .conftest import MODEL, baseline, write, write_measured


def names(entries):
    return [(entry.machine, entry.batch) for entry in entries]


def test_own_entries_come_with_the_shipped_and_replace_equal_points(tmp_path):
    model = named_model(MODEL)
    shipped, _, _ = baseline_entries(MODEL, model, [])
    first = write(tmp_path / "first.json", [baseline(), baseline(batch=2)])
    later = write(tmp_path / "later.json", [baseline(tokens_per_second=7.0)])
    entries, _, _ = baseline_entries(MODEL, model, [first, later])
    assert names(entries) == [*names(shipped), ("gpu", 1), ("gpu", 2)]
    assert [entry.tokens_per_second.value.nominal for entry in entries[-2:]] == [7.0, 5000.0]


def test_the_page_s_own_gpu_is_compared(tmp_path):
    """The file that docs/compare.md shows: one point, named after its path, without a peak."""
    page = (Path(__file__).parents[3] / "docs" / "compare.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "own.json"
    path.write_text(example, encoding="utf-8")
    model = named_model("fbi-7b")
    entry = baseline_entries("fbi-7b", model, [path])[0][-1]
    assert f"The tables call it `{entry.machine}`" in page
    assert entry.point == (1, 512)
    assert entry.tokens_per_second.value.nominal == json.loads(example)["baselines"][0][
        "tokens_per_second"
    ]
    assert entry.roof is None
    assert entry.limit_share is None


def test_published_figures_of_other_models_are_set_apart(own_file):
    _, others, _ = baseline_entries(MODEL, named_model(MODEL), [own_file])
    assert [entry.machine for entry in others if entry.model == "someone-else"] == ["peer"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens_per_second": 0}, r"baselines\[0\]: tokens_per_second must be .* not 0"),
        ({"joule_per_token": -1}, "joule_per_token must be a finite number above 0, not -1"),
        ({"batch": 0}, "batch must be a positive integer, not 0"),
    ],
)
def test_impossible_figures_are_refused_by_field(tmp_path, change, message):
    path = write(tmp_path / "own.json", [baseline(**change)])
    with pytest.raises(InputError, match=message):
        baseline_entries(MODEL, named_model(MODEL), [path])


def test_two_figures_that_tables_would_call_alike_are_refused(tmp_path):
    """One would stand in for the other without a word; another file's may."""
    twins = [baseline(path="bf16"), baseline(name="gpu-bf16", tokens_per_second=7.0)]
    with pytest.raises(InputError, match="name 'gpu-bf16' with path None and name 'gpu' with path "
                       "'bf16' are both called gpu-bf16"):
        baseline_entries(MODEL, named_model(MODEL), [write(tmp_path / "own.json", twins)])
    apart = [write(tmp_path / f"{index}.json", [one]) for index, one in enumerate(twins)]
    entries, _, _ = baseline_entries(MODEL, named_model(MODEL), apart)
    assert [e.tokens_per_second.value.nominal for e in entries if e.machine == "gpu-bf16"] == [7.0]


def test_missing_figures_are_refused_by_field(tmp_path):
    data = baseline()
    del data["tokens_per_second"]
    with pytest.raises(InputError, match=r"baselines\[0\] must give tokens_per_second"):
        baseline_entries(MODEL, named_model(MODEL), [write(tmp_path / "own.json", [data])])


def test_fields_of_newer_files_are_used(monkeypatch):
    """Prefill and points without a figure are left out; spread becomes the interval."""
    full = baseline() | {"notes": "", "phase": "decode", "path": "sign-a16", "spread": 0.02}
    entries = [
        SimpleNamespace(**full | {"name": "h200"}),
        SimpleNamespace(**full | {"phase": "prefill"}),
        SimpleNamespace(**full | {"batch": 64, "tokens_per_second": None}),
    ]
    record = SimpleNamespace(baselines=entries, gaps=(), provenance=None)
    monkeypatch.setattr(baselines, "load_records", lambda files: [record])
    (entry,), others, _ = baseline_entries(MODEL, named_model(MODEL), [])
    assert entry.machine == "h200-sign-a16"
    speed = entry.tokens_per_second.value
    assert (speed.low, speed.nominal, speed.high) == pytest.approx((4950, 5000, 5050))
    assert entry.limit_share is not None
    assert others == []


def test_a_figure_without_a_stated_context_is_not_called_absent(tmp_path):
    """Its source has it; only its point is not known."""
    data = baseline(name="vague", mark="published", context=None)
    path = write(tmp_path / "own.json", [data])
    entries, others, gaps = baseline_entries(MODEL, named_model(MODEL), [path])
    assert "vague" not in {entry.machine for entry in entries}
    assert ("vague", MODEL, None) in {(o.machine, o.model, o.context) for o in others}
    assert not [key for key in gaps if key[0] == "vague"]


@pytest.mark.parametrize(("spread", "low"), [(1.99, 25.0), (2.0, None), (7.0, None)])
def test_repeats_that_spread_down_to_nothing_are_no_figure(tmp_path, spread, low):
    point = baseline(name="noisy", spread=spread)
    path = write(tmp_path / "own.json", [point])
    entries, _, gaps = baseline_entries(MODEL, named_model(MODEL), [path])
    found = [entry for entry in entries if entry.machine == "noisy"]
    if low is None:
        assert found == []
        assert gaps["noisy", 1, 128].startswith(f"its repeats spread by {spread:.0%} of their")
    else:
        assert found[0].tokens_per_second.value.low == pytest.approx(low)


def test_bytes_of_a_step_by_hand():
    model = named_model("fbi-7b")
    linears = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    head, cache = 2 * 32000 * 4096, 2 * 2 * 32 * 4096 * 512
    assert step_bytes(model, 16, 1, 512) == 2 * linears + head + cache
    coefficients = 32 * 4 * (6 * 4096 + 11008)
    assert step_bytes(model, 1, 3, 512) == linears // 8 + coefficients + head + 3 * cache


def test_a_limit_is_stated_only_where_path_and_peak_are_known(own_file):
    entries, _, _ = baseline_entries(MODEL, named_model(MODEL), [own_file])
    by_name = {entry.machine: entry for entry in entries}
    assert by_name["gpu"].limit_share is None
    assert by_name["gpu"].reason("limit_share") == (
        "peak of its memory not on record, nor a copy in its file"
    )
    share = by_name["h200-bf16-compiled"].limit_share
    assert share.mark == "derived"
    assert 0 < share.value.nominal < 1


def test_of_a_gpu_that_is_not_on_record_the_limit_is_a_copy_of_the_same_run(tmp_path):
    """By hand: what a copy moves in the time of a step, over what a step must read."""
    own = baseline(name="l4", path="bf16", batch=2, context=64)
    path = write_measured(tmp_path / "own.json", [own, own | {"name": "l4-other", "path": "fp4"}])
    model = named_model("fbi-43m")
    entries, _, _ = baseline_entries(MODEL, model, [path])
    by_name = {entry.machine: entry for entry in entries}
    found = by_name["l4-bf16"]
    linears = 2 * model.binary_weights
    head = 2 * model.vocab_size * model.hidden_size
    cache = 2 * 2 * model.num_hidden_layers * model.num_key_value_heads * model.head_dim * 64
    limit = 2 * 2.5e11 / (linears + head + 2 * cache)
    assert found.limit_share.value.nominal == pytest.approx(5000 / limit)
    roof = found.to_dict()["roof"]
    assert roof["peak_mark"] == "measured"
    assert roof["peak_operations_per_second"] == 9e13
    assert roof["source"] == (
        "a copy, read and written, and a bfloat16 matrix product on NVIDIA L4, in the same run"
    )
    assert by_name["l4-other-fp4"].reason("limit_share") == "bytes of its weights not known"


def test_a_public_peak_goes_before_a_copy(tmp_path):
    path = write_measured(tmp_path / "own.json", [baseline(name="h200", path="bf16")])
    entries, _, _ = baseline_entries(MODEL, named_model(MODEL), [path])
    (found,) = (e for e in entries if e.machine == "h200-bf16" and e.context == 128)
    assert (found.roof.mark, found.roof.bytes_per_second) == ("published", 4.8e12)
    assert found.roof.operations_per_second == pytest.approx(989e12, rel=1e-3)  # bf16, dense


def test_gaps_of_records_are_reasons():
    """What did not fit the GPU's memory is said so, by phase, and an entry there removes it."""
    model = named_model("fbi-7b")
    for phase in ("decode", "prefill"):
        entries, _, gaps = baseline_entries("fbi-7b", model, (), phase)
        assert gaps["h200-bf16", 256, 2048] == "out of memory"
        assert {entry.phase for entry in entries} == {phase}
        assert not {(e.machine, e.batch, e.context) for e in entries} & gaps.keys()


def test_a_later_point_without_a_figure_stands_in_for_an_earlier_one(tmp_path):
    first = write(tmp_path / "first.json", [baseline(name="noisy")])
    later = write(tmp_path / "later.json", [baseline(name="noisy", spread=3.0)])
    entries, _, gaps = baseline_entries(MODEL, named_model(MODEL), [first, later])
    assert "noisy" not in {entry.machine for entry in entries}
    assert ("noisy", 1, 128) in gaps
