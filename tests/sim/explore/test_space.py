"""Spaces as files: what is legal, and what is refused by file, line and key."""

import json
import re
from pathlib import Path

import pytest

from sim.errors import InputError
from sim.explore import METRICS, SPACE_NAMES, named_space, space_from_file
from sim.explore.space import AXES
from sim.system import named_system, presets

DATA = Path(__file__).parents[3] / "sim/explore/data"
GOOD = {
    "schema": "signacc-space-1", "name": "mine", "system": "kv260",
    "axes": {"model": ["fbi-130m"], "structure": ["tables4", "direct"], "engines": [1, 2]},
}
PRICES = {"chip": 10, "per_1000_lut": 1, "memory": {"hbm3": 5}, "source": "a quote"}


PAGE = (Path(__file__).parents[3] / "docs/explore.md").read_text(encoding="utf-8")


def test_the_page_has_every_key_axis_and_figure():
    section = PAGE[PAGE.index("## Spaces"):PAGE.index("## Running")]
    keys = set()
    for name in SPACE_NAMES:
        space = json.loads((DATA / f"space-{name}.json").read_text(encoding="utf-8"))
        keys |= space.keys() | space["prices"].keys()
        assert f"`{name}` ({named_space(name).size:,}" in section
    for word in keys | set(AXES) | {"context", "prefill", "decode", "other_lut"}:
        assert f"`{word}`" in section, word
    for name, metric in METRICS.items():
        better = "more" if metric.maximise else "less"
        unit = metric.unit if metric.unit != "lanes" else ""
        assert re.search(rf"^\| `{name}` \| {better} \| {re.escape(unit)} *\|", PAGE, re.M), name


def test_the_page_quotes_the_record_of_a_sweep():
    record = json.loads((DATA.parents[2] / "benchmarks/results/explore.json").read_text())
    whole, again = (record["results"][of] for of in ("all", "resumed_with_limits"))
    text = " ".join(PAGE.split())
    assert f"all {whole['evaluated']:,} designs of `boards` in {whole['wall_s']:.0f} s" in text
    assert f"{whole['processor_s']:.0f} s of processor time" in text
    assert f"resumed under two limits, {again['wall_s']:.1f} s" in text
    assert len(again["command"].split("--constraints ")[1].split(",")) == 2


def written(tmp_path, **changes):
    path = tmp_path / "space.json"
    path.write_text(json.dumps(GOOD | changes, indent=1))
    return path


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_named_spaces_build_and_have_distinct_keys(name):
    space = named_space(name)
    designs = list(space.designs())
    assert len(designs) == space.size
    for design in designs[:: max(1, space.size // 50)]:
        space.build(design)
    some = designs[:200]
    assert len({space.key(design) for design in some}) == len(some)


def test_the_boards_space_is_the_size_that_is_promised():
    assert named_space("boards").size >= 10_000


def test_a_design_changes_what_its_axes_name_and_nothing_else(tmp_path):
    space = space_from_file(written(tmp_path))
    base = named_system("kv260")
    system = space.build({"model": "fbi-130m", "structure": "direct", "engines": 2})
    assert (system.engine.structure, system.engine.group, system.engines) == ("direct", 1, 2)
    assert (system.memory, system.engine.k_par) == (base.memory, base.engine.k_par)


def test_keys_depend_on_the_workload(tmp_path):
    one = space_from_file(written(tmp_path))
    other = space_from_file(written(tmp_path, context=64))
    design = next(iter(one.designs()))
    assert one.key(design) == space_from_file(written(tmp_path)).key(design)
    assert one.key(design) != other.key(design)


def test_a_system_file_beside_the_space_is_found(tmp_path):
    text = (presets._FOLDER / "tiny.json").read_text()
    (tmp_path / "own.json").write_text(text)
    assert space_from_file(written(tmp_path, system="own.json")).system == named_system("tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "2"}, "schema must be"),
        ({"colour": "red"}, "colour"),
        ({"description": 3}, "description must be a text, not 3"),
        ({"system": "kv261"}, "not 'kv261'"),
        ({"context": 0}, "integer of at least 1, not 0"),
        ({"context": 5, "prefill": 5}, "not both"),
        ({"other_lut": 5}, "must stand together"),
        ({"prices": PRICES | {"memory": {"hbm9": 1}}}, "hbm9"),
        ({"prices": PRICES | {"chip": -1}}, "not -1"),
        ({"axes": {"engines": [1]}}, "axes.model must be given"),
        ({"axes": {"model": []}}, "must be a list of values"),
        ({"axes": {"model": ["fbi-9b"]}}, "fbi-9b"),
        ({"axes": {"model": ["fbi-7b", "fbi-7b"]}}, "each value once"),
        ({"axes": {"model": ["fbi-7b"], "k_par": [0]}}, "at least 1, not 0"),
        ({"axes": {"model": ["fbi-7b"], "k_par": [True]}}, "not True"),
        ({"axes": {"model": ["fbi-7b"], "structure": ["trees"]}}, "not 'trees'"),
        ({"axes": {"model": ["fbi-7b"], "clock_mhz": [0]}}, "above 0, not 0"),
        ({"axes": {"model": ["fbi-7b"], "kv_bits": [4]}}, "kv_bits"),
        ({"axes": {"model": ["fbi-7b"], "memory": ["core"]}}, "core"),
        ({"axes": {"model": ["fbi-7b"], "lanes": [1]}}, "axes.lanes"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as found:
        space_from_file(path)
    assert str(path) in str(found.value)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="not 'nowhere'"):
        named_space("nowhere")


def test_an_engine_without_rtl_is_refused(tmp_path):
    system = json.loads((presets._FOLDER / "tiny.json").read_text())
    system["engine"] = {
        "kind": "generic", "k_par": 8, "n_par": 4, "clock_mhz": 100, "weight_bits": 1,
    }
    (tmp_path / "own.json").write_text(json.dumps(system))
    with pytest.raises(InputError, match="line 4: system must have an engine with RTL"):
        space_from_file(written(tmp_path, system="own.json"))
