"""A decode step of one vector in one launch: right, and how fast, beside kernel by kernel.

    python benchmarks/gpu_step.py --out gpu_step.json

Family `check` holds it to the kernel-by-kernel step and to float64, small shapes first; `time`
times both in the same run; `parts` times the rest when parts are left out (the results are wrong
then); `variants` checks and times other settings of the kernel; `phases` says where each phase
goes, by stamps of the clock (gpu_phases.py), which cost some time themselves. A step that fails or
hangs leaves its reason and the rest goes on (gpu_worker.py). Times are medians of replayed CUDA
graphs of a step as `signacc baseline` has it: embedding to argmax.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import gpu_phases
import torch
from gpu_worker import Task, Tasks, supervise
from program import OutputFile, Program

from golden.config import ModelConfig, named_model
from golden.errors import InputError
from signacc.baseline.device import require_gpu
from signacc.baseline.nvrtc import compile_cubin
from signacc.baseline.plan import ONE_LAUNCH
from signacc.baseline.step import SKIPS, StepShape, compile_step
from signacc.baseline.weights import FUSED, fused_shape
from signacc.files import write_text

FAMILIES = ("check", "variants", "phases", "parts", "time")
MODELS = ("fbi-7b", "fbi-1.3b", "fbi-130m")
CONTEXTS = (512, 128, 2048)
WAYS = (ONE_LAUNCH, "none", "all")
"""Of :data:`signacc.baseline.plan.EARLY`, what is timed."""
BITS = (16, 8)
SMALL = ModelConfig(
    hidden_size=512, intermediate_size=768, num_hidden_layers=2, num_attention_heads=8,
    num_key_value_heads=4, vocab_size=96, max_position_embeddings=2048,
)
LASTS = {"small": (0, 1, 31, 333, 2046)}
"""Positions of the new token in the check; of the models, the last of :data:`PAST`."""

PAST = (333,)

_FAR = {16: 0.01, 8: 0.1}
"""Difference of logits of few layers that roundings do not explain, by the width."""

_WORK = [name for name in SKIPS if name != "barriers"]
PARTS: tuple[tuple[str, ...], ...] = (
    (), tuple(_WORK), ("attention",), ("bit planes",), ("counting",), ("copies",), ("head",),
    ("barriers",), ("attention", "head"), ("bit planes", "counting"),
    ("attention", "bit planes", "counting", "head"), ("barriers", "copies"),
)
"""What is left out. Without barriers blocks read what others are writing, which costs no time."""

VARIANTS: tuple[dict[str, int], ...] = ({}, {"flight": 1}, {"flight": 3})
"""Settings of :class:`signacc.baseline.step.StepShape` that differ from its own."""


def _shapes(models: tuple[str, ...], families: tuple[str, ...]) -> Iterator[tuple]:
    """Yield (shape, skip) of every kernel of the families."""
    from signacc.baseline.gate import shallow

    blocks = torch.cuda.get_device_properties(0).multi_processor_count
    configs = [named_model(model) for model in models]
    if "check" in families:
        yield from ((StepShape(SMALL, bits, blocks), ()) for bits in BITS)
        yield StepShape(SMALL, 16, blocks), tuple(_WORK)
    yield from ((StepShape(config, bits, blocks), ()) for config in configs for bits in BITS)
    if "parts" in families:
        yield from ((StepShape(configs[0], 16, blocks), skip) for skip in PARTS)
    if "variants" in families:
        few = shallow(configs[0])
        yield from ((StepShape(config, bits, blocks, **one), ())
                    for config in (few, configs[0]) for bits in BITS for one in VARIANTS)
    if "phases" in families:
        yield from ((StepShape(configs[0], bits, blocks, stamps=True), ()) for bits in BITS)


def _gemvs(models: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Yield the macros of what the kernel-by-kernel steps of :data:`WAYS` take."""
    from signacc.baseline.paths import PROLOGUES
    from signacc.baseline.sign_path import gemv_defines

    for config in (SMALL, *(named_model(model) for model in models)):
        for part in FUSED:
            for bits in BITS:
                for overlap in (False, True):
                    yield gemv_defines(*fused_shape(config, part), PROLOGUES[part], bits,
                                       overlap=overlap, late=overlap)


def _compile(job: tuple[StepShape, tuple[str, ...]] | dict[str, int]) -> None:
    """Compile a kernel into the cache, where the workers find it; they report what fails."""
    try:
        if isinstance(job, dict):
            from signacc.baseline.sign_path import source

            compile_cubin(source(), arch="sm_90", defines=job)
        else:
            compile_step(*job)
    except InputError:
        return


def compile_all(models: tuple[str, ...], families: tuple[str, ...]) -> None:
    """Compile every kernel of the families side by side."""
    processes = min(16, max(2, (os.cpu_count() or 2) - 1))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(_compile, [*dict.fromkeys(_shapes(models, families)), *_gemvs(models)], 1)


class Bench:
    """A worker's work on one GPU."""

    def __init__(self, tasks: Tasks) -> None:
        from signacc.baseline.device import require_gpu

        self.tasks, self.device = tasks, require_gpu()

    def decoder(self, config: ModelConfig, bits: int):
        """Return a decoder with a random 1-bit path that has a step in one launch."""
        from signacc.baseline.decoder import Decoder
        from signacc.baseline.sign_path import SignPath

        path = SignPath(config, self.device, act_bits=bits)
        if ONE_LAUNCH not in path.early_ways:
            raise InputError(f"a step in one launch takes a Hopper GPU and a shape that fits, "
                             f"not {config} on {torch.cuda.get_device_name()}")
        return Decoder(path)

    def both_ways(self, decoder, last: int) -> dict[str, object]:
        """Compare a step in one launch, twice, with kernel by kernel on the same cache."""

        path = decoder.path
        cache = path.cache(1, last + 2)
        tokens = torch.randint(0, path.config.vocab_size, (1,), device=self.device)
        outs = []
        for way in ("none", ONE_LAUNCH, ONE_LAUNCH):
            path.start_early(way)
            for layer in (*cache.keys, *cache.values):
                layer[:, :, last] = torch.nan  # a step writes it
            out = decoder.decode(tokens, cache, last)
            torch.cuda.synchronize()
            rows = torch.stack([c[0, :, last] for c in (*cache.keys, *cache.values)])
            outs.append((out.double(), rows.double()))
        (plain, rows), (one, one_rows), (again, _) = outs
        if not torch.equal(one, again):
            raise InputError("a step must give the same logits twice, and does not")
        return {
            "difference": float((one - plain).norm() / plain.norm()),
            "cache_difference": float((one_rows - rows).norm() / rows.norm()),
            "first_layer_key_equal": float((one_rows[0] == rows[0]).double().mean()),
            "finite": bool(torch.isfinite(one).all() and torch.isfinite(one_rows).all()),
        }

    def against_float64(self, decoder, past: int) -> dict[str, object]:
        """Run the check of `signacc baseline` on one step."""
        from signacc.baseline.gate import check_model

        decoder.path.start_early(ONE_LAUNCH)
        check = check_model(decoder.path, batch=1, past=past, length=0)[0]
        return {"error": check.error, "allowed": check.allowed, "passed": check.passed}

    def barriers(self) -> dict[str, object]:
        """Run a small grid that does nothing but meet."""
        decoder = self.decoder(SMALL, 16)
        return {"us": self.time(decoder, 64, ONE_LAUNCH, tuple(_WORK))["us"]}

    def check(self, models: tuple[str, ...]) -> None:
        from signacc.baseline.gate import shallow
        from signacc.baseline.measure import release

        self.tasks.run({"key": "small, barriers alone"}, self.barriers)
        configs = {"small": SMALL} | {model: shallow(named_model(model)) for model in models}
        for name, config in configs.items():
            for bits in BITS:
                key = f"{name} a{bits}"
                made: list = []

                def decoder(config=config, bits=bits, made=made):
                    if not made:
                        made.append(self.decoder(config, bits))
                    return made[0]

                for last in LASTS.get(name, PAST):
                    self.tasks.run({"key": f"{key}, position {last}"},
                                   lambda last=last: self.both_ways(decoder(), last))
                self.tasks.run({"key": f"{key}, float64"},
                               lambda: self.against_float64(decoder(), 333))
                made.clear()
                release()

    def time(
        self, decoder, context: int, way: str, skip: tuple[str, ...] = (), seconds: float = 0.2
    ) -> dict[str, object]:
        """Time a step in one of :data:`WAYS`."""
        from signacc.baseline.measure import step_of
        from signacc.baseline.points import Point
        from signacc.baseline.step import OneLaunch
        from signacc.baseline.timing import capture, repeated

        path = decoder.path
        path.start_early(way)
        if skip:
            layers = [{p: (m.signs, m.tiles) for p, m in parts.items()} for parts in path.weights]
            path._step = OneLaunch(
                path.step_shape, path.frame, layers, decoder.cos, decoder.sin, skip
            )
        cache = path.cache(1, context)
        step, _ = step_of(decoder, cache, Point("", path.name, "decode", 1, context))
        times = repeated(capture(step).replay, seconds=seconds, repeats=5)
        if skip:
            path._step = None
        return {"us": 1e6 * times.median, "spread": times.spread}

    def times(self, models: tuple[str, ...]) -> None:
        from signacc.baseline.measure import release

        for model in models:
            for bits in BITS:
                decoder = self.decoder(named_model(model), bits)
                for context in CONTEXTS:
                    for way in WAYS:
                        self.tasks.run(
                            {"key": f"{model} a{bits}, {way}", "model": model, "bits": bits,
                             "context": context, "way": way},
                            lambda way=way, context=context, decoder=decoder: self.time(
                                decoder, context, way))
                decoder = None
                release()

    def parts(self, model: str) -> None:
        decoder = self.decoder(named_model(model), 16)
        for context in (512, 2048):
            for skip in PARTS:
                self.tasks.run(
                    {"key": f"without {', '.join(skip) or 'nothing'}", "model": model,
                     "context": context, "skip": list(skip)},
                    lambda skip=skip, context=context: self.time(
                        decoder, context, ONE_LAUNCH, skip, 0.05))


    def variants(self, model: str) -> None:
        """Time each of :data:`VARIANTS` that gives what the kernel-by-kernel step gives."""
        for bits in BITS:
            self._variants(model, bits)

    def _variants(self, model: str, bits: int) -> None:
        from signacc.baseline.gate import shallow
        from signacc.baseline.measure import release

        config = named_model(model)
        few, whole = self.decoder(shallow(config), bits), self.decoder(config, bits)
        usual = [one.path.step_shape for one in (few, whole)]
        logits = []

        def one(changes: dict[str, int]) -> dict[str, object]:
            for decoder, shape in zip((few, whole), usual, strict=True):
                decoder.path.step_shape, decoder.path._step = replace(shape, **changes), None
            found = self.both_ways(few, 333)
            if not (found["finite"] and found["difference"] < _FAR[bits]):
                raise InputError(f"a step must be that of kernel by kernel, and is not: {found}")
            found["same_bits"] = torch.equal(self.logits(few, 333, logits), logits[0])
            return self.time(whole, 512, ONE_LAUNCH, seconds=0.1) | found

        for changes in VARIANTS:
            key = ", ".join(f"{name} {value}" for name, value in changes.items())
            self.tasks.run({"key": f"a{bits}, {key or 'as it is'}", "model": model, "bits": bits,
                            "context": 512, "variant": changes},
                           lambda changes=changes: one(changes))
        few = whole = None
        release()

    def logits(self, decoder, last: int, first: list[torch.Tensor]) -> torch.Tensor:
        """Return a step's logits over keys and values of a fixed seed; keep those of the first."""

        cache = decoder.path.cache(1, last + 2)
        generator = torch.Generator(self.device).manual_seed(1)
        for rows in (*cache.keys, *cache.values):
            rows.normal_(generator=generator)
        tokens = torch.full((1,), 7, device=self.device)
        decoder.path.start_early(ONE_LAUNCH)
        out = decoder.decode(tokens, cache, last).clone()
        first or first.append(out)
        return out

    def phases(self, model: str) -> None:
        """Stamp the phases of a step."""
        from signacc.baseline.measure import release

        for bits in BITS:
            decoder = self.decoder(named_model(model), bits)
            usual = decoder.path.step_shape

            def one(decoder=decoder, usual=usual) -> dict[str, object]:
                decoder.path.step_shape = replace(usual, stamps=True)
                decoder.path._step = None
                found = self.time(decoder, 512, ONE_LAUNCH, seconds=0.1)
                return found | gpu_phases.phases_of(decoder.path._step.stamps)

            self.tasks.run({"key": f"a{bits}, stamped", "model": model, "bits": bits,
                            "context": 512}, one)
            decoder = None
            release()


def table(family: str, results: list[Task]) -> str:
    """Return a line for each result, or for each point of `time`."""
    lines = [f"-- {family}"]
    points: dict[str, list[Task]] = {}
    for one in results:
        where = f"{one.get('model', '')} {one.get('context', '')}"
        if "reason" in one:
            lines.append(f"{one['key']} {where}: {one['reason'][:300]}")
        elif family == "time":
            points.setdefault(f"{one['model']:9s} a{one['bits']:<2d} {one['context']:5d}",
                              []).append(one)
        else:
            hidden = ("key", "family", "skip", "model", "variant", "phases")
            figures = {k: v for k, v in one.items() if k not in hidden}
            lines.append(f"{one['key']:60s} " + " ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()))
            if "phases" in one:
                lines += gpu_phases.table(one)
    for point, ways in points.items():
        lines.append(f"{point}: " + ", ".join(f"{one['way']} {one['us']:.1f}" for one in ways)
                     + " us")
    return "\n".join(lines)


@click.command(cls=Program)
@click.option("--out", required=True, type=OutputFile(),
              help="File to write, anew after each family.")
@click.option("--family", "families", multiple=True, type=click.Choice(FAMILIES), default=FAMILIES,
              show_default=True, help="Only these; may be given several times.")
@click.option("--model", "models", multiple=True, default=MODELS, show_default=True,
              help="Only these; parts, variants and phases are of the first.")
@click.option("--seconds", default=90.0, show_default=True, type=click.FloatRange(1),
              help="Time of everything; what is not reached says so.")
@click.option("--worker", nargs=2, hidden=True, help="Family and folder of a worker.")
def main(
    out: Path, families: tuple[str, ...], models: tuple[str, ...], seconds: float,
    worker: tuple[str, str] | None,
) -> None:
    """Check and time the step in one launch; print each family as it is done."""
    for model in models:
        named_model(model)  # an unknown one is refused before any work
    if worker:
        bench = Bench(Tasks(Path(worker[1])))
        run = {"check": lambda: bench.check(models), "time": lambda: bench.times(models),
               "parts": lambda: bench.parts(models[0]),
               "variants": lambda: bench.variants(models[0]),
               "phases": lambda: bench.phases(models[0])}
        run[worker[0]]()
        return
    begin = time.monotonic()
    require_gpu()
    compile_all(models, families)
    click.echo(f"compiled in {time.monotonic() - begin:.1f} s")
    results: list[Task] = []
    for i, family in enumerate(families):
        left = begin + seconds - time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            command = [sys.executable, *sys.argv, "--worker", family, name]
            found = supervise(command, Path(name), seconds=left / (len(families) - i))
        results += [{"family": family, **one} for one in found]
        click.echo(table(family, found))
        made = {"command": shlex.join(["python", "benchmarks/gpu_step.py", *sys.argv[1:]]),
                "date": datetime.now(UTC).date().isoformat(), "mark": "measured",
                "gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
        write_text(out, json.dumps(made | {"results": results}, indent=1) + "\n")
    if any("reason" in one or one.get("passed") is False for one in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
