import re
from dataclasses import replace

import pytest

from golden.errors import InputError
from hw.config import named_preset
from hw.verilog import generate
from signacc.activity.parts import PARTS, PartActivity, by_part
from signacc.activity.saif import Net, Saif


def net(*toggles):
    return Net(dict(enumerate(toggles)), dict.fromkeys(range(len(toggles)), 0))


ROW = "top/array_0/cluster_1/instance/row_3/instance"
SAIF = Saif(100, 1e-12, {
    "top": {"clk": net(20), "after": net(9)},
    ROW: {
        "tree_0_1_2": net(4, 6), "tree_0_1_2_b": net(5), "tree_0_1_2_c": net(99), "after": net(3),
        "after_b": net(1), "accumulator": net(2, 2), "tree_r0_1": net(0), "options": net(50),
    },
    "top/array_0/cluster_1/instance": {"weights_here": net(8), "weights": net(8)},
    "top/front_end/bins": {"sum_0": net(7), "sum_0_x": net(7)},
    "other/front_end/bins": {"sum_0": net(7)},
})
EVENTS = {"beat": 10, "chunk": 7, "write": 1, "result": 2}


def test_nets_are_counted_once_by_part():
    assert by_part(SAIF, "top", EVENTS) == {
        "adders": PartActivity(3, 15, 10),
        "accumulators": PartActivity(2, 4, 10),
        "array_registers": PartActivity(4, 12, 10),
        "bins": PartActivity(1, 7, 7),
    }
    assert by_part(SAIF, "top", EVENTS)["adders"].per_bit == 0.5


def test_another_top_is_refused():
    with pytest.raises(InputError, match="the SAIF must have an instance engine at its top"):
        by_part(SAIF, "engine", EVENTS)


def test_runs_of_one_design_add_up():
    assert PartActivity(3, 15, 10) + PartActivity(3, 1, 5) == PartActivity(3, 16, 15)
    with pytest.raises(ValueError, match="one count of bits, not 3 and 4"):
        PartActivity(3, 15, 10) + PartActivity(4, 1, 5)


ALWAYS = {
    "adders", "array_registers", "accumulator_sums", "front_end_multipliers", "bins", "drain",
}
OF = {
    "direct": {"accumulators"},
    "triple": set(),
    "shared": {"accumulators", "terms", "shared_sums"},
    "tables": {"accumulators", "terms", "table_words", "partial_sums"},
}


@pytest.mark.parametrize("structure", OF)
def test_the_names_are_those_of_the_verilog(structure):
    config = replace(
        named_preset("tiny"), structure=structure,
        group={"direct": 1, "triple": 1, "shared": 2, "tables": 4}[structure],
    )
    names = set(re.findall(r"(?:wire|reg|output)(?: \[[^]]+\])? (\w+)", generate(config).text))
    found = {part.name for part in PARTS if any(re.fullmatch(part.nets, n) for n in names)}
    assert found >= ALWAYS | OF[structure]
    assert ("third" in names) is (structure == "triple")
    assert ("tree_0_0_0_b" in names) is (structure != "triple")
