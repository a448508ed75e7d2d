"""What batching, scheduling and routing bring on the named systems: figures of docs/serving.md.

    python benchmarks/serving_study.py --out benchmarks/results/serving-study.json

Modelled figures, the same on every machine; a record like the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click
from program import OutputFile, Program
from record import write_record

from golden.config import named_model
from sim.serving import Fleet, Lengths, Prices, Scheduler, Workload, capacity, point
from sim.system import Machine, named_system

MODEL = "fbi-1.3b"
SOURCE = Workload(
    prompt=Lengths(kind="geometric", mean=128, high=512),
    output=Lengths(kind="geometric", mean=64, high=512),
)
SYSTEMS = ("kv260", "u280", "asic7")
SEEDS = 8
"""Draws of lengths that a capacity is measured with, to see how far it depends on them."""
CHANGES = {
    "as it is": {},
    "m_par x 8": {"m_par": 8},
    "vector lanes x 16": {"vector_lanes": 16},
    "both": {"m_par": 8, "vector_lanes": 16},
}
"""Factors on what a batch can share: weights, by `m_par`; the head, by a larger vector unit."""
PRICES = Prices(accelerator_usd=1000)
"""An assumption, for the shape of the curve alone."""


def fleet(system: str, *, policy: str = "chunked", batch: int = 16, count: int = 1,
          router: str = "round-robin", change: Mapping[str, int] = CHANGES["as it is"]) -> Fleet:
    one = named_system(system)
    lanes = one.vector_lanes * change.get("vector_lanes", 1)
    engine = replace(one.engine, m_par=one.engine.m_par * change.get("m_par", 1))
    machine = Machine(named_model(MODEL), replace(one, vector_lanes=lanes, engine=engine))
    budget = min(machine.most_tokens, 256)
    scheduler = Scheduler(policy=policy, max_batch=min(batch, budget), token_budget=budget)
    return Fleet(machine=machine, scheduler=scheduler, accelerators=count, router=router)


def told(found: dict) -> dict[str, object]:
    """Return the figures of a point that the page shows."""
    return {
        name: found[name] for name in (
            "offered_rate", "arrivals", "ttft_s", "tpot_s", "gap_s", "end_to_end_s",
            "output_tokens_per_second", "utilisation", "mean_batch", "joules_per_token",
            "tokens_per_joule", "usd_per_million_tokens", "saturated", "notes",
        )
    }


def capacities() -> list[dict[str, object]]:
    """Return requests a second of one accelerator by system and largest batch."""
    return [
        {"system": system,
         "by_max_batch": {batch: capacity(fleet(system, batch=batch), SOURCE)
                          for batch in (1, 4, 16, 32)}}
        for system in SYSTEMS
    ]


def gains() -> list[dict[str, object]]:
    """Return what batches of 32 bring over single requests, for each of SEEDS draws of lengths.

    Of every system with each of CHANGES.
    """
    result = []
    for system in SYSTEMS:
        for name, change in CHANGES.items():
            rates = {
                batch: [
                    capacity(fleet(system, batch=batch, change=change), SOURCE, seed)
                    for seed in range(SEEDS)
                ]
                for batch in (1, 32)
            }
            result.append({
                "system": system, "change": name, "by_max_batch": rates,
                "gain": [many / one - 1 for one, many in zip(rates[1], rates[32], strict=True)],
            })
    return result


def loads() -> list[dict[str, object]]:
    """Return a load sweep of one accelerator."""
    one = fleet("asic7")
    limit = capacity(one, SOURCE)
    return [
        {"load": load, **told(point(one, SOURCE, load * limit, prices=PRICES, limit=limit))}
        for load in (0.2, 0.4, 0.6, 0.8, 0.9, 1.1)
    ]


def policies() -> list[dict[str, object]]:
    """Return both policies at the same arrival rate, 80 % of the lesser capacity."""
    fleets = {policy: fleet("asic7", policy=policy) for policy in ("chunked", "prefill-first")}
    limits = {policy: capacity(one, SOURCE) for policy, one in fleets.items()}
    rate = 0.8 * min(limits.values())
    return [
        {"policy": policy, "capacity": limits[policy], **told(point(one, SOURCE, rate))}
        for policy, one in fleets.items()
    ]


def routers() -> list[dict[str, object]]:
    """Return the routers of a fleet of 16 at 80 % of its capacity."""
    limit = capacity(fleet("asic7", count=16), SOURCE)
    return [
        {"router": router,
         **told(point(fleet("asic7", count=16, router=router), SOURCE, 0.8 * limit,
                      requests=40_000))}
        for router in ("random", "round-robin", "two-choices", "least-outstanding")
    ]


@click.command(cls=Program)
@click.option("--out", required=True, type=OutputFile())
def main(out: Path) -> None:
    write_record(
        out,
        {"model": MODEL, "workload": SOURCE.to_dict(), "prices": PRICES.to_dict(),
         "capacities": capacities(), "gains": gains(), "loads": loads(), "policies": policies(),
         "routers": routers()},
        ("signacc", "numpy"), mark="modelled",
    )


if __name__ == "__main__":
    main()
