"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from .console import out


def quantity(value: float) -> str:
    """Return `value` with three significant digits, plain up to 10,000."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def evaluation_table(text: str, results: list[Any]) -> None:
    """Print perplexities of :class:`signacc.evaluate.Evaluation`, each against the first."""
    first = results[0]
    table = Table(
        title=f"perplexity on {text}",
        caption=f"measured: {first.result.windows} windows of {first.result.window} tokens",
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


def estimate_table(model: str, report: dict[str, Any]) -> None:
    """Print the whole-model estimate by operator, then its totals."""
    memory = report["provenance"]["memory"]["name"]
    table = Table(
        title=f"{model} on {report['system']} with {memory}: one decoded token, batch 1, "
        f"context {report['context']}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column, justify in (
        ("operator", "left"), ("time, us", "right"), ("share", "right"), ("DRAM bytes", "right"),
        ("cycles", "left"), ("bound by", "left"),
    ):
        table.add_column(column, justify=justify, no_wrap=True)
    whole = report["time_per_token_s"]
    for operator in report["operators"]:
        table.add_row(
            f"{operator['name']} x {operator['count']}",
            quantity(operator["time_s"] * 1e6),
            f"{operator['time_s'] / whole:.1%}",
            f"{sum(operator['dram_bytes'].values()):,}",
            operator["cycles_mark"],
            operator["bound_by"],
        )
    out.print(table)
    estimate_lines(report)


def estimate_lines(report: dict[str, Any]) -> None:
    """Print tokens/s and J/token of an estimate, each with its interval and its mark."""
    speed = report["tokens_per_second_range"]
    energy = report["energy_per_token_j"]
    out.print(
        f"  modelled: {quantity(report['tokens_per_second'])} tokens/s "
        f"({quantity(speed['low'])} to {quantity(speed['high'])}), "
        f"{quantity(energy['nominal'])} J/token "
        f"({quantity(energy['low'])} to {quantity(energy['high'])})"
    )
    clock = report["provenance"]["engine"]["clock_mhz"]
    out.print(
        f"  ranges: DRAM efficiency and energy constants; not the clock, {clock:g} MHz, nor the\n"
        f"  vector unit, which are assumed"
    )
