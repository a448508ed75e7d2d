"""Whether a machine holds a model: weights and KV cache, chip by chip."""

from __future__ import annotations

from golden.config import FBI_LINEARS

from ..errors import InputError
from ..workload import resident_bytes, weight_beats
from .cost import Machine

_PLACES = {"kv_cache": ("kv_read", "kv_write")}  # where a resident category is looked up


def held_bytes(machine: Machine, *, positions: int) -> list[dict[str, int]]:
    """Return what each pipeline stage's chip must hold, by category, in bytes."""
    stages = machine.stage_layers
    return [
        resident_bytes(
            machine.shard,
            positions=positions,
            layers=layers,
            first=index == 0,
            last=index == len(stages) - 1,
        )
        for index, layers in enumerate(stages)
    ]


def check_fit(machine: Machine, *, batch: int, context: int) -> None:
    """Refuse a model that does not fit, and say by how much.

    Raises
    ------
    InputError
        If weights and KV cache of `batch` sequences of `context` positions exceed a memory.
    """
    system = machine.system
    on_chip = set(system.on_chip.holds) if system.on_chip else set()
    for index, held in enumerate(held_bytes(machine, positions=batch * context)):
        where = f" of chip {index}" if system.chips > 1 else ""
        in_dram = dict(held)
        if system.engine.resident:
            _check_resident(machine, machine.stage_layers[index], where)
            in_dram.pop("packed_weights")
        if on_chip:
            mine = {
                name: in_dram.pop(name)
                for name in list(in_dram)
                if set(_PLACES.get(name, (name,))) <= on_chip
            }
            _check(mine, system.on_chip.capacity_bytes, f"on-chip memory{where}", batch, context)
        _check(
            in_dram, system.memory.capacity_bytes, f"memory {system.memory.name}{where}", batch,
            context,
        )


def kv_positions(machine: Machine) -> int:
    """Return the positions, summed over sequences, whose keys and values fit beside the weights.

    Raises
    ------
    InputError
        If the weights and one position do not fit.
    """
    check_fit(machine, batch=1, context=1)
    system = machine.system
    low, high = 1, system.memory.capacity_bytes + 1  # a position takes at least a byte
    if system.on_chip is not None:
        high += system.on_chip.capacity_bytes
    while high - low > 1:  # asks check_fit itself, so that the two cannot differ
        middle = (low + high) // 2
        try:
            check_fit(machine, batch=1, context=middle)
            low = middle
        except InputError:
            high = middle
    return low


def _check(held: dict[str, int], capacity: int, where: str, batch: int, context: int) -> None:
    whole = sum(held.values())
    if whole > capacity:
        parts = ", ".join(f"{name} {amount:,}" for name, amount in held.items() if amount)
        sequences = f"{batch} sequences of {context} positions" if batch > 1 else (
            f"{context} positions"
        )
        raise InputError(
            f"the weights and the KV cache of {sequences} must fit the {where} of {capacity:,} "
            f"bytes, not {whole:,} bytes, {whole - capacity:,} too many ({parts})"
        )


def _check_resident(machine: Machine, layers: int, where: str) -> None:
    engine, shard = machine.system.engine, machine.shard
    beats = layers * sum(
        sum(weight_beats(k, n, engine) for k, n, _, _ in shard.linear(name, 1).runs)
        for name in FBI_LINEARS
    )
    if shard.formats.head == "binary":
        beats += sum(weight_beats(k, n, engine) for k, n, _, _ in shard.linear("lm_head", 1).runs)
    if beats > engine.weight_words:
        raise InputError(
            f"the model's weights must fit weight_words = {engine.weight_words} beats of an "
            f"engine{where}, not {beats} beats, {beats - engine.weight_words} too many"
        )
