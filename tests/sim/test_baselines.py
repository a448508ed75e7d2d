import json

import pytest

from golden.config import MODELS
from sim.baselines import SCHEMA, Baseline, baselines_for, load_baselines, load_file
from sim.errors import InputError

GOOD = {
    "name": "some-gpu",
    "model": "fbi-7b",
    "batch": 1,
    "context": 512,
    "tokens_per_second": 100.0,
    "joule_per_token": 2.0,
    "mark": "measured",
    "source": "one GPU",
    "command": "python bench.py",
    "date": "2026-01-31",
}


def write(path, entries, schema=SCHEMA):
    path.write_text(json.dumps({"schema": schema, "baselines": entries}), encoding="utf-8")
    return path


def test_shipped_figures_are_legal_and_possible():
    shipped = load_baselines()
    assert {entry.model for entry in shipped} >= {"fbi-130m", "fbi-1.3b", "fbi-7b"}
    for entry in shipped:
        assert entry.model in MODELS
        if entry.name.startswith("h200"):
            # an H200 is limited to 700 W; idle is some 70 W
            assert 70 < entry.watts < 700
            # 16-bit weights read once a token cannot arrive faster than its 4.8 TB/s
            weights = 2 * MODELS[entry.model].binary_weights
            assert entry.tokens_per_second * weights < 4.8e12


def test_lookup_is_exact():
    assert {entry.model for entry in baselines_for("fbi-7b")} == {"fbi-7b"}
    assert baselines_for("fbi-7") == ()
    given = [Baseline.from_dict({**GOOD, "model": "x"})]
    assert baselines_for("x", given) == tuple(given)


def test_a_file_of_ones_own_is_read_after_the_shipped(tmp_path):
    path = write(tmp_path / "mine.json", [GOOD])
    mine = load_file(path)
    assert mine[0].to_dict() == {**GOOD, "notes": ""}
    assert mine[0].watts == 200
    assert load_baselines([path]) == load_baselines() + mine


@pytest.mark.parametrize("key", GOOD)
def test_every_key_is_required_by_name(key):
    data = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(InputError, match=f"baseline must give {key}"):
        Baseline.from_dict(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name must be a non-empty text, not ''"),
        ({"source": 3}, "source must be a non-empty text, not 3"),
        ({"batch": 0}, "batch must be a positive integer, not 0"),
        ({"context": 1.5}, "context must be a positive integer, not 1.5"),
        ({"tokens_per_second": 0}, "tokens_per_second must be a finite number above 0, not 0"),
        ({"tokens_per_second": None}, "tokens_per_second must be a finite number above 0, not N"),
        ({"tokens_per_second": float("inf")}, "tokens_per_second must be .* not inf"),
        ({"joule_per_token": -1}, "joule_per_token must be a finite number above 0, not -1"),
        ({"mark": "guessed"}, "mark must be one of measured, published, not 'guessed'"),
        ({"command": " "}, "command must be a non-empty text or null, not ' '"),
        ({"date": "2026-13-01"}, "date must be YYYY-MM-DD or null, not '2026-13-01'"),
        ({"date": 2026}, "date must be YYYY-MM-DD or null, not 2026"),
        ({"command": None}, "notes must say why a measured figure has no command or no date"),
        ({"notes": None}, "notes must be a text, not None"),
        ({"watts": 3}, "keys must be among name, .* not watts"),
    ],
)
def test_impossible_values_are_refused_by_field_name(change, message):
    with pytest.raises(InputError, match=message):
        Baseline.from_dict({**GOOD, **change})


def test_a_published_figure_needs_neither_command_nor_energy():
    data = {**GOOD, "mark": "published", "command": None, "joule_per_token": None}
    assert Baseline.from_dict(data).watts is None


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none.json: No such file"):
        load_file(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken.json must be valid JSON"):
        load_file(broken)
    broken.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"must hold a JSON object, not list"):
        load_file(broken)
    with pytest.raises(InputError, match="schema must be 'signacc-baselines-1' or .*, not 'other'"):
        load_file(write(broken, [], schema="other"))
    with pytest.raises(InputError, match="baselines must be a list, not dict"):
        load_file(write(broken, {}))
    with pytest.raises(InputError, match=r"baselines\[1\]: batch must be a positive integer"):
        load_file(write(broken, [GOOD, {**GOOD, "batch": -1}]))
    with pytest.raises(InputError, match=r"baselines\[0\] must be a JSON object, not int"):
        load_file(write(broken, [1]))
