from pathlib import Path

import pytest

from signacc.cosim.build import Build, build, run_bench
from signacc.cosim.toolchain import Toolchain


def test_switching_activity_needs_a_build_that_has_it(tmp_path):
    built = Build(Path("engine-1"), "engine", Toolchain("verilator", "Verilator 5.48", {}))
    message = "switching activity needs a build with saif, not engine-1"
    with pytest.raises(ValueError, match=message):
        run_bench(built, "none", tests=["job"], work=tmp_path, saif=tmp_path / "run.saif")


REGISTER = """
module {name}(input wire clk, input wire [{top}:0] data, output reg [{top}:0] held);
    always @(posedge clk) held <= data;
endmodule
"""


@pytest.mark.rtl
def test_verilators_own_sources_are_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path))
    logs = []
    for name, top in (("narrow", 3), ("wide", 39)):
        built = build(REGISTER.format(name=name, top=top), name)
        logs.append((built.folder / "build.log").read_text(encoding="utf-8"))
        assert not list(built.folder.glob("*.gch"))
    for source in ("verilated.cpp", "verilated_vpi.cpp", "verilated_threads.cpp"):
        assert [source in log for log in logs] == [True, False], source
    # It holds the size of the design's class, which has a member for every port.
    assert all("verilator.cpp" in log for log in logs)
