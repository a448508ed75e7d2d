"""How well the modelled times choose tiles of the warpgroup GEMM, by a file of gpu_gemm.py.

    python benchmarks/gpu_tiles.py benchmarks/results/gpu_gemm.json

Prints, for each shape, the tile that the model takes of those measured, its time and that of the
fastest; `--fit` also searches for the constants (:class:`signacc.baseline.tiles.Costs`) that make
:func:`cost` least, and judges those. Needs no GPU.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import click
from program import Program, record_of

from golden.config import named_model
from golden.errors import InputError
from signacc.baseline.sign_wgmma import WgmmaTile
from signacc.baseline.tiles import H200, WGMMA_TILES, Costs, wgmma_time
from signacc.baseline.weights import FUSED, fused_shape

PROCESSORS = 132  # of an H200
TRIES = 4000
REGRET = 4.0
"""What a slower choice weighs in a fit, against an error of the same share in a modelled time."""
NAME = re.compile(r"wgmma(\d+) (\d+)x(\d+) (\d)wg (\d+)st split(\d)")


@dataclass(frozen=True)
class Timed:
    """A measured tile: bits, tile and case, and its time, µs."""

    bits: int
    tile: WgmmaTile
    part: str
    count: int
    us: float

    def modelled(self, model: str, costs: Costs) -> float:
        """Return the modelled time, µs."""
        _, inputs, rows = fused_shape(named_model(model), self.part)
        return wgmma_time(self.tile, self.bits, self.count, rows, inputs, PROCESSORS, costs)


def read(path: Path) -> tuple[str, list[Timed]]:
    """Return the model and the measured tiles of a file of gpu_gemm.py.

    Raises
    ------
    InputError
        If it is another file, or holds none.
    """
    with record_of("gpu_gemm.py", path):
        model, found = _read(json.loads(path.read_text(encoding="utf-8")))
    if not found:
        raise InputError(f"{path} must have measured tiles of the warpgroup kernel; it has none")
    return model, found


def _read(data: dict[str, Any]) -> tuple[str, list[Timed]]:
    found = []
    for one in data["results"]:
        name = NAME.fullmatch(one["key"])
        if name and "seconds" in one and one["part"] in FUSED:
            bits, outputs, vectors, consumers, stages, split = map(int, name.groups())
            tile = WgmmaTile(consumers, outputs // (64 * consumers), vectors, stages, split)
            found.append(Timed(bits, tile, one["part"], one["count"], 1e6 * one["seconds"]))
    return data["model"], found


def loss(model: str, timed: list[Timed], costs: Costs) -> float:
    """Return the mean of |ln(modelled / measured)|."""
    return sum(abs(math.log(t.modelled(model, costs) / t.us)) for t in timed) / len(timed)


def choices(
    model: str, timed: list[Timed], costs: Costs
) -> Iterator[tuple[Timed, Timed]]:
    """Yield, for each case, the tile taken of those listed and measured, and the fastest."""
    cases: dict[tuple[int, int, str], list[Timed]] = {}
    for one in timed:
        cases.setdefault((one.bits, one.count, one.part), []).append(one)
    for (_, count, _), some in sorted(cases.items()):
        table = next(tiles for most, tiles in WGMMA_TILES.items() if count <= most)
        listed = [t for t in some if t.tile in table] or some
        taken = min(listed, key=lambda t: t.modelled(model, costs))
        yield taken, min(some, key=lambda t: t.us)


def cost(model: str, timed: list[Timed], costs: Costs) -> float:
    """Return the mean error of modelled times, and what slower choices cost, times `REGRET`."""
    lost = [taken.us / best.us - 1 for taken, best in choices(model, timed, costs)]
    return loss(model, timed, costs) + REGRET * sum(lost) / len(lost)


def fit(model: str, timed: list[Timed], seed: int = 0) -> Costs:
    """Return better constants, of three digits: random steps, halved when none helps."""
    draw = random.Random(seed)
    best, least, step = H200, cost(model, timed, H200), 0.2
    for attempt in range(TRIES):
        values = [v * math.exp(draw.gauss(0, step)) if draw.random() < 0.4 else v
                  for v in astuple(best)]
        values = [float(f"{v:.3g}") for v in values]
        tried = Costs(*values[:-1], min(1.0, values[-1]))
        now = cost(model, timed, tried)
        if now < least:
            best, least = tried, now
        elif attempt % 500 == 499:
            step /= 2
    return best


def judged(model: str, timed: list[Timed], costs: Costs) -> str:
    """Return a line for each case: what the model takes, and what is the fastest."""
    lines, lost = [], []
    for taken, best in choices(model, timed, costs):
        lost.append(taken.us / best.us - 1)
        lines.append(
            f"a{taken.bits:<2d} {taken.count:5d} {taken.part:8s} {taken.us:7.1f} us (modelled "
            f"{taken.modelled(model, costs):7.1f})  fastest {best.us:7.1f}  +{100 * lost[-1]:.1f} %"
            + ("" if taken is best else f"  {best.tile}")
        )
    lines.append(f"mean |ln(modelled / measured)| {loss(model, timed, costs):.3f}; taken tiles are "
                 f"{100 * sum(lost) / len(lost):.1f} % slower than the fastest, at most "
                 f"{100 * max(lost):.1f} %")
    return "\n".join(lines)


@click.command(cls=Program)
@click.argument("measured", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--fit", "fitted", is_flag=True, help="Search for better constants.")
@click.option("--seed", default=0, show_default=True, help="Of the search.")
def main(measured: Path, fitted: bool, seed: int) -> None:
    """Print how well the model chooses."""
    model, timed = read(measured)
    click.echo(judged(model, timed, H200))
    if fitted:
        costs = fit(model, timed, seed)
        click.echo("\n".join(f"{name} {value:.3g}" for name, value in asdict(costs).items()))
        click.echo(judged(model, timed, costs))


if __name__ == "__main__":
    main()
