"""The adders for UltraScale+ equal those that they replace: proved by SAT, for every input."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from hw.adders import ADDERS_VERILOG
from hw.config import EngineConfig
from signacc.fpga.flow import Options, implement
from signacc.fpga.parts import part_design
from signacc.fpga.steps import TECHMAPS
from signacc.fpga.targets import named_target

from .yosys import need_yosys, yosys

TECHMAP = TECHMAPS["xcup"]["adders"].read_text()


def placed(module: str, widths: dict[str, int], **parameters: str | int) -> str:
    """Return the Verilog of a module @ that holds one adder and nothing else."""
    inputs = ", ".join(f"input [{n - 1}:0] {name}" for name, n in widths.items() if name != "y")
    settings = ", ".join(f".{name}({value})" for name, value in parameters.items())
    ports = ", ".join(f".{name}({name})" for name in widths)
    return (
        f"module @({inputs}, output [{widths['y'] - 1}:0] y);\n"
        f"  {module} #({settings}) adder ({ports});\nendmodule\n"
    )


def pair(act_bits: int) -> str:
    widths = {"q0": act_bits, "q1": act_bits, "n0": 1, "n1": 1, "c": 1, "y": act_bits + 1}
    return placed("signacc_pair", widths, A=act_bits)


def join(a: int, wa: int, wb: int, w: int, offset: int, *, leaf: int = 1, carries: int = 2) -> str:
    widths = {"a": wa, "b": wb, "q": a, "n": 1, "c0": 1, "c1": 1, "y": w}
    value = (offset << (a - 1)) % (1 << w)
    return placed("signacc_join", widths, A=a, WA=wa, WB=wb, W=w, LEAF=leaf, CARRIES=carries,
                  OFFSET=f"{w}'d{value}")


CASES = {
    **{f"pair {a}": pair(a) for a in (4, 8, 16)},
    "join": join(8, 9, 9, 11, 1),
    "one carry": join(8, 9, 9, 11, 1, carries=1),
    "no carry": join(8, 9, 9, 11, 1, carries=0),
    "no room for a last carry": join(8, 11, 11, 12, 1),
    "a sum and an input": join(8, 9, 1, 10, 1),
    "wide input": join(8, 5, 3, 9, 1),
    "two sums": join(8, 9, 9, 10, 0, leaf=0, carries=1),
    "two sums, no last carry": join(8, 9, 7, 9, 0, leaf=0, carries=0),
    "accumulator": join(8, 20, 13, 20, -31),
    "accumulator, even": join(8, 20, 13, 20, -22, carries=1),
    "accumulator alone": join(4, 9, 1, 9, 0, carries=1),
    "accumulator without an input": join(8, 20, 10, 20, -4, leaf=0, carries=1),
    "accumulator without an input, odd": join(8, 14, 10, 14, -5, leaf=0, carries=1),
    "16 bits": join(16, 28, 21, 28, -31),
}


def different(folder, names: Sequence[str], techmap: str) -> list[str]:
    """Return those of the named cases of which the mapped design ever gives another sum."""
    numbers = {f"case_{i}": name for i, name in enumerate(names)}
    (folder / "design.v").write_text(
        ADDERS_VERILOG + "".join(CASES[name].replace("@", top) for top, name in numbers.items())
    )
    (folder / "techmap.v").write_text(techmap)
    prepare = "hierarchy", "proc", "flatten", "opt_clean"
    script = [
        "read_verilog design.v", *prepare, *(f"rename {top} {top}_gold" for top in numbers),
        "design -stash gold",
        "read_verilog design.v", "techmap -map techmap.v", "select -assert-none t:signacc_*",
        "read_verilog +/xilinx/cells_sim.v", *prepare,
    ]
    for top in numbers:
        script += [
            f"design -copy-from gold {top}_gold",
            f"miter -equiv -flatten -make_outputs {top}_gold {top} {top}_miter",
            f"sat -prove trigger 0 {top}_miter",
        ]
    yosys(folder, *script)
    proofs = re.findall(r"SAT proof finished - (.*)", (folder / "yosys.log").read_text())
    assert len(proofs) == len(numbers)
    return [
        name for name, proof in zip(names, proofs, strict=True)
        if proof != "no model found: SUCCESS!"
    ]


def test_equal(tmp_path):
    need_yosys()
    assert different(tmp_path, list(CASES), TECHMAP) == []


@pytest.mark.parametrize(
    ("case", "right", "wrong"),
    [
        ("pair 8", "16'h9999 : 16'h6666", "16'h6666 : 16'h6666"),  # what is carried at the sign
        ("join", "majority[0] = CARRIES > 0 ? c0", "majority[0] = CARRIES > 2 ? c0"),
        ("join", "MAJORITY[3:0], MAJORITY[7:4], MAJORITY}", "MAJORITY, MAJORITY}"),  # n ignored
        ("accumulator", "LOWER[", "HIGH["),  # no sign extension
        ("two sums", "y = {co,", "y = {1'b0,"),
    ],
)
def test_the_check_sees_a_wrong_adder(case, right, wrong, tmp_path):
    need_yosys()
    assert right in TECHMAP
    cases = [case, "pair 4" if case == "join" else "join"]
    assert different(tmp_path, cases, TECHMAP.replace(right, wrong))[:1] == [case]


@pytest.mark.parametrize(
    ("k_par", "act_bits", "levels"), [(1, 8, 1), (11, 8, 2), (23, 5, 1)]
)
def test_a_row_takes_what_its_plan_says(k_par, act_bits, levels, tmp_path):
    """One LUT6_2 a bit of every adder, as planned; the rest is control."""
    need_yosys()
    config = EngineConfig(
        name="test", k_par=k_par, n_par=1, act_bits=act_bits, structure="triple", k_max=64,
        n_max=4, levels_per_stage=levels,
    )
    design, lanes = part_design(config, "row")
    assert lanes == k_par
    result = implement(design, named_target("xcup-k26"), Options(), tmp_path, place=False)
    found = result.synthesis.count
    assert found.cells["LUT6_2"] == config.plan.luts
    assert found.lut - found.cells["LUT6_2"] <= 2
    assert found.dsp == 0
    assert found.unknown == ()


def test_other_families_take_the_sums_as_they_are(tmp_path):
    need_yosys()
    config = EngineConfig(
        name="test", k_par=5, n_par=1, act_bits=4, structure="triple", k_max=8, n_max=4
    )
    design, _ = part_design(config, "row")
    result = implement(design, named_target("ecp5-25k"), Options(), tmp_path, place=False)
    assert "LUT6_2" not in result.synthesis.count.cells
    assert result.synthesis.count.unknown == ()
