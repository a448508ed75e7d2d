"""An estimate as JSON: fixed keys, units in their names, a mark and a source for every number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..energy import sign_accumulate_pj
from ..generic import GenericEngine

if TYPE_CHECKING:
    from .results import Estimate, OperatorEstimate, Phase

ASSUMPTIONS = (
    "equal chips; on each, one DRAM system shared by its engines and its vector unit",
    "within a step, DRAM streaming and compute overlap; while the array takes no weights (loading "
    "activations, draining), DRAM runs ahead by at most weight_buffer_bytes",
    "dependent steps do not overlap; weights are fetched ahead across them only with prefetch, and "
    "never past attention",
    "a pass has as many token vectors as the activation buffer holds; a prompt is read in such "
    "passes, so activations stay on chip; a batch beyond it takes several passes",
    "every command of the engine (m_par token vectors) streams the weights again, unless the whole "
    "linear fits the weight buffer; coefficients and the head are read once a pass",
    "weights are stored in the order in which the array consumes them, padded to whole weight "
    "beats: a long sequential stream; keys and values in blocks of kv_block positions by head",
    "the array's cycles hold when weights never stall; where memory is the bound, the array waits "
    "and clock-gated lanes take no dynamic energy",
    "energy constants stand for operands whose every bit toggles with probability 1/2 per "
    "operation; measured activity scales them, but for memories and the vector unit",
    "attention, norms, RoPE, SwiGLU, residuals, lm_head (unless binary) and sampling run on a "
    "vector unit without RTL: vector_lanes 16-bit float MACs or elementwise operations per cycle",
    "keys and values of earlier positions are read from memory for every token vector's sequence "
    "once a pass; those of the pass itself are on chip",
    "tensor parallel: each chip quantizes its share of the inputs of o and down by itself, so "
    "results differ from one chip's in the last bits; rings of links do not contend",
    "pipeline: a pass enters a stage when it has been handed over and the pass before it has left; "
    "the next step begins when the last pass has left; operators' times add up to more than the "
    "phase's",
    "every memory bit is written to and read from an on-chip buffer once",
    "host, sampling beyond arg max, tokenizer and start-up are not counted",
)
"""What an estimate takes for granted."""


def operator_json(entry: OperatorEstimate, phase: str) -> dict[str, object]:
    """Return one operator of a phase."""
    operator = entry.operator
    return {
        "phase": phase,
        "name": operator.name,
        "kind": operator.kind,
        "step": operator.step,
        "count": entry.instances,
        "shape_k_n": None if operator.shape is None else list(operator.shape),
        **entry.counts,
        "bytes": dict(entry.bytes_by_category),
        "cycles": entry.cycles,
        "cycles_mark": entry.cycles_mark,
        "memory_time_s": entry.memory_time_s.nominal,
        "time_s": entry.time_s.nominal,
        "bound_by": entry.bound_by,
        "energy_j": entry.energy_j.to_dict(),
    }


def phase_json(phase: Phase) -> dict[str, object]:
    """Return the totals of a phase."""
    return {
        "name": phase.name,
        "tokens": phase.tokens,
        "steps": phase.steps,
        "passes": phase.passes,
        "time_s": phase.time_s.nominal,
        "time_range_s": phase.time_s.to_dict(),
        "tokens_per_second": phase.tokens_per_second.nominal,
        "first_step_s": phase.first_step_s,
        "last_step_s": phase.last_step_s,
        "energy_j": phase.energy_j.to_dict(),
        "energy_parts_j": {p: e.to_dict() for p, e in phase.energy_parts_j.items()},
        "time_by_bound_s": phase.time_by_bound(),
        "bytes": phase.bytes_by_category(),
    }


def to_json(result: Estimate) -> dict[str, object]:
    """Return the estimate as a dictionary that ``json.dumps`` takes.

    ``tokens_per_second``, ``time_per_token_s`` and ``energy_per_token_j`` are of the decode phase,
    or of the prefill if nothing is decoded; ``operators`` are of all phases. Times, tokens a second
    and bytes are nominal; ranges stand beside them.
    """
    main = result.main
    return {
        "model": result.model.to_dict(),
        "system": result.system.name,
        "batch": result.batch,
        "prefill": result.prefill,
        "decode": result.decode,
        "context": result.context,
        "kv_bits": result.machine.formats.kv_bits,
        "head": result.machine.formats.head,
        "tokens_per_second": result.tokens_per_second.nominal,
        "tokens_per_second_range": result.tokens_per_second.to_dict(),
        "time_per_token_s": result.time_per_token_s.nominal,
        "time_per_token_range_s": result.time_per_token_s.to_dict(),
        "energy_per_token_j": result.energy_per_token_j.to_dict(),
        "energy_parts_j": {p: e.to_dict() for p, e in result.energy_parts_j.items()},
        "bandwidth_limit_tokens_per_second": _finite(result.bandwidth_limit_tokens_per_second),
        "time_to_first_token_s": (
            result.phases[0].time_s.nominal if result.prefill else main.first_step_s
        ),
        "phases": [phase_json(phase) for phase in result.phases],
        "operators": [
            operator_json(entry, phase.name)
            for phase in result.phases
            for entry in phase.operators
        ],
        "provenance": _provenance(result),
    }


def _finite(value: float) -> float | None:
    return value if value != float("inf") else None


def _provenance(result: Estimate) -> dict[str, object]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    try:
        signacc = version("signacc")
    except PackageNotFoundError:
        signacc = "not installed"
    system, memory, technology = result.system, result.system.memory, result.system.technology
    return {
        "schema": "signacc-estimate-2",
        "versions": {"signacc": signacc, "python": platform.python_version()},
        "marks": {
            "bytes": "derived from the model's shape",
            "cycles of fbi-linear": (
                "modelled" if isinstance(system.engine, GenericEngine) else "rtl-exact"
            ),
            "cycles of all others": "modelled",
            "memory_time_s": "modelled",
            "time_per_token_s": "modelled",
            "energy_per_token_j": "modelled",
        },
        "assumptions": list(ASSUMPTIONS),
        "engine": system.engine.to_dict(),
        "engines": system.engines,
        "vector_unit": {
            "lanes": system.vector_lanes,
            "latency_cycles": system.vector_latency_cycles,
            "mark": "modelled",
        },
        "weight_buffer_bytes": system.weight_buffer_bytes,
        "activation_buffer_bytes": system.activation_buffer_bytes,
        "tokens_of_a_pass": result.machine.most_tokens,
        "prefetch": system.prefetch,
        "memory_ports": None if system.memory_ports is None else system.memory_ports.to_dict(),
        "vector_bandwidth_gb_s": system.vector_bandwidth_gb_s,
        "on_chip": None if system.on_chip is None else system.on_chip.to_dict(),
        "chips": system.chips,
        "parallel": system.parallel,
        "link": None if system.link is None else system.link.to_dict(),
        "memory": {
            "name": memory.name,
            "peak_gb_s": memory.peak_gb_s,
            "capacity_bytes": memory.capacity_bytes,
            "resident_bytes": result.resident_bytes(),
            "efficiency": memory.efficiency.to_dict(),
            "efficiency_source": memory.efficiency_source,
            "kv_read_efficiency": memory.share(
                result.machine.formats.kv_vector_bytes(result.model.head_dim)
                * result.machine.formats.kv_block
            ).to_dict(),
            "energy_pj_per_bit": memory.energy_pj_per_bit.to_dict(),
            "energy_source": memory.energy_source,
        },
        "technology": {
            "name": technology.name,
            "description": technology.description,
            "constants": {
                name: constant.to_dict() for name, constant in technology.constants().items()
            },
            "sign_accumulate_pj": sign_accumulate_pj(
                technology, system.engine, system.switching
            ).to_dict(),
            "sign_accumulate_formula": (
                "(adders' factor * sum over adder-tree levels of adders * E(width) + accumulators' "
                "factor * E(acc_bits)) / k_par, E(b) = E8 + (b - 8) * (E32 - E8) / 24"
            ),
        },
        "activity": system.switching.to_dict(),
        "static_power_w": system.static_power_w.to_dict(),
        "static_power_source": system.static_power_source,
    }
