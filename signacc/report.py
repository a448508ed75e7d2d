"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from .console import out, say


def quantity(value: float) -> str:
    """Return `value` with three significant digits; whole and plain from 1,000 on."""
    if value >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def evaluation_table(text: str, results: list[Any]) -> None:
    """Print perplexities of :class:`signacc.evaluate.Evaluation`, each against the first."""
    first = results[0]
    windows = first.result.windows
    table = Table(
        title=f"perplexity on {text}",
        caption=f"measured: {windows} window{'s' * (windows > 1)} of {first.result.window} tokens",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("arithmetic", "perplexity", f"against {first.arithmetic}", "bits/byte"):
        table.add_column(column, justify="left" if column == "arithmetic" else "right")
    for entry in results:
        change = entry.result.perplexity / first.result.perplexity - 1
        table.add_row(
            entry.arithmetic,
            f"{entry.result.perplexity:.4f}",
            "" if entry is first else f"{change:+.3%}",
            f"{entry.bits_per_byte:.4f}",
        )
    out.print(table)


def tasks_table(results: list[Any]) -> None:
    """Print :class:`signacc.evaluate.TaskEvaluation` results: tasks down, arithmetics across."""
    found = {(entry.task, entry.arithmetic): entry for entry in results}
    arithmetics = list(dict.fromkeys(entry.arithmetic for entry in results))
    tasks = list(dict.fromkeys(entry.task for entry in results))
    table = Table(
        title="zero-shot accuracy, %",
        caption="measured; ± one standard error",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("task", "metric", "items", *arithmetics):
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for task in tasks:
        entries = [found[task, arithmetic] for arithmetic in arithmetics]
        cells = []
        for entry in entries:
            share = getattr(entry.result, entry.metric)
            error = getattr(entry.result, f"{entry.metric}_stderr")
            cells.append(f"{100 * share:.1f} ± {100 * error:.1f}")
        table.add_row(task, entries[0].metric, f"{entries[0].result.items:,}", *cells)
    out.print(table)


_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"),
             (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))
_LETTERS = {"array": "a", "memory": "m", "vector": "v", "link": "l"}
_BAR = 50


def si(value: float, unit: str) -> str:
    """Return `value` with three significant digits and a prefix, like ``1.23 ms``."""
    if not value:
        return f"0 {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if value >= 0.9995 * s), _PREFIXES[-1])
    return f"{value / scale:.3g} {prefix}{unit}"


def estimate_tables(model: str, report: dict[str, Any]) -> None:
    """Print an estimate: a table by operator of every phase, a timeline, the totals."""
    memory = report["provenance"]["memory"]["name"]
    for phase in report["phases"]:
        _phase_table(model, report, phase, memory)
    out.print("  timeline, each letter a part of one phase in the order of its operators:")
    for phase in report["phases"]:
        out.print(f"  {phase['name']:>7} {si(phase['time_s'], 's'):>8} {_bar(report, phase)}")
    out.print("  (bound by a array, m memory, v vector unit, l link)")
    for phase in report["phases"]:
        if phase["steps"] > 1:
            out.print(
                f"  {phase['name']}: {phase['steps']} steps, from {si(phase['first_step_s'], 's')} "
                f"to {si(phase['last_step_s'], 's')}"
            )
    if report["prefill"]:
        first = report["phases"][0]
        say(
            f"modelled: prefill {quantity(first['tokens_per_second'])} tokens/s, time to first "
            f"token {si(report['time_to_first_token_s'], 's')}"
        )
    estimate_lines(report)


def _phase_table(model: str, report: dict[str, Any], phase: dict[str, Any], memory: str) -> None:
    if phase["name"] == "prefill":
        what = f"{report['prefill']} prompt tokens"
    elif phase["steps"] > 1:
        what = f"{phase['steps']} tokens after {report['prefill']}"
    else:
        what = f"one token, context {report['context']}"
    chips, parallel = report["provenance"]["chips"], report["provenance"]["parallel"]
    # In tensor parallelism all chips do the same at the same time; a pipeline's do it in turn.
    alike = "; cycles and bytes of one chip, energy of all" if parallel == "tensor" else ""
    table = Table(
        title=f"{model} on {f'{chips} x ' * (chips > 1)}{report['system']} with {memory}: "
        f"{phase['name']}, {what}, batch {report['batch']}"
        + (f" ({parallel}{alike})" if chips > 1 else ""),
        caption="cycles: rtl-exact; after ~: modelled. Bytes: derived. All else: modelled",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("operator", "cycles", "time", "share", "bytes", "energy", "bound by"):
        side = "left" if column in ("operator", "bound by") else "right"
        table.add_column(column, justify=side, no_wrap=True)
    entries = [entry for entry in report["operators"] if entry["phase"] == phase["name"]]
    whole = sum(entry["time_s"] for entry in entries)
    for entry in entries:
        mark = "" if entry["cycles_mark"] == "rtl-exact" else "~"
        table.add_row(
            entry["name"],
            mark + si(entry["cycles"], "").rstrip() if entry["cycles"] else "",
            si(entry["time_s"], "s"),
            f"{entry['time_s'] / whole:.1%}",
            si(sum(entry["bytes"].values()), "B"),
            si(entry["energy_j"]["nominal"], "J"),
            entry["bound_by"],
        )
    table.add_section()
    table.add_row(
        "all", "", si(phase["time_s"], "s"), "", si(sum(phase["bytes"].values()), "B"),
        si(phase["energy_j"]["nominal"], "J"), "",
    )
    out.print(table)


def _bar(report: dict[str, Any], phase: dict[str, Any]) -> str:
    """Return a phase as a line of letters: which unit bounds what share of it."""
    entries = [entry for entry in report["operators"] if entry["phase"] == phase["name"]]
    whole = sum(entry["time_s"] for entry in entries)
    letters, done = "", 0.0
    for entry in entries:
        done += entry["time_s"]
        letters = letters.ljust(round(done / whole * _BAR), _LETTERS[entry["bound_by"]])
    return letters


def estimate_lines(report: dict[str, Any]) -> None:
    """Print tokens/s and J/token of an estimate, each with its interval and its mark."""
    speed = report["tokens_per_second_range"]
    energy = report["energy_per_token_j"]
    say(
        f"modelled: {quantity(report['tokens_per_second'])} tokens/s "
        f"({quantity(speed['low'])} to {quantity(speed['high'])}), "
        f"{quantity(energy['nominal'])} J/token "
        f"({quantity(energy['low'])} to {quantity(energy['high'])})"
    )
    clock = report["provenance"]["engine"]["clock_mhz"]
    say(
        f"ranges: DRAM efficiency and energy constants; not the clock, {clock:g} MHz, nor the "
        f"vector unit, which are assumed"
    )


_FIGURES = {"tokens_per_second": "tokens/s", "joules_per_token": "J/token"}


def explore_table(report: dict[str, Any], most: int = 24) -> None:
    """Print a sweep: its counts, then the front, at most `most` rows."""
    front = report["front"]
    out.print(
        f"{report['designs']:,} designs: {sum(report['pruned'].values()):,} pruned by a limit that "
        f"needs no simulation, {report['evaluated']:,} simulated ({report['resumed']:,} of them "
        f"before), {report['refused']:,} refused, {report['feasible']:,} feasible"
    )
    for refusal in report["refusals"][:3]:
        say(f"refused {refusal['designs']:,}: {refusal['reason']}")
    if not front:
        say("no design keeps the constraints and has the objectives")
        return
    # An axis on which all of the front agree is said once.
    axes = [a for a in front[0]["design"] if len({str(r["design"][a]) for r in front}) > 1]
    figures = list(dict.fromkeys(
        [*report["objectives"], "tokens_per_second", "joules_per_token", "watts", "lut", "usd"]
    ))
    figures = [name for name in figures if any(r["metrics"].get(name) is not None for r in front)]
    table = Table(
        title=f"space {report['space']}: front of each model for {', '.join(report['objectives'])}",
        caption="time, energy modelled; lut: m measured, r modelled by the rule in the JSON; "
                "usd assumed",
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )
    for column in (*axes, *figures):
        table.add_column(
            _FIGURES.get(column, column.replace("_", " ")),
            justify="left" if column in axes else "right",
            # Where a terminal is too narrow a name goes on in the next line: none is cut off.
            overflow="fold", no_wrap=column not in axes,
        )
    for record in front[:most]:
        metrics = record["metrics"]
        cells = [str(record["design"][axis]) for axis in axes]
        for name in figures:
            value = metrics.get(name)
            mark = {"measured": " m", "modelled": " r"}.get(metrics["lut_mark"], "")
            cells.append("" if value is None else quantity(value) + (mark * (name == "lut")))
        table.add_row(*cells)
    out.print(table)
    if len(front) > most:
        say(f"and {len(front) - most:,} more in front.json")
    same = {a: v for a, v in front[0]["design"].items() if a not in axes}
    if same:
        say("all of them: " + ", ".join(f"{axis} {value}" for axis, value in same.items()))


def _serving_cells(point: dict[str, Any]) -> list[str]:
    """Return what a table shows of a load, two lines a cell."""
    joules, usd = point["joules_per_token"], point["usd_per_million_tokens"]
    return [
        f"{100 * point['load']:.3g}%{' *' if point['saturated'] else ''}\n"
        f"{quantity(point['offered_rate'])}",
        *(f"{quantity(1e3 * found['p50'])}\n{quantity(1e3 * found['p99'])}"
          if "p50" in found else ""
          for found in (point["ttft_s"], point["tpot_s"], point["end_to_end_s"])),
        quantity(point["output_tokens_per_second"]),
        f"{100 * point['utilisation']:.0f}%\n{quantity(point['mean_batch'])}",
        f"{quantity(joules['nominal'])}\n{quantity(joules['low'])}-{quantity(joules['high'])}"
        if joules else "",
        quantity(usd["nominal"]) if usd else "",
    ]


def serving_table(report: dict[str, Any]) -> None:
    """Print a study of serving: a row for each load, and what weakens its figures."""
    scheduler, capacity = report["scheduler"], report["capacity_requests_per_second"]
    half = report["capacity_requests_per_second_ci95"]
    out.print(
        f"{report['model']} on {report['accelerators']:,} x {report['system']}, "
        f"{report['router']}, {scheduler['policy']}: batch {scheduler['max_batch']}, "
        f"{scheduler['token_budget']} tokens an iteration, "
        f"{report['kv_cache']['positions']:,} positions of KV cache each; "
        f"capacity {quantity(capacity)}{f' ± {quantity(half)}' if half else ''} requests/s"
    )
    with_cost = any(point["usd_per_million_tokens"] for point in report["points"])
    table = Table(
        caption="latencies in ms: p50, below it p99; J/token: its range below; modelled, "
                f"step times {report['provenance']['case']}"
                + ("; prices assumed" if with_cost else ""),
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )
    for column in ("load\nreq/s", "first\ntoken", "each\nafter", "last\ntoken", "tokens/s",
                   "busy\nbatch", "J/token", *(["USD/M\ntokens"] if with_cost else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for point in report["points"]:
        table.add_row(*_serving_cells(point)[:8 if with_cost else 7])
    out.print(table)
    for point in report["points"]:
        share = f"{100 * point['load']:.3g}%"
        if point["saturated"]:
            say(f"* {share}: saturated: {point['saturated']}")
        if point["rejected"]:
            say(f"{share}: requests rejected, longer than the model or the KV cache: "
                f"{point['rejected']:,}")
    notes: dict[str, list[str]] = {}  # loads by what weakens their figures: said once
    for point in report["points"]:
        for note in point["notes"]:
            notes.setdefault(note, []).append(f"{100 * point['load']:.3g}%")
    for note, shares in notes.items():
        say(f"{', '.join(shares)}: {note}")
