"""What place and route measured, for the terminal and for machines."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from signacc.console import out

from .cells import RULES
from .flow import Result


def figures(result: Result, lanes: int) -> dict[str, Any]:
    """Return the figures per lane and the throughput, all derived from measured ones.

    GOPS are 2 * lanes * clock (an addition and a sign a lane), at the median clock of the seeds.
    """
    synthesis = result.synthesis.count
    placed = result.placed_lut
    lut = synthesis.lut if placed is None else placed
    clock = result.fmax_mhz
    gops = None if clock is None else 2 * lanes * clock["median"] / 1e3
    return {
        "lanes": lanes,
        "lut_per_lane": lut / lanes,
        "lut_from": "synthesis" if placed is None else "place and route",
        "ff_per_lane": synthesis.ff / lanes,
        "gops": gops,
        "gops_per_klut": None if gops is None or not lut else gops / lut * 1e3,
    }


def print_result(title: str, result: Result, lanes: int, freq: float) -> None:
    """Print utilisation, clocks and the critical path."""
    count, target = result.synthesis.count, result.target
    grade = f", speed grade {result.speed}" if result.speed else ""
    table = Table(
        title=f"{title} on {target.name} ({target.device}{grade})",
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )
    for name in ("", "synthesis", "placed", "device", "used"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    placed = {"lut": result.placed_lut}
    for name, resource in target.resources.items():
        number = getattr(count, name)
        after = placed.get(name)
        shown = number if after is None else after
        share = f"{shown / resource.available:.1%}" if resource.available else ""
        table.add_row(resource.label, f"{number:,}", "" if after is None else f"{after:,}",
                      f"{resource.available:,}", share)
    out.print(table)
    numbers = figures(result, lanes)
    out.print(
        f"  measured: {numbers['lut_per_lane']:.2f} {target.lut.label} and "
        f"{numbers['ff_per_lane']:.2f} flip-flops a lane ({lanes} lanes; {numbers['lut_from']})"
    )
    out.print(f"  of the LUTs: {count.carry:,} carry, {count.lutram:,} RAM"
              + (f"; write ports of RAM block {count.ramw:,} more" if count.ramw else ""))
    out.print(f"  LUTs counted: {RULES[target.family]}")
    if result.synthesis.estimate is not None:
        out.print(f"  Yosys' own estimate: {result.synthesis.estimate:,} logic cells")
    if count.unknown:
        out.print(f"  in no count: {', '.join(count.unknown)}")
    packed = result.synthesis.packed
    if packed is not None:
        out.print(
            f"  netlist rewrites: {packed.carry_ends + packed.carry_starts} carry cells saved, "
            f"{packed.carry_operands} LUTs into carry cells, "
            f"{packed.ram_registers} registers into RAMs, {packed.multiplier_registers} into "
            f"multipliers"
        )
    clock = result.fmax_mhz
    if clock is None:
        why = "has none with open tools" if target.nextpnr is None else "was not asked for"
        out.print(f"  synthesis only: place and route {why}; no clock is known")
        out.print(f"  {result.synthesis.yosys}")
        return
    seeds = ", ".join(f"{p.fmax_mhz:.1f} (seed {p.seed})" for p in result.placements)
    out.print(
        f"  measured: Fmax {clock['min']:.1f} / {clock['median']:.1f} / {clock['max']:.1f} MHz "
        f"(least, median, greatest); aim {freq:g} MHz: "
        + ("met" if clock["max"] >= freq else "missed")
    )
    out.print(f"  seeds: {seeds}")
    gops = f"{numbers['gops']:,.1f} GOPS at the median"
    if numbers["gops_per_klut"] is not None:
        gops += f", {numbers['gops_per_klut']:.2f} GOPS per 1,000 LUTs"
    out.print(f"  derived: {gops} (2 operations a lane and cycle)")
    if result.harness is not None:
        out.print(
            f"  the frame around the design, not counted: {result.harness.lut} LUTs, "
            f"{result.harness.ff} flip-flops"
        )
    best = max(result.placements, key=lambda placement: placement.fmax_mhz)
    _print_path(best)
    out.print(f"  {result.synthesis.yosys}; {result.nextpnr}")


def _print_path(best: Any) -> None:
    total = sum(step.ns for step in best.critical_path)
    routing = sum(step.ns for step in best.critical_path if step.kind == "routing")
    out.print(f"  critical path of seed {best.seed}: {total:.2f} ns, {routing:.2f} of it routing")
    if best.limited_by == "multiplier":
        out.print("  (the clock is set by registered multipliers, whose inside nextpnr does not "
                  "time)")
    if not best.through_design:
        out.print("  (that path lies in the frame alone: the design is faster)")
    for step in best.critical_path:
        if step.ns >= 0.1:
            where = step.net if step.kind == "routing" and step.net else step.cell
            out.print(f"    {step.ns:6.2f}  {step.kind:8}  {where}", soft_wrap=True)
