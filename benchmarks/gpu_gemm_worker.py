"""Checks and times one family of kernels for gpu_gemm.py, which starts it.

    python benchmarks/gpu_gemm_worker.py FAMILY MODEL FOLDER

Writes a line of JSON before and after each kernel to FOLDER/FAMILY.jsonl, so that the starter knows
which one broke the process. FOLDER/skip.json names kernels that are left out, "broken" ones in
every case, and what is "done" as [kernel, part, count].
"""

from __future__ import annotations

import json
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from golden.config import named_model
from signacc.baseline import ops
from signacc.baseline.ops import NORM, PLAIN, SILU
from signacc.baseline.packing import fragment_order, unpack, word_order
from signacc.baseline.sign_path import (
    Quantized,
    fold,
    quantize,
    sign_gemm_int8_into,
    sign_gemm_into,
)
from signacc.baseline.sign_wgmma import WgmmaTile, load, sign_wgmma_into
from signacc.baseline.tiles import gemm_tile, int8_tile
from signacc.baseline.timing import capture, seconds_of
from signacc.baseline.weights import FUSED, Signs, fused_shape

COUNTS = (16, 64, 256, 4096)
TILES = {
    16: [WgmmaTile(1, 1, 16, 12), WgmmaTile(1, 1, 16, 24), WgmmaTile(2, 1, 16, 24),
         WgmmaTile(1, 2, 16, 12), WgmmaTile(1, 1, 32, 12, 2)],
    64: [WgmmaTile(1, 1, 64, 8), WgmmaTile(1, 1, 64, 8, 2), WgmmaTile(2, 1, 64, 8),
         WgmmaTile(2, 2, 64, 8), WgmmaTile(2, 1, 64, 8, 2), WgmmaTile(2, 1, 64, 8, 4),
         WgmmaTile(2, 2, 64, 8, 4), WgmmaTile(2, 4, 64, 8, 4),
         WgmmaTile(3, 1, 64, 8), WgmmaTile(3, 1, 64, 8, 2)],
    256: [WgmmaTile(2, 2, 128, 8), WgmmaTile(2, 2, 128, 8, 2), WgmmaTile(2, 2, 128, 8, 4),
          WgmmaTile(2, 1, 256, 6), WgmmaTile(2, 1, 256, 6, 2), WgmmaTile(2, 1, 256, 6, 4),
          WgmmaTile(2, 1, 128, 8), WgmmaTile(2, 1, 128, 8, 2), WgmmaTile(2, 1, 128, 8, 4),
          WgmmaTile(3, 1, 128, 8), WgmmaTile(3, 1, 128, 8, 2), WgmmaTile(2, 3, 64, 8),
          WgmmaTile(2, 4, 64, 8), WgmmaTile(2, 4, 64, 8, 2)],
    4096: [WgmmaTile(2, 2, 128, 12), WgmmaTile(2, 2, 128, 6), WgmmaTile(2, 1, 256, 6),
           WgmmaTile(2, 1, 256, 4), WgmmaTile(3, 1, 128, 8), WgmmaTile(2, 4, 64, 12),
           WgmmaTile(2, 1, 128, 6)],
}
"""Tiles of the warpgroup kernel that are tried for so many vectors."""

COPIES_BYTES = 256 << 20
"""Weights that a graph's calls read in turn, several times the cache of the device."""

STRETCH, STRETCHES = 0.008, 9


def key(tile: WgmmaTile, bits: int) -> str:
    """Return the name of the warpgroup kernel with a tile."""
    t = tile
    return f"wgmma{bits} {t.outputs}x{t.vectors} {t.consumers}wg {t.stages}st split{t.split}"


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

    def copied(self, make: Callable[[Tensor], Tensor], bytes_each: int) -> list[Tensor]:
        """Return weights made of the signs, as many as exceed the cache."""
        wanted = max(1, min(self.copies, -(-COPIES_BYTES // bytes_each)))
        first = make(self.signs.packed)
        return [first, *(first.clone() for _ in range(wanted - 1))]

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


def worst_error(case: Case, x: Tensor | Quantized, y: Tensor, before: Tensor | None) -> float:
    """Return the largest error of `y` against float64, over what is allowed.

    Allowed are one unit in the last place of binary16 and 2^-12 of the vector's root mean square,
    many times what float32 sums lose and a tenth of what one wrong sign does; with `before`, which
    was added to, another unit.
    """
    signs = case.plus_minus(torch.float64)
    q = x.q if isinstance(x, Quantized) else x[0]
    start, worst = 0, 0.0
    for g, rows in enumerate(case.signs.rows):
        truth = q[g].double() @ signs[start : start + rows].T
        if isinstance(x, Quantized):
            truth *= x.scale[g].double()[:, None]
        truth += (x.shift if isinstance(x, Quantized) else x[1])[g].double()[:, None]
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


class Log:
    """The results, a line each."""

    def __init__(self, path: Path, skip: dict[str, list]) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.broken, self.done = set(skip["broken"]), {tuple(one) for one in skip["done"]}

    def write(self, line: dict[str, object]) -> None:
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def run(self, name: str, case: Case, what: Callable[[], tuple[float, list]]) -> None:
        """Check and time one kernel: `what` returns its error share and its calls."""
        if name in self.broken or (name, case.part, case.count) in self.done:
            return
        self.write({"start": name})
        found = {"key": name, "part": case.part, "count": case.count}
        try:
            error, calls = what()
            found["error_share"] = error
            if error > 1:
                found["reason"] = f"wrong: {error:.3g} times the allowed error"
            else:
                found["seconds"], found["spread"] = time_of(calls)
        except Exception as error:
            found["reason"] = f"{type(error).__name__}: {str(error)[:300]}"
            if "CUDA" in str(error) or "error 7" in str(error):  # the context may be gone
                self.write(found)
                raise
        self.write(found)


def library(log: Log, case: Case) -> None:
    """What the bf16 path calls, cuBLAS in float16, and what comes before the linears."""
    for dtype, name in ((torch.bfloat16, "cublas bf16"), (torch.float16, "cublas fp16")):
        def make(_: Tensor, dtype: torch.dtype = dtype) -> Tensor:
            return 0.02 * torch.randn((case.outputs, case.inputs), device="cuda").to(dtype)

        def product(name: str = name, make: Callable = make, dtype: torch.dtype = dtype):
            weights = case.copied(make, 2 * case.outputs * case.inputs)
            x = case.x.to(dtype)
            if case.part in ("out", "down"):  # these add to the residual stream
                y = torch.zeros((case.count, case.outputs), dtype=dtype, device="cuda")
                return 0.0, [lambda w=w: y.addmm_(x, w.T) for w in weights]
            return 0.0, [lambda w=w: F.linear(x, w) for w in weights]

        log.run(name, case, product)
    prologue = {"qkv": NORM, "gate_up": NORM, "out": PLAIN, "down": SILU}[case.part]
    wide = torch.randn((case.count, case.inputs * (2 if prologue == SILU else 1)), device="cuda")
    wide, gain = wide.half(), torch.ones(case.inputs, device="cuda").half()
    before = {NORM: lambda: ops.rms_norm(wide, gain, 1e-5), SILU: lambda: ops.silu_mul(wide),
              PLAIN: None}[prologue]
    if before is not None:
        log.run("before bf16", case, lambda: (0.0, [before] * 20))
    for name, call in (("before sign-a16", fold), ("before sign-a8", quantize)):
        log.run(name, case, lambda call=call: (
            0.0, [lambda: call(wide, case.signs, prologue, gain, 1e-5)] * 20))


def triton(log: Log, case: Case) -> None:
    """The Triton kernels, as portable as they are."""
    ends = case.signs.rows[0], sum(case.signs.rows[:2])
    each = case.outputs * case.inputs // 8

    def product16() -> tuple[float, list]:
        x, y = fold(case.x, case.signs, PLAIN, None, 0.0), case.y()
        tile = gemm_tile(case.count, case.outputs)
        calls = [lambda w=w: sign_gemm_into(w, *x, y, False, *ends, tile)
                 for w in case.copied(lambda p: word_order(p, 16), each)]
        calls[0]()
        return worst_error(case, x, y, None), calls

    def product8() -> tuple[float, list]:
        x, y = quantize(case.x, case.signs, PLAIN, None, 0.0), case.y()
        tile = int8_tile(case.count, case.outputs)
        calls = [lambda w=w: sign_gemm_int8_into(w, x, y, False, *ends, tile)
                 for w in case.copied(lambda p: word_order(p, 8), each)]
        calls[0]()
        return worst_error(case, x, y, None), calls

    log.run("triton16", case, product16)
    log.run("triton8", case, product8)


def wgmma(log: Log, case: Case, folder: Path, bits: int, tiles: list[WgmmaTile]) -> None:
    """The warpgroup kernel, from machine code in the folder."""
    folded = fold(case.x, case.signs, PLAIN, None, 0.0)
    quantized = quantize(case.x, case.signs, PLAIN, None, 0.0)
    fragments = case.copied(lambda p: fragment_order(p, bits), case.outputs * case.inputs // 8)
    for tile in tiles:
        name = key(tile, bits)
        if not (folder / name).exists():
            continue
        kernel = load((folder / name).read_bytes(), tile)

        def into(w: Tensor, y: Tensor, residual: bool, tile=tile, kernel=kernel) -> None:
            if bits == 16:
                sign_wgmma_into(w, *folded, y, residual, case.signs.rows, tile, kernel=kernel)
            else:
                sign_wgmma_into(
                    w, quantized.q, quantized.shift, y, residual, case.signs.rows, tile,
                    scale=quantized.scale, total=quantized.total, kernel=kernel,
                )

        def product(into: Callable = into):
            x = folded if bits == 16 else quantized
            y, added = case.y(), torch.randn((case.count, case.outputs), device="cuda").half()
            before = added.clone()
            into(fragments[0], y, False)
            into(fragments[0], added, True)
            torch.cuda.synchronize()
            error = max(worst_error(case, x, y, None), worst_error(case, x, added, before))
            adds = case.part in ("out", "down")
            target = added if adds else y
            return error, [lambda w=w: into(w, target, adds) for w in fragments]

        log.run(name, case, product)


def cases(model: str) -> Iterator[Case]:
    """Yield every case; small odd ones, which find what guards miss, come first."""
    config = named_model(model)
    for count in (37, 300):
        yield make_case("odd", (256, 128, 192), 768, count, 1)
    for count in COUNTS:
        for part in FUSED:
            _, inputs, rows = fused_shape(config, part)
            yield make_case(part, rows, inputs, count, 32)


def main() -> None:
    family, model, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    warnings.simplefilter("ignore")
    log = Log(folder / f"{family}.jsonl", json.loads((folder / "skip.json").read_text()))
    for case in cases(model):
        torch.cuda.empty_cache()
        if family.startswith("wgmma"):
            every = list(dict.fromkeys(tile for tiles in TILES.values() for tile in tiles))
            wgmma(log, case, folder, int(family[5:]), TILES.get(case.count, every))
        elif case.part != "odd":
            {"library": library, "triton": triton}[family](log, case)


if __name__ == "__main__":
    main()
