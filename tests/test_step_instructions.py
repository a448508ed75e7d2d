"""Machine code made by hand, cut at its barriers."""

import importlib
from pathlib import Path

import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TEXT = """
.text.decode_step:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LOP3.LUT R2, R1, 0xf0, RZ, 0xc0, !PT ;
.L_x_1:
        /*0020*/             @!UP1 IADD3 R2, R2, 0x1, RZ ;
        /*0030*/                   BAR.SYNC.DEFER_BLOCKING 0x1, 0x200 ;
        /*0040*/                   LDS.128 R4, [R2] ;
        /*0050*/                   BMMA.168256.AND.POPC R4, R4.ROW, R8.COL, RZ ;
        /*10060*/             @PT  EXIT ;
"""


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("step_instructions")


def test_segments_end_at_barriers(counted):
    first, second = counted.segments_of(TEXT)
    assert (first.end, first.count, first.of(counted.INTEGER), first.cycles) == (0x30, 4, 2, 4)
    assert dict(second.names) == {"LDS": 1, "BMMA": 1, "EXIT": 1}
    assert (second.end, second.of(counted.MEMORY)) == (0x10060, 1)


def test_integer_instructions_take_two_cycles(counted):
    (one,) = counted.segments_of("/*0000*/ PRMT R1 ;\n/*0010*/ SHF.R R1 ;\n/*0020*/ FADD R1 ;")
    assert one.cycles == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--model", "fbi-9b"], "fbi-9b"), (["--blocks", "1"], "a processor for each head")],
)
def test_what_cannot_be_counted_is_one_sentence(counted, monkeypatch, arguments, message):
    monkeypatch.setattr(counted, "find_tool", lambda name: name)
    result = CliRunner().invoke(counted.main, arguments)
    assert result.exit_code == 2
    assert message in result.output
