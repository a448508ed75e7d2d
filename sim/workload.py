"""What one decode step must do and read: every operator of an FBI-LLM, countable by hand.

The workload says nothing about time. It follows from the model's shape, the number of positions
that the new token attends to, and the weight beat of the engine (streams are padded to it).

Counts are for ONE instance of an operator; ``Operator.count`` says how many a step runs.
Bytes are DRAM bytes; 16-bit floats take 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from golden.config import FBI_LINEARS, ModelConfig

from .errors import InputError

Kind = Literal["fbi-linear", "dense-linear", "attention", "vector"]

BYTE_CATEGORIES = (
    "packed_weights",  # sign bits, padded to whole weight beats
    "coefficients",  # alpha and beta of the FBI-linears, fp16
    "head",  # lm_head, fp16: it is not binarized
    "kv_read",  # keys and values of earlier positions, 16 bit
    "kv_write",  # key and value of the new position
    "norms",  # RMSNorm weights, fp16
    "embedding",  # one row of the embedding table, fp16
)
"""What DRAM traffic is counted under."""

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


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One kind of work in a decode step.

    Parameters
    ----------
    name
        E.g. ``q_proj``, ``attention_scores``, ``lm_head``.
    kind
        ``fbi-linear`` runs on the array, everything else on the vector unit.
    step
        Operators of equal `step` run back to back without waiting for one another.
    count
        Instances in one decode step (layers, or 1).
    shape
        ``(K, N)`` = (inputs, outputs) of a linear, else None.
    sign_accumulates
        Binary weights applied, without padding.
    weight_beats
        Beats of the weight stream, padding included (0 unless an FBI-linear).
    macs
        16-bit float multiply-accumulates on the vector unit.
    vector_ops
        Elementwise operations on the vector unit.
    dram_bytes
        Bytes by category (``BYTE_CATEGORIES``), reads and writes.
    """

    name: str
    kind: Kind
    step: str
    count: int = 1
    shape: tuple[int, int] | None = None
    sign_accumulates: int = 0
    weight_beats: int = 0
    macs: int = 0
    vector_ops: int = 0
    dram_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """DRAM bytes of one instance."""
        return sum(self.dram_bytes.values())


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The operators of one decode step at batch 1, in the order in which they run.

    Parameters
    ----------
    model
        Shape of the model.
    context
        Positions that the new token attends to, its own included.
    operators
        In order of execution; those with ``count`` above 1 repeat once per layer.
    resident_bytes
        Bytes that DRAM must hold: all weights, and the KV cache of `context` positions.
    """

    model: ModelConfig
    context: int
    operators: tuple[Operator, ...]
    resident_bytes: int

    def bytes_by_category(self) -> dict[str, int]:
        """Return DRAM bytes of the step for every category, zeros included."""
        totals = dict.fromkeys(BYTE_CATEGORIES, 0)
        for operator in self.operators:
            for category, amount in operator.dram_bytes.items():
                totals[category] += amount * operator.count
        return totals

    @property
    def bytes(self) -> int:
        """DRAM bytes of the whole step."""
        return sum(operator.bytes * operator.count for operator in self.operators)

    @property
    def sign_accumulates(self) -> int:
        """Binary weights applied in the step, without padding."""
        return sum(operator.sign_accumulates * operator.count for operator in self.operators)

    @property
    def macs(self) -> int:
        """16-bit float multiply-accumulates of the step."""
        return sum(operator.macs * operator.count for operator in self.operators)


def weight_beats(k: int, n: int, beat: WeightBeat) -> int:
    """Return the beats of an ``[n, k]`` layer: ``ceil(k / k_par) * ceil(n / n_par)``."""
    return -(-k // beat.k_par) * -(-n // beat.n_par)


def packed_bytes(k: int, n: int, beat: WeightBeat) -> int:
    """Return the DRAM bytes of an ``[n, k]`` layer's sign bits, padded to whole beats."""
    return -(-weight_beats(k, n, beat) * beat.k_par * beat.n_par // 8)


def _fbi_linear(model: ModelConfig, name: str, step: str, beat: WeightBeat) -> Operator:
    n, k = model.linear_shape(name)
    return Operator(
        name=name,
        kind="fbi-linear",
        step=step,
        count=model.num_hidden_layers,
        shape=(k, n),
        sign_accumulates=k * n,
        weight_beats=weight_beats(k, n, beat),
        dram_bytes={
            "packed_weights": packed_bytes(k, n, beat),
            "coefficients": COEFFICIENT_BYTES_PER_INPUT * k,
        },
    )


def _vector(name: str, ops: int, count: int = 1) -> Operator:
    return Operator(name=name, kind="vector", step=name, count=count, vector_ops=ops)


def _norm(name: str, hidden: int, count: int) -> Operator:
    return Operator(
        name=name,
        kind="vector",
        step=name,
        count=count,
        macs=hidden,
        vector_ops=NORM_OPS_PER_ELEMENT * hidden,
        dram_bytes={"norms": FLOAT_BYTES * hidden},
    )


def decode_step(model: ModelConfig, beat: WeightBeat, *, context: int) -> Workload:
    """Return the work of decoding one token at batch 1.

    Parameters
    ----------
    model
        Shape of the model.
    beat
        Engine configuration (its ``k_par`` and ``n_par`` pad the weight stream).
    context
        Positions that the new token attends to, its own included: ``context - 1`` of them are read
        from the KV cache in DRAM, one is written to it.

    Raises
    ------
    InputError
        If `context` is not from 1 to the model's ``max_position_embeddings``.
    """
    limit = model.max_position_embeddings
    if not isinstance(context, int) or isinstance(context, bool) or not 1 <= context <= limit:
        raise InputError(
            f"context must be an integer from 1 to max_position_embeddings = {limit}, "
            f"not {context!r}"
        )
    hidden, layers, vocab = model.hidden_size, model.num_hidden_layers, model.vocab_size
    query = model.num_attention_heads * model.head_dim
    key_value = model.num_key_value_heads * model.head_dim
    scores = model.num_attention_heads * context
    cached = FLOAT_BYTES * key_value * (context - 1)  # of keys, and as much of values, per layer

    def attention(name: str, **counts) -> Operator:
        return Operator(name=name, kind="attention", step=name, count=layers, **counts)

    linears = {
        name: _fbi_linear(model, name, "+".join(group), beat) for group in STEPS for name in group
    }
    operators = (
        Operator(
            name="embedding",
            kind="vector",
            step="embedding",
            dram_bytes={"embedding": FLOAT_BYTES * hidden},
        ),
        _norm("input_norm", hidden, layers),
        linears["q_proj"],
        linears["k_proj"],
        linears["v_proj"],
        _vector("rope", ROPE_OPS_PER_ELEMENT * (query + key_value), layers),
        attention("kv_write", dram_bytes={"kv_write": 2 * FLOAT_BYTES * key_value}),
        attention("attention_scores", macs=query * context, dram_bytes={"kv_read": cached}),
        attention("attention_softmax", vector_ops=SOFTMAX_OPS_PER_SCORE * scores),
        attention("attention_values", macs=query * context, dram_bytes={"kv_read": cached}),
        linears["o_proj"],
        _vector("attention_residual", RESIDUAL_OPS_PER_ELEMENT * hidden, layers),
        _norm("post_attention_norm", hidden, layers),
        linears["gate_proj"],
        linears["up_proj"],
        _vector("swiglu", SWIGLU_OPS_PER_ELEMENT * model.intermediate_size, layers),
        linears["down_proj"],
        _vector("mlp_residual", RESIDUAL_OPS_PER_ELEMENT * hidden, layers),
        _norm("final_norm", hidden, 1),
        Operator(
            name="lm_head",
            kind="dense-linear",
            step="lm_head",
            shape=(hidden, vocab),
            macs=hidden * vocab,
            dram_bytes={"head": FLOAT_BYTES * hidden * vocab},
        ),
        _vector("sampling", SAMPLING_OPS_PER_LOGIT * vocab),
    )
    return Workload(
        model=model,
        context=context,
        operators=operators,
        resident_bytes=resident_bytes(model, beat, context=context),
    )


def resident_bytes(model: ModelConfig, beat: WeightBeat, *, context: int) -> int:
    """Return the bytes that DRAM must hold: every weight, and the KV cache of `context` positions.

    An untied model holds the head and the embedding table; a tied one holds one of them.
    """
    table = FLOAT_BYTES * model.vocab_size * model.hidden_size
    tables = table if model.tie_word_embeddings else 2 * table
    norms = FLOAT_BYTES * model.hidden_size * (2 * model.num_hidden_layers + 1)
    per_layer = 0
    for name in FBI_LINEARS:
        n, k = model.linear_shape(name)
        per_layer += packed_bytes(k, n, beat) + COEFFICIENT_BYTES_PER_INPUT * k
    key_value = model.num_key_value_heads * model.head_dim
    cache = 2 * FLOAT_BYTES * key_value * model.num_hidden_layers * context
    return tables + norms + per_layer * model.num_hidden_layers + cache
