"""The operators of a pass on one chip, for any LLaMA-shaped model.

With c chips in tensor parallel, q/k/v, gate/up and the head are split on their outputs (whole
heads), o and down on their inputs; the two sums over chips of a layer are all-reduces in a ring
(Shoeybi et al., Megatron-LM, arXiv 1909.08053). Several engines of a chip split the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from golden.config import FBI_LINEARS, ModelConfig

from ..errors import InputError
from ..generic import Engine, GenericEngine
from . import operators as ops
from .formats import PUBLISHED, Formats
from .operators import FLOAT_BYTES, STEPS, Operator, packed_bytes, weight_beats

_BY_INPUT = ("o_proj", "down_proj")  # what tensor parallelism splits on the input axis
_STEP_OF = {name: "+".join(group) for group in STEPS for name in group}


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one chip does: a model's shape, the engine, and how the work is split.

    Parameters
    ----------
    model, engine, formats
        Shape, engine configuration, storage formats.
    engines
        Engines on the chip; each computes ``ceil(N / engines)`` outputs of a linear.
    split
        Chips in tensor parallel; must divide the attention and the key/value heads.
    kept_bytes
        A linear whose weight stream is at most this long is fetched once a pass, however many
        commands use it (it stays in the weight buffer); a longer one once per command.

    Raises
    ------
    InputError
        If `split` does not divide the heads, a layer has more inputs than the engine takes, or
        there are more engines than outputs to compute.
    """

    model: ModelConfig
    engine: Engine
    formats: Formats = PUBLISHED
    engines: int = 1
    split: int = 1
    kept_bytes: int = 0

    def __post_init__(self) -> None:
        model = self.model
        for name in ("num_attention_heads", "num_key_value_heads"):
            if getattr(model, name) % self.split:
                raise InputError(
                    f"chips in tensor parallel must divide {name} = {getattr(model, name)}, "
                    f"not {self.split}"
                )
        outputs = {name: self.linear_shape(name)[1] for name in self.array_linears}
        widest = max(outputs, key=outputs.__getitem__)
        if self.engines > outputs[widest]:
            raise InputError(
                f"engines must be at most {outputs[widest]}, the outputs of {widest}, the widest "
                f"linear of a chip, not {self.engines}: more had nothing to compute"
            )
        for name in self.array_linears:
            k, n = self.linear_shape(name)
            try:
                self.engine.check_shape(k, min(n, self.engine.n_max))
            except ValueError as error:
                raise InputError(f"{name} of {k} inputs and {n} outputs: {error}") from None

    # ---- shapes --------------------------------------------------------------------------

    @property
    def query(self) -> int:
        """Query elements of a token on this chip."""
        return self.model.num_attention_heads * self.model.head_dim // self.split

    @property
    def key_value(self) -> int:
        """Key (or value) elements of a token on this chip."""
        return self.model.num_key_value_heads * self.model.head_dim // self.split

    @property
    def array_linears(self) -> tuple[str, ...]:
        """The linears that run on the array."""
        return FBI_LINEARS + (("lm_head",) if self.formats.head == "binary" else ())

    def linear_shape(self, name: str) -> tuple[int, int]:
        """Return ``(K, N)`` of a linear on one chip, all its engines together."""
        if name == "lm_head":
            return self.model.hidden_size, -(-self.model.vocab_size // self.split)
        n, k = self.model.linear_shape(name)
        if name in _BY_INPUT:
            return -(-k // self.split), n
        return k, -(-n // self.split)

    def stream_bytes(self, name: str) -> int:
        """Return the bytes of a linear's weight stream on this chip, read once."""
        k, n = self.linear_shape(name)
        return self.engines * sum(
            packed_bytes(k, piece, self.engine) for piece in self._pieces(n)
        )

    def coefficient_bytes(self, name: str) -> int:
        """Return the bytes of alpha and beta, and of output scales if the engine has them.

        A generic engine's scales are part of its ``weight_bits``.
        """
        if isinstance(self.engine, GenericEngine):
            return 0
        k, n = self.linear_shape(name)
        amount = ops.COEFFICIENT_BYTES_PER_INPUT * k
        if self.engine.scale_out == "row":
            amount += FLOAT_BYTES * n
        elif self.engine.scale_out == "groups":
            amount += FLOAT_BYTES * n * -(-k // self.formats.scale_group)
        return amount

    def head_bytes(self) -> int:
        """Return the bytes of the head on this chip, as the vector unit reads it; 0 if binary."""
        k, n = self.linear_shape("lm_head")
        return {"fp16": FLOAT_BYTES * k * n, "int8": (k + FLOAT_BYTES) * n, "binary": 0}[
            self.formats.head
        ]

    def kv_bytes(self) -> int:
        """Return the bytes of one position's keys and values in one layer on this chip."""
        heads = self.model.num_key_value_heads // self.split
        return 2 * heads * self.formats.kv_vector_bytes(self.model.head_dim)

    def _pieces(self, n: int) -> list[int]:
        """Split the outputs of one engine into commands that it can take."""
        n = -(-n // self.engines)
        most = self.engine.n_max
        return [min(most, n - start) for start in range(0, n, most)]

    # ---- operators -----------------------------------------------------------------------

    def linear(self, name: str, tokens: int) -> Operator:
        """Return an FBI-linear applied to `tokens` token vectors."""
        k, n = self.linear_shape(name)
        pieces = self._pieces(n)
        commands = -(-tokens // self.engine.m_par)
        beats = sum(weight_beats(k, piece, self.engine) for piece in pieces)
        stream = self.stream_bytes(name)
        group = min(k, self.formats.scale_group) if self.engine.scale_out == "groups" else k
        return Operator(
            name=name,
            kind="fbi-linear",
            step=_STEP_OF.get(name, name),
            per_layer=name != "lm_head",
            shape=(k, sum(pieces)),
            runs=tuple((k, piece, tokens, group) for piece in pieces),
            sign_accumulates=k * sum(pieces) * tokens,
            weight_beats=beats * commands,
            vector_beats=beats * tokens,
            bytes_by_category={
                "packed_weights": stream * (1 if stream <= self.kept_bytes else commands),
                "coefficients": self.coefficient_bytes(name),
            },
        )

    def before_attention(self, tokens: int) -> Iterator[Operator]:
        """Yield a layer's operators up to the KV write."""
        yield self._norm("input_norm", tokens)
        for name in STEPS[0]:
            yield self.linear(name, tokens)
        entries = 2 * self.key_value * tokens
        yield _vector("rope", ops.ROPE_OPS_PER_ELEMENT * (self.query + self.key_value) * tokens)
        yield Operator(
            name="kv_write",
            kind="attention",
            step="kv_write",
            per_layer=True,
            vector_ops=ops.KV8_OPS_PER_ENTRY * entries if self.formats.kv_bits == 8 else 0,
            bytes_by_category={"kv_write": self.kv_bytes() * tokens},
        )

    def attention(self, attended: int, cached: int) -> Iterator[Operator]:
        """Yield attention of a layer; `attended` and `cached` as in :class:`Pass`.

        A key or value that is read from memory serves all query heads of its group.
        """
        heads = self.model.num_attention_heads // self.split
        extra = ops.KV8_OPS_PER_SCORE if self.formats.kv_bits == 8 else 0
        half = self.kv_bytes() // 2 * cached
        for name, counts in (
            ("attention_scores", {"macs": self.query * attended, "bytes": half,
                                  "vector_ops": extra * heads * attended}),
            ("attention_softmax",
             {"vector_ops": ops.SOFTMAX_OPS_PER_SCORE * heads * attended}),
            ("attention_values", {"macs": self.query * attended, "bytes": half,
                                  "vector_ops": extra * heads * attended}),
        ):
            amount = counts.pop("bytes", None)
            yield Operator(
                name=name, kind="attention", step=name, per_layer=True, **counts,
                bytes_by_category={} if amount is None else {"kv_read": amount},
            )

    def after_attention(self, tokens: int) -> Iterator[Operator]:
        """Yield a layer's operators from the output projection on."""
        hidden, ffn = self.model.hidden_size, -(-self.model.intermediate_size // self.split)
        residual = ops.RESIDUAL_OPS_PER_ELEMENT * hidden * tokens
        yield self.linear("o_proj", tokens)
        yield from self._all_reduce("attention_all_reduce", tokens)
        yield _vector("attention_residual", residual)
        yield self._norm("post_attention_norm", tokens)
        yield self.linear("gate_proj", tokens)
        yield self.linear("up_proj", tokens)
        yield _vector("swiglu", ops.SWIGLU_OPS_PER_ELEMENT * ffn * tokens)
        yield self.linear("down_proj", tokens)
        yield from self._all_reduce("mlp_all_reduce", tokens)
        yield _vector("mlp_residual", residual)

    def embedding(self, tokens: int) -> Operator:
        """Return the look-up of `tokens` rows of the embedding table."""
        return Operator(
            name="embedding",
            kind="vector",
            step="embedding",
            bytes_by_category={"embedding": FLOAT_BYTES * self.model.hidden_size * tokens},
        )

    def head(self, outputs: int) -> Iterator[Operator]:
        """Yield final norm, head and sampling of `outputs` token vectors; none if there are none.

        A head weight is read once a pass, whatever the number of outputs.
        """
        if not outputs:
            return
        hidden, vocab = self.linear_shape("lm_head")
        yield self._norm("final_norm", outputs, per_layer=False)
        if self.formats.head == "binary":
            yield self.linear("lm_head", outputs)
        else:
            yield Operator(
                name="lm_head",
                kind="dense-linear",
                step="lm_head",
                shape=(hidden, vocab),
                macs=hidden * vocab * outputs,
                bytes_by_category={"head": self.head_bytes()},
            )
        yield _vector("sampling", ops.SAMPLING_OPS_PER_LOGIT * vocab * outputs, per_layer=False)
        if self.split > 1:  # every chip sends its best logit and token, 8 bytes an output
            yield Operator(
                name="sampling_gather", kind="link", step="sampling_gather",
                link_bytes=8 * outputs * (self.split - 1), link_hops=self.split - 1,
            )

    def _norm(self, name: str, tokens: int, *, per_layer: bool = True) -> Operator:
        hidden = self.model.hidden_size
        return Operator(
            name=name,
            kind="vector",
            step=name,
            per_layer=per_layer,
            macs=hidden * tokens,
            vector_ops=ops.NORM_OPS_PER_ELEMENT * hidden * tokens,
            bytes_by_category={"norms": FLOAT_BYTES * hidden},
        )

    def _all_reduce(self, name: str, tokens: int) -> Iterator[Operator]:
        """Yield the ring all-reduce of hidden 16-bit sums: 2 (c - 1) messages of 1/c of them."""
        if self.split == 1:
            return
        chips = self.split
        amount = FLOAT_BYTES * self.model.hidden_size * tokens
        yield Operator(
            name=name, kind="link", step=name, per_layer=True,
            link_bytes=2 * (chips - 1) * -(-amount // chips), link_hops=2 * (chips - 1),
        )


def _vector(name: str, count: int, *, per_layer: bool = True) -> Operator:
    return Operator(name=name, kind="vector", step=name, per_layer=per_layer, vector_ops=count)


def activation_bytes_per_token(shard: Shard) -> int:
    """Return the on-chip bytes that a token vector needs at most at once, 16 bit.

    The residual, and the largest of: queries, keys and values with the attention's output; gate,
    up and their product's input.
    """
    ffn = -(-shard.model.intermediate_size // shard.split)
    hidden = shard.model.hidden_size
    attention = 2 * shard.query + 2 * shard.key_value
    return FLOAT_BYTES * (hidden + max(hidden + attention, hidden + 2 * ffn))


def resident_bytes(
    shard: Shard, *, positions: int, layers: int | None = None, first: bool = True,
    last: bool = True,
) -> dict[str, int]:
    """Return the bytes a chip must hold by category: every weight, and the KV cache.

    Parameters
    ----------
    positions
        Cached positions, summed over all sequences.
    layers
        Layers of this chip; all if not given.
    first, last
        Whether it holds the embedding table, and final norm and head. A tied table is held once
        by a chip that needs both (16 bit; as the embedding).
    """
    model = shard.model
    layers = model.num_hidden_layers if layers is None else layers
    hidden, vocab = shard.linear_shape("lm_head")
    per_layer = [name for name in FBI_LINEARS for _ in range(layers)]
    linears = per_layer + (["lm_head"] if last and shard.formats.head == "binary" else [])
    tied = model.tie_word_embeddings and shard.formats.head == "fp16" and first
    return {
        "packed_weights": sum(shard.stream_bytes(name) for name in linears),
        "coefficients": sum(shard.coefficient_bytes(name) for name in linears),
        "head": shard.head_bytes() if last and not tied else 0,
        "kv_cache": shard.kv_bytes() * layers * positions,
        "norms": FLOAT_BYTES * model.hidden_size * (2 * layers + last),
        "embedding": FLOAT_BYTES * hidden * vocab if first else 0,
    }
