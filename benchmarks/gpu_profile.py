"""Where the time of a decode step goes, kernel by kernel, on a GPU.

    python benchmarks/gpu_profile.py --model fbi-7b --path sign-a16 --batch 1 --context 512

Kernels that overlap (programmatic dependent launch) count the time they wait, so their sum can
exceed the step.
"""

from __future__ import annotations

import click
import torch
from torch.profiler import ProfilerActivity, profile

from golden.config import named_model
from signacc.baseline.device import require_gpu
from signacc.baseline.measure import make_cache, step_of
from signacc.baseline.points import Point
from signacc.baseline.run import make_decoder
from signacc.baseline.timing import capture, repeated

REPLAYS = 3


@click.command()
@click.option("--model", default="fbi-7b", show_default=True)
@click.option("--path", default="sign-a16", show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--context", default=512, show_default=True)
def main(model: str, path: str, batch: int, context: int) -> None:
    """Print the step's time, and each kernel's time and launches."""
    device = require_gpu()
    decoder = make_decoder(path, model, device)
    cache = make_cache(decoder.path, named_model(model), batch, context)
    step, _ = step_of(decoder, cache, Point(model, path, "decode", batch, context))
    graph = capture(step)
    times = repeated(graph.replay, seconds=0.5, repeats=5)
    click.echo(f"{1e6 * times.median:10.1f} us  step")
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(REPLAYS):
            graph.replay()
        torch.cuda.synchronize()
    events = sorted(profiler.key_averages(), key=lambda e: -e.self_device_time_total)
    for event in events[:12]:
        micros = event.self_device_time_total / REPLAYS
        click.echo(f"{micros:10.1f} us  {event.count // REPLAYS:4d}x  {event.key[:80]}")


if __name__ == "__main__":
    main()
