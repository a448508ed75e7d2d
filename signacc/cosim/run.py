"""Runs layers on the RTL, and holds values to golden and cycles to sim."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.config import EngineConfig
from hw.verilog import generate
from sim.engine import simulate
from sim.stalls import StallPattern

from .build import BenchError, Build, build, run_bench
from .job import LayerJob, Run, RunResult, load_results, save_runs

Progress = Callable[[int, int], None]
"""Called with (layers done, layers in all)."""


@dataclass(frozen=True)
class LayerReport:
    """How one layer fared.

    Attributes
    ----------
    name, m, k, n
        Layer, token vectors, inputs, outputs.
    values_compared, mismatches
        float16 results compared by bit pattern with golden's, and how many differ.
    rtl_cycles, simulated_cycles
        From the first cycle on an idle engine to the last result of the last vector.
    beats
        Weight beats.
    """

    name: str
    m: int
    k: int
    n: int
    values_compared: int
    mismatches: int
    rtl_cycles: int
    simulated_cycles: int
    beats: int

    @property
    def utilisation(self) -> float:
        """Share of RTL cycles that consumed a weight beat."""
        return self.beats / self.rtl_cycles

    @property
    def agrees(self) -> bool:
        """No value and no cycle differs."""
        return self.mismatches == 0 and self.rtl_cycles == self.simulated_cycles

    def to_json(self) -> dict[str, object]:
        """Return the fields for ``--json``."""
        return {
            "name": self.name,
            "shape": [self.m, self.k, self.n],
            "values_compared": self.values_compared,
            "mismatches": self.mismatches,
            "rtl_cycles": self.rtl_cycles,
            "simulated_cycles": self.simulated_cycles,
            "beats": self.beats,
            "utilisation": self.utilisation,
        }


def build_engine(config: EngineConfig, *, on_build: Callable[[], None] | None = None) -> Build:
    """Generate the Verilog of `config` and compile it, or return the cached build."""
    generated = generate(config)
    return build(generated.text, generated.top, on_build=on_build)


def execute_runs(
    built: Build,
    config: EngineConfig,
    runs: list[Run],
    *,
    progress: Progress | None = None,
    plusargs: Sequence[str] = (),
    saif: Path | None = None,
) -> list[RunResult]:
    """Send `runs` through the RTL; raises BenchError if the bench does not pass.

    `plusargs` go to the simulator, e.g. ``+verilator+rand+reset+2`` for a random power-up;
    `saif` is where the switching activity of all runs goes, from a build that has it.
    """
    with work_folder() as work:
        save_runs(work / "job.npz", config.to_dict(), runs)
        with _ProgressWatch(work / "progress", len(runs), progress):
            run_bench(
                built,
                "signacc.cosim.bench",
                tests=["job"],
                work=work,
                plusargs=plusargs,
                saif=saif,
                environment={
                    "SIGNACC_JOB": str(work / "job.npz"),
                    "SIGNACC_RESULTS": str(work / "results.npz"),
                    "SIGNACC_PROGRESS": str(work / "progress"),
                },
            )
        return load_results(work / "results.npz", runs)


def compare_layers(
    config: EngineConfig,
    jobs: list[LayerJob],
    golden: list[np.ndarray],
    results: list[RunResult],
    stalls: StallPattern,
) -> list[LayerReport]:
    """Compare every layer's RTL outputs with `golden` and its cycles with the simulator's."""
    reports = []
    for job, expected, result in zip(jobs, golden, results, strict=True):
        (output,) = result.outputs
        timing = simulate(config, Run([job]).shapes(config.m_par), stalls)
        reports.append(
            LayerReport(
                name=job.name,
                m=job.m,
                k=job.k,
                n=job.n,
                values_compared=output.size,
                mismatches=int(
                    np.count_nonzero(output.view(np.uint16) != expected.view(np.uint16))
                ),
                rtl_cycles=result.cycles,
                simulated_cycles=timing.cycles,
                beats=timing.beats,
            )
        )
    return reports


@contextmanager
def work_folder() -> Iterator[Path]:
    """Yield a temporary folder; a bench that fails leaves it, with its job and its log."""
    folder = Path(tempfile.mkdtemp(prefix="signacc-"))
    try:
        yield folder
    except BenchError as error:
        log = folder / "bench.log"
        text = log.read_text(errors="replace") if log.is_file() else ""
        full = os.strerror(errno.ENOSPC)
        if full in text:
            shutil.rmtree(folder, ignore_errors=True)
            raise OSError(errno.ENOSPC, full, str(folder)) from error
        error.add_note("\n".join(text.splitlines()[-30:]))
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class _ProgressWatch:
    """Turns the lines that the bench appends to a file into progress calls."""

    def __init__(self, path: Path, total: int, progress: Progress | None):
        self._path, self._total, self._progress = path, total, progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        if self._progress is not None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._progress is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            if self._path.is_file():
                self._progress(len(self._path.read_text().splitlines()), self._total)
