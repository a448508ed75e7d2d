"""Checks and times one family of kernels: the work of gpu_gemm.py's workers."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

import torch
import torch.nn.functional as F
from gpu_gemm_tiles import COUNTS, TILES, name_of
from gpu_worker import Tasks
from torch import Tensor

from golden.config import named_model
from signacc.baseline import ops
from signacc.baseline.gemm import TritonGemm
from signacc.baseline.ops import NORM, PLAIN, SILU
from signacc.baseline.packing import fragment_order, unpack
from signacc.baseline.paths import PROLOGUES, DensePath, Path
from signacc.baseline.sign_path import SignPath
from signacc.baseline.sign_wgmma import WgmmaTile, load, sign_wgmma_into
from signacc.baseline.timing import capture, seconds_of
from signacc.baseline.vectors import Vectors, fold, quantize
from signacc.baseline.weights import FUSED, Signs, fused_shape

LAYERS = 8
"""Layers of the family `layer`: their signs, too, are more than the cache holds."""

COPIES_BYTES = 256 << 20
"""Weights that a graph's calls read in turn, several times the cache of the device."""

STRETCH, STRETCHES = 0.008, 7


@dataclass
class Case:
    """A fused linear with `count` vectors, on the device; `copies` of the signs are alike."""

    part: str
    count: int
    signs: Signs
    copies: int
    x: Tensor

    @property
    def outputs(self) -> int:
        return len(self.signs.packed)

    @property
    def inputs(self) -> int:
        return self.signs.alpha.shape[1]

    def copied(self, make: Callable[[Signs], Tensor], bytes_each: int) -> list[Tensor]:
        """Return weights made of the signs, as many as exceed the cache."""
        wanted = max(1, min(self.copies, -(-COPIES_BYTES // bytes_each)))
        first = make(self.signs)
        return [first, *(first.clone() for _ in range(wanted - 1))]

    def task(self, name: str) -> dict[str, object]:
        return {"key": name, "part": self.part, "count": self.count}

    def plus_minus(self, dtype: torch.dtype) -> Tensor:
        return unpack(self.signs.packed).to(dtype) * 2 - 1

    def y(self) -> Tensor:
        return torch.full((self.count, self.outputs), torch.nan, dtype=torch.float16,
                          device=self.x.device)


def make_case(part: str, rows: tuple[int, ...], inputs: int, count: int, copies: int) -> Case:
    """Return a case of linears with `rows` outputs each, drawn afresh."""
    device = torch.device("cuda")
    packed = torch.randint(0, 256, (sum(rows), inputs // 8), dtype=torch.uint8, device=device)
    alpha = torch.empty((len(rows), inputs), device=device).uniform_(0.8, 1.2)
    beta = 0.1 * torch.randn_like(alpha)
    # sums near 1, so that a residual stream which is added to thousands of times stays finite
    x = (torch.randn((count, inputs), device=device) * inputs**-0.5).half()
    return Case(part, count, Signs(packed, alpha.half(), beta.half(), rows), copies, x)


def worst_error(case: Case, x: Vectors, y: Tensor, before: Tensor | None) -> float:
    """Return the largest error of `y` against float64, over what is allowed.

    Allowed are one unit in the last place of binary16 and 2^-12 of the vector's root mean square,
    many times what float32 sums lose and a tenth of what one wrong sign does; with `before`, which
    was added to, another unit.
    """
    signs = case.plus_minus(torch.float64)
    start, worst = 0, 0.0
    for g, rows in enumerate(case.signs.rows):
        truth = x.values[g].double() @ signs[start : start + rows].T
        if x.scale is not None:
            truth *= x.scale[g].double()[:, None]
        truth += x.shift[g].double()[:, None]
        rms = truth.square().mean(1, keepdim=True).sqrt()
        allowed = truth.abs() * 2.0**-10 + rms * 2.0**-12
        part = y[:, start : start + rows].double()
        if before is not None:
            truth = truth + before[:, start : start + rows].double()
            allowed += truth.abs() * 2.0**-10 + 2.0**-20
        error = ((part - truth).abs() / allowed).nan_to_num(torch.inf, torch.inf, torch.inf).max()
        worst = max(worst, float(error))
        start += rows
    return worst


def time_of(calls: list[Callable[[], object]]) -> tuple[float, float]:
    """Return the median time of one call of a captured round of them, s, and its spread."""

    def round_of() -> None:
        for call in calls:
            call()

    graph = capture(round_of)
    guess = seconds_of(graph.replay, 1)
    steps = max(1, round(STRETCH / max(guess, 1e-6)))
    seconds_of(graph.replay, steps)
    times = [seconds_of(graph.replay, steps) / len(calls) for _ in range(STRETCHES)]
    middle = statistics.median(times)
    return middle, (max(times) - min(times)) / middle


def timed(calls: list[Callable[[], object]], error: float | None = None) -> dict[str, object]:
    """Return the figures of a kernel; its calls are timed unless it is wrong."""
    if error is not None and error > 1:
        return {"error_share": error, "reason": f"wrong: {error:.3g} times the allowed error"}
    seconds, spread = time_of(calls)
    return {"error_share": error, "seconds": seconds, "spread": spread}


def library(tasks: Tasks, case: Case) -> None:
    """What the bf16 path calls, cuBLAS in float16, and what comes before the linears."""

    def product(dtype: torch.dtype) -> dict[str, object]:
        def make(_: Signs) -> Tensor:
            return 0.02 * torch.randn((case.outputs, case.inputs), device="cuda").to(dtype)

        weights = case.copied(make, 2 * case.outputs * case.inputs)
        x = case.x.to(dtype)
        if case.part in ("out", "down"):  # these add to the residual stream
            y = torch.zeros((case.count, case.outputs), dtype=dtype, device="cuda")
            return timed([lambda w=w: y.addmm_(x, w.T) for w in weights])
        return timed([lambda w=w: F.linear(x, w) for w in weights])

    for dtype, name in ((torch.bfloat16, "cublas bf16"), (torch.float16, "cublas fp16")):
        tasks.run(case.task(name), lambda dtype=dtype: product(dtype))
    prologue = PROLOGUES[case.part]
    wide = torch.randn((case.count, case.inputs * (2 if prologue == SILU else 1)), device="cuda")
    wide, gain = wide.half(), torch.ones(case.inputs, device="cuda").half()
    before = {NORM: lambda: ops.rms_norm(wide, gain, 1e-5), SILU: lambda: ops.silu_mul(wide),
              PLAIN: None}[prologue]
    if before is not None:
        tasks.run(case.task("before bf16"), lambda: timed([before] * 20))
    for name, call in (("before sign-a16", fold), ("before sign-a8", quantize)):
        tasks.run(case.task(name), lambda call=call: timed(
            [lambda: call(wide, case.signs, prologue, gain, 1e-5)] * 20))


def triton(tasks: Tasks, case: Case) -> None:
    """The Triton kernels, as portable as they are."""

    def product(bits: int) -> dict[str, object]:
        gemm, before = TritonGemm(bits), fold if bits == 16 else quantize
        x, y = before(case.x, case.signs, PLAIN, None, 0.0), case.y()
        calls = [lambda w=w: gemm.run(w, x, y, False, case.signs.rows)
                 for w in case.copied(gemm.order, case.outputs * case.inputs // 8)]
        calls[0]()
        return timed(calls, worst_error(case, x, y, None))

    for bits in (16, 8):
        tasks.run(case.task(f"triton{bits}"), lambda bits=bits: product(bits))


def wgmma(tasks: Tasks, case: Case, folder: FilePath, bits: int, tiles: list[WgmmaTile]) -> None:
    """The warpgroup kernel, from machine code in the folder."""
    x = (fold if bits == 16 else quantize)(case.x, case.signs, PLAIN, None, 0.0)
    fragments = case.copied(
        lambda signs: fragment_order(signs.packed, bits), case.outputs * case.inputs // 8
    )

    def product(tile: WgmmaTile) -> dict[str, object]:
        kernel = load((folder / name_of(tile, bits)).read_bytes(), tile, early=False)

        def into(w: Tensor, y: Tensor, residual: bool) -> None:
            sign_wgmma_into(w, x, y, residual, case.signs.rows, tile, kernel=kernel)

        y, added = case.y(), torch.randn((case.count, case.outputs), device="cuda").half()
        before = added.clone()
        into(fragments[0], y, False)
        into(fragments[0], added, True)
        torch.cuda.synchronize()
        error = max(worst_error(case, x, y, None), worst_error(case, x, added, before))
        if case.part == "odd":  # checked alone
            return timed([], error) if error > 1 else {"error_share": error}
        adds = case.part in ("out", "down")
        target = added if adds else y
        return timed([lambda w=w: into(w, target, adds) for w in fragments], error)

    for tile in tiles:
        if (folder / name_of(tile, bits)).exists():
            tasks.run(case.task(name_of(tile, bits)), lambda tile=tile: product(tile))


def cases(model: str) -> Iterator[Case]:
    """Yield every case; first small odd ones, which find what guards miss and are not timed."""
    config = named_model(model)
    for count in (37, 300):
        yield make_case("odd", (256, 128, 192), 768, count, 1)
    for count in COUNTS:
        for part in FUSED:
            _, inputs, rows = fused_shape(config, part)
            yield make_case(part, rows, inputs, count, 32)


def layers(tasks: Tasks, model: str) -> None:
    """The linears of whole layers, with what comes before them, for each path and kernel."""
    device = torch.device("cuda")
    config = replace(named_model(model), num_hidden_layers=LAYERS)

    def product(path: Path, count: int) -> dict[str, object]:
        start = torch.randn((count, config.hidden_size), device=device).to(path.dtype)
        x, mixed = start.clone(), torch.randn_like(start)

        def step() -> None:
            torch.mul(start, 1.0, out=x)  # a kernel, as in a decoder: a copy would be none
            for layer in range(LAYERS):
                path.linear(layer, "qkv", x, None)
                path.linear(layer, "out", mixed, x)
                path.linear(layer, "down", path.linear(layer, "gate_up", x, None), x)

        seconds, spread = time_of([step])
        return {"seconds": seconds / LAYERS, "spread": spread}

    def series(path: Path, name: str, counts: tuple[int, ...]) -> None:
        for count in counts:
            tasks.run({"key": name, "part": "layer", "count": count},
                      lambda count=count: product(path, count))

    few, many = (1, 4, 16), (64, 256)
    apart = ", no kernel starts early"
    dense = DensePath(config, device)
    series(dense, "bf16", few + many)
    dense.start_early("none")
    series(dense, f"bf16{apart}", many)
    del dense
    for bits in (16, 8):
        torch.cuda.empty_cache()
        path = SignPath(config, device, act_bits=bits, gemm="warpgroup")
        path.gemv_limit = 0
        series(path, f"sign-a{bits}, warpgroup", few + many)
        path.start_early("none")
        series(path, f"sign-a{bits}, warpgroup{apart}", many)
        path.gemv_limit = max(few)
        series(path, f"sign-a{bits}, GEMV{apart}", few)
        for way in ("all", "all, at once"):
            path.start_early(way)
            series(path, f"sign-a{bits}, GEMV, early: {way}", few)


def work(family: str, model: str, folder: FilePath) -> None:
    """Do a family of tasks.

    `folder` is gpu_worker.py's, and holds the machine code of the warpgroup kernels by name.
    """
    warnings.simplefilter("ignore")
    tasks = Tasks(folder)
    if family == "layer":
        layers(tasks, model)
        return
    for case in cases(model):
        torch.cuda.empty_cache()
        if family.startswith("wgmma"):
            every = list(dict.fromkeys(tile for tiles in TILES.values() for tile in tiles))
            wgmma(tasks, case, folder, int(family[5:]), TILES.get(case.count, every))
        elif case.part != "odd":
            {"library": library, "triton": triton}[family](tasks, case)
