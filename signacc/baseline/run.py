"""A whole measurement run: device, checks, points, and the file that grows with them."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from golden.config import ModelConfig, named_model
from sim.baselines import Baseline, Gap, Provenance, Record

from .device import require_gpu
from .errors import DeviceError
from .measure import measure_all, release
from .plan import GEMMS, Plan
from .points import Point, Result
from .power import Meter, NvmlBoard
from .timing import Ceilings, measure_ceilings

if TYPE_CHECKING:  # these need Triton
    from .decoder import Decoder
    from .gate import Check
    from .paths import Path

IDLE_SECONDS = 3.0
CHECKED_BATCHES = (1, 4, 64, 256)
"""Batches that the check runs: one for each kind of kernel, and of its tiles."""

Say = Callable[[str], None]
Save = Callable[[Record], None]


def make_path(
    name: str, config: ModelConfig, device: torch.device, gemm: str = GEMMS[0]
) -> Path:
    """Return the path called `name` with random weights; `gemm` is that of a 1-bit path."""
    from .paths import DensePath, Int4Path
    from .sign_path import SignPath

    if name == "bf16":
        return DensePath(config, device)
    if name == "int4":
        return Int4Path(config, device)
    return SignPath(config, device, act_bits=16 if name == "sign-a16" else 8, gemm=gemm)


def make_decoder(
    name: str, model: str, device: torch.device, gemm: str = GEMMS[0]
) -> Decoder:
    """Return a whole decoder of the path called `name` with random weights."""
    from .decoder import Decoder

    return Decoder(make_path(name, named_model(model), device, gemm))


def triton_version() -> str:
    """Return the version of Triton."""
    import triton

    return triton.__version__


def check_path(
    name: str, model: str, device: torch.device, gemm: str = GEMMS[0]
) -> list[Check]:
    """Check a path at a model's widths (:mod:`.gate`); raises GateError if it is wrong."""
    from .gate import check_linears, check_model, require, shallow

    path = make_path(name, shallow(named_model(model)), device, gemm)
    checks = []
    ways = path.early_ways
    for way in reversed(ways):  # the two ends have every kernel of many vectors
        path.start_early(way)
        for batch in CHECKED_BATCHES if way in (ways[0], ways[-1]) else CHECKED_BATCHES[:1]:
            found = check_model(path, batch=batch, past=333, length=40)
            checks += [replace(check, what=f"{check.what}, early starts {way}") for check in found]
    if path.act_bits is not None:
        checks += [check_linears(path, count=count) for count in (1, 3, 40)]
    require(checks)
    return checks


class Run:
    """Measures a plan; `save` gets the record after every point, `say` what is going on.

    Parameters
    ----------
    name
        Prefix of the entries' names, such as ``h200``.
    command
        The command line, as the record gives it.
    seconds, energy_seconds
        Time of a point's repeats, and of the steady state under an energy, s.
    """

    def __init__(
        self, plan: Plan, *, name: str, command: str, seconds: float, energy_seconds: float,
        save: Save, say: Say,
    ) -> None:
        self.plan, self.name, self.command = plan, name, command
        self.seconds, self.energy_seconds = seconds, energy_seconds
        self.save, self.say = save, say
        self.entries: list[Baseline] = []
        self.gaps: list[Gap] = []
        self.checks: list[dict[str, object]] = []

    def __call__(self) -> Record:
        """Measure everything; a path that fails its check leaves gaps, and the rest goes on."""
        self.device = require_gpu()
        uuid = str(torch.cuda.get_device_properties(self.device).uuid)
        board = NvmlBoard(uuid)
        self.driver = board.driver()
        self.meter = Meter(board) if self.plan.energy else None
        self.idle = None
        if self.meter is not None:
            torch.zeros(1, device=self.device)
            reading = self.meter.measure(lambda: time.sleep(IDLE_SECONDS))
            self.idle = round(reading.joules / reading.seconds, 1)
            if self.meter.source == "sampled":
                self.say("this driver has no energy counter: energy is from sampled power")
        self.ceilings: Ceilings = measure_ceilings()
        release()
        for model, path_name in self.plan.decoders():
            points = self.plan.points(model, path_name)
            try:
                self._check(path_name, model)
                decoder = make_decoder(path_name, model, self.device, self.plan.gemm)
                results = measure_all(
                    decoder, points, self.ceilings, self.meter, seconds=self.seconds,
                    energy_seconds=self.energy_seconds,
                )
                for point, result in results:
                    self._add(point, result)
                    self.save(self.record())
            except DeviceError as error:  # fails its check, or has no compiler
                self._miss(points, str(error))
            except torch.OutOfMemoryError:
                self._miss(points, "out of memory: the weights do not fit")
            except (RuntimeError, NotImplementedError) as error:
                # a library kernel that this device or version does not have
                self._miss(points, f"does not run: {str(error).splitlines()[0]}")
            decoder = None
            release()
            self.save(self.record())
        return self.record()

    def _check(self, path_name: str, model: str) -> None:
        for check in check_path(path_name, model, self.device, self.plan.gemm):
            self.checks.append({"path": path_name, "model": model} | check.to_dict())
        release()

    def _add(self, point: Point, result: Result | None) -> None:
        where = f"{point.model} {point.path} {point.phase} {point.batch} x {point.context}"
        if result is None:
            self._miss([point], "out of memory")
            self.say(f"{where}: out of memory")
            return
        self.say(f"{where}: {result.tokens_per_second:,.1f} tokens/s")
        self.entries.append(
            Baseline(
                name=f"{self.name}-{point.path}",
                model=point.model, path=point.path, phase=point.phase, batch=point.batch,
                context=point.context,
                tokens_per_second=_digits(result.tokens_per_second),
                joule_per_token=_digits(result.joule_per_token),
                mark="measured", source=self._provenance().source, command=self.command,
                date=self._provenance().date,
                spread=round(result.spread, 4), repeats=result.repeats,
                bandwidth_share=_digits(result.bandwidth_share),
                compute_share=_digits(result.compute_share),
                limit_share=_digits(result.limit_share),
                energy_source=result.energy_source,
                energy_seconds=_digits(result.energy_seconds),
                early=result.early,
            )
        )

    def _miss(self, points: list[Point], reason: str) -> None:
        done = {(g.model, g.path, g.phase, g.batch, g.context) for g in self.gaps} | {
            (e.model, e.path, e.phase, e.batch, e.context) for e in self.entries
        }
        for p in points:
            if (p.model, p.path, p.phase, p.batch, p.context) not in done:
                self.gaps.append(
                    Gap(name=f"{self.name}-{p.path}", model=p.model, path=p.path, phase=p.phase,
                        batch=p.batch, context=p.context, reason=reason)
                )

    def _provenance(self) -> Provenance:
        return Provenance(
            gpu=torch.cuda.get_device_name(self.device), driver=self.driver,
            versions={"python": platform.python_version(), "torch": torch.__version__,
                      "triton": triton_version(), "cuda": str(torch.version.cuda)},
            command=self.command, date=datetime.now(UTC).date().isoformat(),
            energy_source=self.meter.source if self.meter is not None else None,
            idle_watts=self.idle,
            gemm=self.plan.gemm if any(p.startswith("sign") for p in self.plan.paths) else None,
            copy_bytes_per_second=self.ceilings.copy_bytes_per_second,
            matmul_flop_per_second=self.ceilings.matmul_flop_per_second,
            int8_op_per_second=self.ceilings.int8_op_per_second,
            checks=self.checks,
        )

    def record(self) -> Record:
        """Return what is measured so far."""
        return Record(tuple(self.entries), tuple(self.gaps), self._provenance())


def _digits(value: float | None) -> float | None:
    """Round to six significant digits: more than any repeat agrees on."""
    return None if value is None else float(f"{value:.6g}")
