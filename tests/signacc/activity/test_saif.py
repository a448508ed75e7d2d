import re

import pytest

from golden.errors import InputError
from signacc.activity.saif import read_saif

# Ten time units. clk: 0101010101. a[0]: 0011100000, two toggles. a[1]: 1111111111. words[2]: one
# bit of a memory's word. In the instance below, q stands at 1 for 4 units, 0 for 5, unknown for 1.
FILE = r"""
// hand-made
(SAIFILE
 (SAIFVERSION "2.0") (DIRECTION "backward") (DESIGN )
 (PROGRAM_NAME "hand") (DIVIDER / )
 (TIMESCALE 1 ns)
 (DURATION 10)
 (INSTANCE top
  (NET
   (clk (T0 5) (T1 5) (TX 0) (TZ 0) (TB 0) (TC 9))
   (a\[0\] (T0 7) (T1 3) (TC 2))
   (a\[1\] (T0 0) (T1 10) (TC 0))
   (words[2]\[0\] (T0 9) (T1 1)
     (TC 1) (IG 0))
  )
  (INSTANCE row\$1
   (PORT (q (T0 5) (T1 4) (TX 1) (TC 3)))
  )
 )
)
"""


@pytest.fixture
def read(tmp_path):
    def reader(text):
        path = tmp_path / "hand.saif"
        path.write_text(text)
        return read_saif(path)

    return reader


def test_hand_counted_file(read):
    saif = read(FILE)
    assert (saif.duration, saif.time_unit_s) == (10, 1e-9)
    assert set(saif.nets) == {"top", "top/row$1"}
    top = saif.nets["top"]
    assert {name: net.toggles for name, net in top.items()} == {
        "clk": {0: 9}, "a": {0: 2, 1: 0}, "words[2]": {0: 1},
    }
    assert (top["a"].bits, top["a"].total, top["a"].high) == (2, 2, {0: 3, 1: 10})
    assert saif.nets["top/row$1"]["q"].toggles == {0: 3}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('"2.0"', '"1.0"', 4, 'SAIFVERSION must be "2.0", not "1.0"'),
        ("(SAIFILE", "(SAIF", 3, "'SAIFILE' must stand here, not 'SAIF'"),
        ("1 ns", "3 ns", 6, "TIMESCALE must be 1, 10 or 100 of s, ms, us, ns, ps or fs, not '3ns'"),
        ("N 10)", "N -1)", 7, "DURATION must be an integer of at least 0, not '-1'"),
        ("(DURATION 10)", "", 8, "DURATION must stand before the first INSTANCE"),
        ("(DURATION", "(LENGTH", 7, "an entry of SAIFILE is a header, DURATION or INSTANCE"),
        ("(TIMESCALE 1 ns)", "", 21, "TIMESCALE must be given"),
        ("(T0 7)", "(T0 6)", 11, "T0, T1, TX, TZ and TB of a must sum to the duration 10, not 9"),
        ("(T1 3) (TC 2)", "(T1 3)", 11, "TC of a must be given"),
        ("(T1 3) (TC 2)", "(T1 3) (TC two)", 11, "TC must be an integer of at least 0, not 'two'"),
        ("(T1 3) (TC 2)", "(T1 3) (TT 2)", 11, "a net has each of T0, T1, TX"),
        ("(T1 3) (TC 2)", "(T1 3) (TC 2) (TC 2)", 11, "a net has each of T0, T1, TX"),
        (r"a\[1\]", r"a\[0\]", 12, "bit 0 of a must stand once in its instance"),
        ("(PORT", "(WIRE", 17, "an instance holds INSTANCE, NET and PORT, not 'WIRE'"),
        (" )\n)\n", " )\n", 20, "the file ends where ( or ) must stand"),
        (" )\n)\n", " )\n) more\n", 20, "nothing may follow SAIFILE, not 'more'"),
    ],
)
def test_faults_are_refused_by_line(read, old, new, line, message):
    assert FILE.count(old) == 1
    with pytest.raises(InputError) as error:
        read(FILE.replace(old, new))
    assert re.search(rf"hand.saif, line {line}: {re.escape(message)}", str(error.value))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none.saif: No such file"):
        read_saif(tmp_path / "none.saif")
    (tmp_path / "bytes.saif").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bytes.saif must be UTF-8 text"):
        read_saif(tmp_path / "bytes.saif")
    (tmp_path / "empty.saif").write_text("")
    with pytest.raises(InputError, match="the file ends"):
        read_saif(tmp_path / "empty.saif")
