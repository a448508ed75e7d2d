"""The simulator's page: its example runs, and its figures are those of the code."""

import re
from pathlib import Path

import pytest

from golden.config import MODELS, named_model
from sim.system import estimate, named_system

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/simulator.md", "exec"), {})
    assert "lm_head" in capsys.readouterr().out


def rows():
    table = PAGE.split("## Estimates")[1].split("## ")[0]
    return {
        cells[0]: [[float(v) for v in cell.split("/")] for cell in cells[1:]]
        for line in table.splitlines()
        if (cells := [c.strip() for c in line.strip("| ").split("|")])[0] in MODELS
    }


def test_every_model_is_in_the_table():
    assert set(rows()) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_table_holds_what_the_code_says(name):
    result = estimate(named_model(name), named_system("kv260"), context=512)
    speed, limit, energy = rows()[name]
    found, joules = result.tokens_per_second, result.energy_j
    assert speed == pytest.approx([found.low, found.nominal, found.high], rel=1e-2)
    assert limit == pytest.approx([result.bandwidth_limit_tokens_per_second], rel=1e-2)
    assert energy == pytest.approx([joules.low, joules.nominal, joules.high], rel=1e-2)


def test_stated_shares():
    small = estimate(named_model("fbi-130m"), named_system("kv260"), context=512)
    amounts = small.workload.bytes_by_category()
    assert amounts["head"] / sum(amounts.values()) == pytest.approx(0.62, abs=0.005)
    for name, model in MODELS.items():
        result = estimate(model, named_system("kv260"), context=512)
        limit = result.bandwidth_limit_tokens_per_second
        assert 0.795 < result.tokens_per_second.nominal / limit < 0.915, name
        parts = result.energy_parts_j
        outside = parts["dram"].nominal + parts["static"].nominal
        assert 0.965 < outside / result.energy_j.nominal < 0.985, name
