from pathlib import Path

import pytest

from signacc.cosim.build import Build, run_bench
from signacc.cosim.toolchain import Toolchain


def test_switching_activity_needs_a_build_that_has_it(tmp_path):
    built = Build(Path("engine-1"), "engine", Toolchain("verilator", "Verilator 5.48", {}))
    message = "switching activity needs a build with saif, not engine-1"
    with pytest.raises(ValueError, match=message):
        run_bench(built, "none", tests=["job"], work=tmp_path, saif=tmp_path / "run.saif")
