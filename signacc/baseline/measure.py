"""Time and energy of the points of a measurement: model × path × phase × batch × context."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import torch

from golden.config import ModelConfig

from . import work
from .decoder import Cache, Decoder
from .paths import Path
from .power import Meter
from .timing import Ceilings, capture, repeated, steady

PHASES = ("decode", "prefill")
CHUNK_TOKENS = 16384
"""Most tokens that a prefill handles at once; larger batches are prefilled part by part."""


@dataclass(frozen=True)
class Point:
    """What is measured; `energy` asks for a steady state long enough for the energy counter."""

    model: str
    path: str
    phase: str
    batch: int
    context: int
    energy: bool = False


@dataclass(frozen=True)
class Result:
    """One measured point; None where memory did not suffice.

    Attributes
    ----------
    tokens_per_second
        Decoded or prefilled tokens of the whole batch.
    spread
        (max − min) / median of the repeats.
    bandwidth_share, compute_share
        Bytes and operations that the step must do, over its time and the ceiling of this run.
    limit_share
        The step's shortest possible time by either ceiling, over its time.
    """

    point: Point
    tokens_per_second: float
    spread: float
    repeats: int
    bandwidth_share: float
    compute_share: float
    limit_share: float
    joule_per_token: float | None = None
    watts: float | None = None
    energy_seconds: float | None = None
    energy_source: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return a flat dictionary."""
        data = asdict(self)
        return data.pop("point") | data


def parts_of(batch: int, context: int) -> int:
    """Return into how many equal parts of the batch a prefill is cut."""
    sequences = max(1, CHUNK_TOKENS // context)
    return max(1, -(-batch // sequences))


def step_of(
    decoder: Decoder, cache: Cache, point: Point
) -> tuple[Callable[[], None], int]:
    """Return a step of a point, and how many such steps make the whole batch."""
    config = decoder.config
    if point.phase == "decode":
        tokens = torch.randint(0, config.vocab_size, (point.batch,), device=decoder.path.device)

        def decode() -> None:
            tokens.copy_(decoder.decode(tokens, cache, point.context - 1).argmax(-1))

        return decode, 1
    parts = parts_of(point.batch, point.context)
    shape = (point.batch // parts, point.context)
    prompt = torch.randint(0, config.vocab_size, shape, device=decoder.path.device)
    first = torch.empty(shape[0], dtype=torch.int64, device=decoder.path.device)

    def prefill() -> None:
        first.copy_(decoder.prefill(prompt, cache).argmax(-1))

    return prefill, parts


def measure(
    decoder: Decoder, cache: Cache, point: Point, ceilings: Ceilings, meter: Meter | None, *,
    seconds: float, energy_seconds: float, repeats: int = 7,
) -> Result:
    """Measure one point with a cache of its batch and context.

    Raises
    ------
    torch.OutOfMemoryError
        If the device's memory does not suffice.
    """
    step, parts = step_of(decoder, cache, point)
    graph = capture(step)
    times = repeated(graph.replay, seconds=seconds, repeats=repeats)
    median = times.median
    energy: dict[str, float | str] = {}
    tokens = point.batch * (1 if point.phase == "decode" else point.context)
    if point.energy and meter is not None:
        done: list[int] = []
        stretches: list[float] = []

        def run() -> None:
            count, each = steady(graph.replay, median, energy_seconds)
            done.append(count)
            stretches.extend(each)

        reading = meter.measure(run)
        median = statistics.median(stretches)
        energy = {
            "joule_per_token": reading.joules / (done[0] * tokens / parts),
            "watts": reading.joules / reading.seconds,
            "energy_seconds": reading.seconds,
            "energy_source": reading.source,
        }
    whole = median * parts
    bytes_of, flops_of = (
        (work.decode_bytes, work.decode_flops) if point.phase == "decode"
        else (work.prefill_bytes, work.prefill_flops)
    )
    weight_bytes = decoder.path.weight_bytes
    byte_time = bytes_of(decoder.config, weight_bytes, point.batch, point.context) / (
        ceilings.copy_bytes_per_second
    )
    flop_time = flops_of(decoder.config, point.batch, point.context) / (
        ceilings.matmul_flop_per_second
    )
    return Result(
        point, tokens / whole, times.spread, times.repeats,
        byte_time / whole, flop_time / whole, max(byte_time, flop_time) / whole, **energy,
    )


def measure_all(
    decoder: Decoder, points: Iterable[Point], ceilings: Ceilings, meter: Meter | None,
    *, seconds: float, energy_seconds: float,
) -> Iterator[tuple[Point, Result | None]]:
    """Measure points of one decoder one after another; None is a point that had no memory."""
    cache: Cache | None = None
    for point in points:
        try:
            shape = (point.batch, point.context)
            if cache is None or (cache.keys[0].shape[0], cache.keys[0].shape[2]) != shape:
                cache = None
                release()
                cache = make_cache(decoder.path, decoder.config, *shape)
            yield point, measure(
                decoder, cache, point, ceilings, meter, seconds=seconds,
                energy_seconds=energy_seconds,
            )
        except torch.OutOfMemoryError:
            cache = None
            release()
            yield point, None


def make_cache(path: Path, config: ModelConfig, batch: int, context: int) -> Cache:
    """Return a full cache of a batch; raises torch.OutOfMemoryError."""
    return Cache(config, batch, context, path)


def release() -> None:
    """Give memory that nothing refers to back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
