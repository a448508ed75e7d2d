"""Entries of our machines: one estimate of the simulator a point."""

from __future__ import annotations

from golden.config import ModelConfig
from sim.errors import InputError
from sim.interval import Interval
from sim.system import Estimate, SystemConfig, estimate, simulate

from ..baseline.work import decode_flops, weights_used
from .figures import Absent, Entry, Figure, Roof

_PER_SEQUENCE = ("kv_read", "kv_write", "embedding")
"""Categories of bytes of which every sequence needs its own."""


def _least_bytes(result: Estimate) -> int:
    """Return the bytes of DRAM that a decode step cannot do without, of all chips.

    Weights are read once, as for the baselines: an engine that reads them again for other vectors
    of the batch must not have a lower limit for it. They are what a step of one sequence moves.
    """
    system = result.system
    alone = estimate(result.model, system, batch=1, context=result.context)
    amounts = alone.main.bytes_by_category()
    # Counts are of one chip of a tensor-parallel group, all its peers move as much.
    return system.tensor_chips * sum(
        amounts[category] * (result.batch if category in _PER_SEQUENCE else 1)
        for category in result.machine.dram_categories
    )


def _roof(result: Estimate) -> Roof | None:
    """Return the roofs of a decode step; None if nothing of it lies in DRAM, which is no limit."""
    least = _least_bytes(result)
    if not least:
        return None
    system, memory = result.system, result.system.memory
    array = 2.0 * system.engine.lanes * system.engines * system.clock_hz * system.chips
    return Roof(
        operations=decode_flops(result.model, result.batch, result.context),
        bytes=least,
        bytes_per_second=memory.peak_gb_s * 1e9 * system.chips,
        operations_per_second=array,
        mark="modelled",
        source=f"{memory.name} at its peak; {system.engine.lanes} lanes a chip and engine at "
        f"{system.engine.clock_mhz:g} MHz",
    )


def our_entry(
    model: ModelConfig, system: SystemConfig, *, batch: int, context: int, phase: str = "decode"
) -> Entry | Absent:
    """Return the estimate of a decode step or a prefill, or why there is none (it does not fit)."""
    try:
        if phase == "decode":
            result = estimate(model, system, batch=batch, context=context)
        else:
            result = simulate(model, system, prefill=context, decode=0, batch=batch)
    except InputError as error:
        return Absent(
            machine=system.name, ours=True, batch=batch, context=context, reason=str(error)
        )
    linears = [entry for entry in result.operators if entry.operator.kind == "fbi-linear"]
    roof = _roof(result) if phase == "decode" else None
    (mark,) = {entry.cycles_mark for entry in linears}  # of a generic engine: modelled
    return Entry(
        machine=system.name,
        ours=True,
        phase=phase,
        batch=batch,
        context=context,
        weights=weights_used(model),
        tokens_per_second=Figure(result.tokens_per_second, "modelled"),
        joule_per_token=Figure(result.energy_per_token_j, "modelled"),
        linear_cycles=Figure(Interval.exactly(sum(entry.cycles for entry in linears)), mark),
        roof=roof,
        missing={} if roof else {"limit_share": "nothing of a step lies in its DRAM"},
        provenance={
            "source": f"signacc's simulator: {system.engine.lanes} lanes at "
            f"{system.engine.clock_mhz:g} MHz (assumed), {system.memory.name}, "
            f"{system.technology.name} energy constants",
            "static power": system.static_power_source,
            "memory energy": system.memory.energy_source,
        },
    )
