"""The sums in UltraScale+ blocks equal those that they replace: proved for any inputs in time.

Of the block itself Yosys has no model: dsp48e2.v is what AMD's user guide says of it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hw.blocks import BLOCKS_VERILOG
from hw.config import EngineConfig
from hw.verilog import generate
from signacc.fpga.flow import Options, implement
from signacc.fpga.parts import part_design
from signacc.fpga.steps import TECHMAPS
from signacc.fpga.targets import named_target

from .yosys import need_yosys, yosys

TECHMAP = TECHMAPS["xcup"]["blocks"].read_text()
MODEL = (Path(__file__).parent / "dsp48e2.v").read_text()


def total(a: int, c: int, width: int, before: int, plus: str = "plus") -> str:
    inputs = f"clk, clear, input [1:0] plus, input signed [{a - 1}:0] a, "
    return (
        f"module @(input {inputs}input signed [{c - 1}:0] c, output [{width - 1}:0] y);\n"
        f"  signacc_total #(.WA({a}), .WC({c}), .W({width}), .BEFORE({before})) sum (.clk(clk), "
        f".clear(clear), .plus({plus}), .a(a), .c(c), .y(y));\nendmodule\n"
    )


def sums(count: int, a: int, width: int) -> str:
    return (
        f"module @(input clk, clear, subtract, double, input [{count * a - 1}:0] x, "
        f"output [{count * width - 1}:0] y);\n"
        f"  signacc_sums #(.N({count}), .A({a}), .W({width})) sum (.clk(clk), .clear(clear), "
        f".subtract(subtract), .double(double), .x(x), .y(y));\nendmodule\n"
    )


CASES = {
    "bin": total(30, 44, 44, 1),
    "carry": total(44, 45, 46, 0, "{1'b1, plus[0]}"),
    "drain": total(22, 37, 38, 0, "2'd2"),
    "widest": total(48, 48, 48, 1),
    "narrow": total(3, 2, 5, 1),
    "four": sums(4, 8, 10),
    "four of 12": sums(4, 12, 12),
    "three": sums(3, 4, 6),
    "two": sums(2, 16, 18),
    "one": sums(1, 24, 24),
}


def different(folder: Path, names: list[str], techmap: str) -> list[str]:
    """Return those of the named cases of which the mapped design ever gives another sum."""
    numbers = {f"case_{i}": name for i, name in enumerate(names)}
    (folder / "design.v").write_text(
        BLOCKS_VERILOG + "".join(CASES[name].replace("@", top) for top, name in numbers.items())
    )
    (folder / "techmap.v").write_text(techmap)
    (folder / "dsp48e2.v").write_text(MODEL)
    prepare = "hierarchy", "proc", "flatten", "opt_clean"
    script = [
        "read_verilog design.v", *prepare, *(f"rename {top} {top}_gold" for top in numbers),
        "design -stash gold",
        "read_verilog design.v", "techmap -map techmap.v", "select -assert-none t:signacc_*",
        "read_verilog dsp48e2.v", *prepare,
    ]
    for top in numbers:
        script += [
            f"design -copy-from gold {top}_gold",
            f"miter -equiv -flatten -make_outputs {top}_gold {top} {top}_miter",
            f"sat -tempinduct -maxsteps 4 -set-init-zero -prove trigger 0 {top}_miter",
        ]
    log = yosys(folder, *script)
    proofs = re.findall(r"(Induction step proven: SUCCESS|SAT temporal induction proof.*FAIL|"
                        r"Reached maximum number of time steps)", log)
    assert len(proofs) == len(numbers), log[-2000:]
    return [name for name, proof in zip(names, proofs, strict=True) if "SUCCESS" not in proof]


def test_equal(tmp_path):
    need_yosys()
    assert different(tmp_path, list(CASES), TECHMAP) == []


@pytest.mark.parametrize(
    ("case", "right", "wrong"),
    [
        ("carry", "000010000)  // Z", "000000000)  // Z"),  # P and C the other way round
        ("bin", ".PCIN(cascade)", ".PCIN(y_or_z)"),
        ("bin", "if (BEFORE != 0)", "if (BEFORE == 2)"),
        ("four", '"FOUR12"', '"ONE48"'),  # carries from field to field
        ("four", "{2{with_y}}", "2'b00"),
        ("two", "{2{subtract}}", "2'b00"),
        ("drain", ".RSTP(clear)", ".RSTP(1'b0)"),
    ],
)
def test_the_check_sees_a_wrong_sum(case, right, wrong, tmp_path):
    need_yosys()
    assert TECHMAP.count(right) == 1
    assert different(tmp_path, [case], TECHMAP.replace(right, wrong)) == [case]


ENGINE = EngineConfig(
    name="test", k_par=12, n_par=1, act_bits=8, structure="tables", group=4, k_max=64, n_max=4,
    around="blocks",
)


def test_an_engine_takes_the_blocks_that_its_sums_need(tmp_path):
    """Two for a bin's sum and the one before it, one each for carry, drain and maker.

    The rest are products: scale, shift, and one each for shift's, quantizer's and drain's shifter.
    """
    need_yosys()
    target = named_target("xcup-k26")
    counts = {}
    for around in ("luts", "blocks"):
        design, _ = part_design(replace(ENGINE, around=around), "engine")
        result = implement(design, target, Options(), tmp_path / around, place=False)
        counts[around] = result.synthesis.count
        assert counts[around].unknown == ()
    assert (counts["luts"].dsp, counts["blocks"].dsp) == (2, 10)
    assert counts["blocks"].bram == counts["luts"].bram + 1  # bins, twice, half a block each
    assert counts["blocks"].lut < counts["luts"].lut - 200


def test_without_blocks_there_are_no_modules_of_them():
    assert "signacc_total" in generate(ENGINE).text
    assert "signacc_" not in generate(replace(ENGINE, around="luts"), top="engine").text
