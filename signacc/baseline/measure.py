"""Time and energy of the points of a measurement: model × path × phase × batch × context."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from . import work
from .plan import ONE_LAUNCH
from .points import Point, Result
from .power import Meter
from .timing import Ceilings, capture, repeated, steady

if TYPE_CHECKING:  # these need Triton
    from .cache import Cache
    from .decoder import Decoder
    from .paths import Path

CHUNK_TOKENS = 8192
"""Most tokens that a prefill handles at once; larger batches are prefilled part by part."""


PATIENCE = 8.0
"""Most time to wait for steady clocks, in units of a point's time."""


def parts_of(batch: int, context: int) -> int:
    """Return into how many equal parts of the batch a prefill is cut, the fewest that fit.

    A prime batch beyond :data:`CHUNK_TOKENS` is read a sequence at a time.
    """
    sequences = max(1, CHUNK_TOKENS // context)
    return next(
        parts for parts in range(1, batch + 1)
        if batch % parts == 0 and batch // parts <= sequences
    )


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


def fastest_early(
    path: Path, step: Callable[[], None], seconds: float, *, one: bool = True
) -> str:
    """Let the path's kernels start in the way in which `step` is fastest; return which it is.

    `step` is timed for about `seconds` in each of ``path.early_ways``; `one` says whether it
    decodes one vector.
    """
    times: dict[str, float] = {}
    ways = [way for way in path.early_ways if one or way != ONE_LAUNCH]
    for way in ways if len(ways) > 1 else ():
        path.start_early(way)
        times[way] = repeated(capture(step).replay, seconds=seconds, repeats=3).median
    fastest = min(times, key=times.__getitem__, default=path.early_ways[0])
    path.start_early(fastest)
    return fastest


def measure(
    decoder: Decoder, cache: Cache, point: Point, ceilings: Ceilings, meter: Meter | None, *,
    seconds: float, energy_seconds: float, repeats: int = 5,
) -> Result:
    """Measure one point with a cache of its batch and context, :func:`fastest_early` first.

    Raises
    ------
    torch.OutOfMemoryError
        If the device's memory does not suffice.
    """
    step, parts = step_of(decoder, cache, point)
    one = point.phase == "decode" and point.batch == 1
    early = fastest_early(decoder.path, step, seconds / 2, one=one)
    graph = capture(step)
    times = repeated(
        graph.replay, seconds=seconds, repeats=repeats, patience=PATIENCE * seconds
    )
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
    flop_time = _flop_seconds(
        flops_of(decoder.config, point.batch, point.context),
        work.linear_flops(decoder.config, tokens), decoder.path.act_bits, ceilings,
    )
    return Result(
        point, tokens / whole, times.spread, times.repeats,
        byte_time / whole, flop_time / whole, max(byte_time, flop_time) / whole, early=early,
        **energy,
    )


def _flop_seconds(
    flops: int, linear: int, act_bits: int | None, ceilings: Ceilings
) -> float:
    """Return the shortest time of `flops`, s, of which `linear` are in the layers' linears.

    Those run on int8 where activations have 8 bits, all else in 16-bit floating point.
    """
    wide = ceilings.matmul_flop_per_second
    narrow = ceilings.int8_op_per_second if act_bits == 8 else None
    return (flops - linear) / wide + linear / (narrow or wide)


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
                cache = decoder.path.cache(*shape)
            yield point, measure(
                decoder, cache, point, ceilings, meter, seconds=seconds,
                energy_seconds=energy_seconds,
            )
        except torch.OutOfMemoryError:
            cache = None
            release()
            yield point, None


def release() -> None:
    """Give memory that nothing refers to back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
