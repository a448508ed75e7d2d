"""A bench that fails, or runs nothing, or too little, must not pass."""

from __future__ import annotations

import pytest

from signacc.cosim.build import BenchError, run_bench

pytestmark = pytest.mark.rtl


def test_passing_bench_passes(tiny, tmp_path):
    assert run_bench(tiny, "failing_bench", tests=["passes"], work=tmp_path).is_file()


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (["fails"], "1 of 1 tests failed"),
        (["no_such_test"], "bench failing_bench"),
        (["passes", "fails"], "1 of 2 tests failed"),
        (["passes", "no_such_test"], "0 of 1 tests failed, 2 expected"),
    ],
)
def test_bench_that_must_not_pass(tiny, tmp_path, tests, message):
    with pytest.raises(BenchError, match=message):
        run_bench(tiny, "failing_bench", tests=tests, work=tmp_path)


def test_module_that_does_not_exist(tiny, tmp_path):
    with pytest.raises(BenchError, match="no_such_module"):
        run_bench(tiny, "no_such_module", tests=["passes"], work=tmp_path)
