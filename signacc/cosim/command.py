"""signacc cosim: from a prompt to the table of what the RTL did."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from golden.config import FBI_LINEARS
from golden.errors import InputError
from hw.config import PRESETS, EngineConfig
from signacc.console import out, progress
from signacc.models import SHIPPED, model_folder
from signacc.report import estimate_lines, quantity
from signacc.simulate import USUAL_CONTEXT
from sim.stalls import StallPattern

from .job import LayerJob, Run, Writing
from .operands import check_layer, golden_result, random_layer, with_unit_scales
from .run import LayerReport, build_engine, compare_layers, execute_runs

ESTIMATE_PRESET = "kv260"


@dataclass(frozen=True)
class _Story:
    """The model's part of a run: prompt, text, and the shape that the estimate is for."""

    model: str
    prompt: str
    text: str
    config: Any


def run_command(
    engine: EngineConfig,
    *,
    model: str | None,
    prompt: str,
    layers: str,
    positions: int,
    writing: Writing,
    seed: int,
    stall: float,
    random_layers: Sequence[str],
    as_json: bool,
) -> bool:
    """Run the command; return whether every value and every cycle agreed."""
    started = time.perf_counter()
    pattern = StallPattern(seed, stall)
    story: _Story | None = None
    if random_layers:
        jobs, golden = _random(engine, random_layers, seed)
    else:
        story, jobs, golden = _from_model(engine, model, prompt, layers, positions, writing)

    with progress(f"engine {engine.name}: {engine.lanes} lanes, A{engine.act_bits}") as step:
        built = build_engine(
            engine, on_build=lambda: step.say(f"Verilator builds engine {engine.name}")
        )
    runs = [Run([job], seed, stall) for job in jobs]
    with progress("RTL under Verilator", total=len(runs)) as step:
        results = execute_runs(built, engine, runs, progress=step.to)
        step.to(len(runs))
    reports = compare_layers(engine, jobs, golden, results, pattern)

    gpu, report = _whole_model(story, engine)
    if as_json:
        click.echo(json.dumps(_summary(engine, reports, story, seed, stall, report, gpu)))
    else:
        _print(engine, reports, story, built.toolchain.version, report, gpu)
        out.print(f"  wall time {time.perf_counter() - started:.1f} s")
    return all(entry.agrees for entry in reports)


def _shape(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})x([0-9]{1,9})", text)
    m, k, n = (int(part) for part in match.groups()) if match else (0, 0, 0)
    if min(m, k, n) < 1:
        raise InputError(
            f"a random layer must be MxKxN, each an integer from 1 to 999999999, not {text!r}"
        )
    if m > 4096:
        raise InputError(f"M of a random layer must be at most 4096, not {m}")
    return m, k, n


def _random(
    engine: EngineConfig, shapes: Sequence[str], seed: int
) -> tuple[list[LayerJob], list[np.ndarray]]:
    """Return random layers of shapes MxKxN, and what golden says of each."""
    checked = [_shape(shape) for shape in shapes]
    jobs = [random_layer(engine, *shape, seed + i) for i, shape in enumerate(checked)]
    return jobs, [golden_result(engine, job) for job in jobs]


def _from_model(
    engine: EngineConfig,
    model: str | None,
    prompt: str,
    layers: str,
    positions: int,
    writing: Writing,
) -> tuple[_Story, list[LayerJob], list[np.ndarray]]:
    """Let golden read and write; return what it wrote, and its FBI-linears' work."""
    if engine.act_format != "fp16":
        raise InputError(
            f"a model's activations are binary16: the engine's act_format must be fp16, not "
            f"{engine.act_format}; --random-layer has both"
        )
    # These load torch, which a random layer does without.
    from golden.folder import load_packed
    from golden.generate import check_room, load_tokenizer, prompt_tokens

    from .capture import capture, parse_layers

    folder = model_folder(model)
    packed = load_packed(folder)
    tokenizer = load_tokenizer(folder, packed.config)
    chosen = parse_layers(layers, packed.config.num_hidden_layers)
    for name in FBI_LINEARS:
        n, k = packed.config.linear_shape(name)
        check_layer(engine, k, n)
    tokens = prompt_tokens(tokenizer, packed.config, prompt)
    count = max(writing.count, positions - len(tokens) + 1)
    check_room(packed.config, len(tokens), count)
    with progress("golden model reads the prompt and writes on"):
        captured = capture(
            packed,
            tokens,
            replace(writing, count=count),
            layers=chosen,
            positions=positions,
            act_bits=engine.act_bits,
        )
    head = tokenizer.decode(captured.tokens[: captured.prompt_length])
    text = tokenizer.decode(captured.tokens[: captured.prompt_length + writing.count])
    story = _Story(model or SHIPPED, head, text.removeprefix(head), packed.config)
    jobs = [with_unit_scales(engine, job) for job in captured.jobs]
    return story, jobs, captured.outputs


def _whole_model(story: _Story | None, engine: EngineConfig):
    """Return the GPU figure to set beside, and the estimate, of the model's shape.

    The estimate is for the preset's system; an engine of one's own stands in ESTIMATE_PRESET's.
    """
    if story is None:
        return None, None
    from sim.baselines import baselines_for
    from sim.system import SYSTEM_NAMES, estimate, named_system

    context = min(USUAL_CONTEXT, story.config.max_position_embeddings)
    if engine.name in SYSTEM_NAMES and engine == PRESETS[engine.name]:
        system = named_system(engine.name)
    else:
        system = replace(
            named_system(ESTIMATE_PRESET, engine=engine),
            name=f"{engine.name} in the system of {ESTIMATE_PRESET}",
        )
    report = estimate(story.config, system, context=context).to_json()
    figures = [
        entry for entry in baselines_for(story.model)
        if entry.batch == 1 and entry.context == context and entry.phase == "decode"
    ]
    return max(figures, key=lambda entry: entry.tokens_per_second, default=None), report


def _summary(engine, reports: list[LayerReport], story, seed, stall, report, gpu):
    result: dict[str, Any] = {
        "preset": engine.name,
        "config": engine.to_dict(),
        "lanes": engine.lanes,
        "act_bits": engine.act_bits,
        "seed": seed,
        "stall": stall,
        "values_compared": sum(entry.values_compared for entry in reports),
        "mismatches": sum(entry.mismatches for entry in reports),
        "rtl_cycles": sum(entry.rtl_cycles for entry in reports),
        "simulated_cycles": sum(entry.simulated_cycles for entry in reports),
        "layers": [entry.to_json() for entry in reports],
    }
    if story is not None:
        result |= {
            "model": story.model,
            "prompt": story.prompt,
            "text": story.text,
            "estimate": {
                "preset": report["system"],
                "context": report["context"],
                "mark": "modelled",
                "tokens_per_second": report["tokens_per_second"],
                "tokens_per_second_range": report["tokens_per_second_range"],
                "energy_per_token_j": report["energy_per_token_j"],
            },
            "gpu": None
            if gpu is None
            else {
                "name": gpu.name,
                "mark": gpu.mark,
                "tokens_per_second": gpu.tokens_per_second,
                "joule_per_token": gpu.joule_per_token,
                "source": gpu.source,
            },
        }
    return result


def _print(engine, reports: list[LayerReport], story, version: str, report, gpu) -> None:
    table = Table(
        title=f"RTL of {engine.name} ({_size(engine)} = {engine.lanes} lanes, "
        f"A{engine.act_bits}) against golden and simulator",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in (
        "layer", "MxKxN", "values\ncompared", "mismatches", "RTL\ncycles", "simulated\ncycles",
        "beats\nused",
    ):
        side = "left" if column in ("layer", "MxKxN") else "right"
        table.add_column(column, justify=side, no_wrap=True)
    for entry in reports:
        table.add_row(*_cells(entry.name, f"{entry.m}x{entry.k}x{entry.n}", [entry]))
    if len(reports) > 1:
        table.add_section()
        table.add_row(*_cells("all", "", reports))
    out.print(table)
    out.print(f"  measured with {version}")
    out.print("  beats used: share of RTL cycles that take a weight beat")
    bad = [entry for entry in reports if not entry.agrees]
    if bad:
        out.print(f"  DISAGREES: {', '.join(entry.name for entry in bad)}", style="bold red")
    else:
        out.print("  every value equal to the bit, every cycle count equal")
    if story is None:
        return
    out.print()
    out.print(Text.assemble((story.prompt, "bold"), story.text))
    out.print(f"  (golden {story.model}, A{engine.act_bits})", style="dim")
    out.print()
    out.print(
        f"Whole model {story.model} on {report['system']}, batch 1, context {report['context']}:"
    )
    estimate_lines(report)
    if gpu is None:
        out.print("  no GPU figure is recorded for this model's shape")
        return
    energy = "" if gpu.joule_per_token is None else f", {quantity(gpu.joule_per_token)} J/token"
    out.print(
        f"  {gpu.mark}: {quantity(gpu.tokens_per_second)} tokens/s{energy} on {gpu.name}"
    )


def _size(engine: EngineConfig) -> str:
    vectors = f" x {engine.m_par}" if engine.m_par > 1 else ""
    return f"{engine.k_par} x {engine.n_par}{vectors}"


def _cells(name: str, shape: str, entries: list[LayerReport]) -> list[str]:
    rtl = sum(entry.rtl_cycles for entry in entries)
    mismatches = sum(entry.mismatches for entry in entries)
    return [
        name,
        shape,
        f"{sum(entry.values_compared for entry in entries):,}",
        f"{mismatches:,}",
        f"{rtl:,}",
        f"{sum(entry.simulated_cycles for entry in entries):,}",
        f"{sum(entry.beats for entry in entries) / rtl:.1%}",
    ]
