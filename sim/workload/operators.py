"""One kind of work in a pass, and the bytes of a weight stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["fbi-linear", "dense-linear", "attention", "vector", "link"]

BYTE_CATEGORIES = (
    "packed_weights",  # sign bits, padded to whole weight beats
    "coefficients",  # alpha, beta and output scales of the FBI-linears, fp16
    "head",  # lm_head, unless it is binarized
    "kv_read",  # keys and values of earlier positions
    "kv_write",  # keys and values of new positions
    "norms",  # RMSNorm weights, fp16
    "embedding",  # rows of the embedding table, fp16
)
"""What memory traffic is counted under."""

FLOAT_BYTES = 2
"""Bytes of an activation, coefficient, norm weight, head weight or KV-cache entry (16 bit)."""

COEFFICIENT_BYTES_PER_INPUT = 2 * FLOAT_BYTES
"""alpha and beta: one pair of fp16 for every INPUT of an FBI-linear."""

# Elementwise operations of the vector unit; one operation per lane and cycle.
NORM_OPS_PER_ELEMENT = 2  # times 1/rms, times weight (the sum of squares is counted as MACs)
ROPE_OPS_PER_ELEMENT = 3  # a rotated pair takes 4 multiplies and 2 adds
SOFTMAX_OPS_PER_SCORE = 6  # scale, running max, subtract, exp, sum, times 1/sum
SWIGLU_OPS_PER_ELEMENT = 5  # exp, add 1, reciprocal, times gate, times up
RESIDUAL_OPS_PER_ELEMENT = 1
SAMPLING_OPS_PER_LOGIT = 1  # greedy: one comparison
KV8_OPS_PER_ENTRY = 2  # an 8-bit cache: running max, then scale and round, when written
KV8_OPS_PER_SCORE = 1  # times the scale of the key (of the value: on the probability)

STEPS: tuple[tuple[str, ...], ...] = (
    ("q_proj", "k_proj", "v_proj"),
    ("o_proj",),
    ("gate_proj", "up_proj"),
    ("down_proj",),
)
"""FBI-linears that depend on one another only between groups: a group runs back to back."""


class WeightBeat(Protocol):
    """The part of an engine configuration that sets how weights are padded in DRAM."""

    @property
    def k_par(self) -> int:
        """Inputs that a weight beat covers."""

    @property
    def n_par(self) -> int:
        """Outputs that a weight beat covers."""

    @property
    def weight_beat_bits(self) -> int:
        """Bits of a weight beat."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One kind of work in a pass; all counts are of ONE instance, for all tokens of the pass.

    Parameters
    ----------
    name
        E.g. ``q_proj``, ``attention_scores``, ``lm_head``.
    kind
        ``fbi-linear`` runs on the array, ``link`` between chips, all else on the vector unit.
    step
        Operators of equal `step` run back to back without waiting for one another.
    per_layer
        Whether it runs once in every layer, or once in a pass.
    shape
        ``(K, N)`` = (inputs, outputs) of a linear on one engine, else None.
    runs
        ``(K, N, tokens, inputs of a scale group)`` that an engine is given (``sim.runs``); several
        if N is beyond the engine.
    sign_accumulates
        Weights applied by one engine, times tokens, without padding.
    weight_beats, vector_beats
        Beats that one engine takes, padding included, and their sum over the token vectors that
        share them.
    macs
        16-bit float multiply-accumulates on the vector unit.
    vector_ops
        Elementwise operations on the vector unit.
    bytes_by_category
        Bytes of memory by category (``BYTE_CATEGORIES``), reads and writes, of all engines.
    link_bytes, link_hops
        Bytes that one chip sends, and messages one after another.
    """

    name: str
    kind: Kind
    step: str
    per_layer: bool = False
    shape: tuple[int, int] | None = None
    runs: tuple[tuple[int, int, int, int], ...] = ()
    sign_accumulates: int = 0
    weight_beats: int = 0
    vector_beats: int = 0
    macs: int = 0
    vector_ops: int = 0
    bytes_by_category: dict[str, int] = field(default_factory=dict)
    link_bytes: int = 0
    link_hops: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of memory of one instance."""
        return sum(self.bytes_by_category.values())


def weight_beats(k: int, n: int, beat: WeightBeat) -> int:
    """Return the beats of an ``[n, k]`` layer: ``ceil(k / k_par) * ceil(n / n_par)``."""
    return -(-k // beat.k_par) * -(-n // beat.n_par)


def packed_bytes(k: int, n: int, beat: WeightBeat) -> int:
    """Return the bytes of an ``[n, k]`` layer's weight stream, padded to whole beats."""
    return -(-weight_beats(k, n, beat) * beat.weight_beat_bits // 8)
